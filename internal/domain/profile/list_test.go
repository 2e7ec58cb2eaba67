package profile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/page"
)

// What is frequent, rare, near and far is found alike, page after page, in one order; AZ-12 for narrowed lists.
func TestFindingAmongMany(t *testing.T) {
	t.Parallel()
	b := start(t)
	// The newest 10,500 are blue; 5500 before them are red, each tenth of these is public.
	_, err := b.db.Exec(t.Context(), `
		WITH made AS (
			INSERT INTO users (email, email_norm, status, created_at)
			SELECT i || '@many.test', i || '@many.test', 'active', now() - make_interval(mins => i / 3) FROM generate_series(1, 16000) i RETURNING id, email
		)
		INSERT INTO profiles (user_id, nickname, given_name, visibility, attributes)
		SELECT id, 'nick' || split_part(email, '@', 1), CASE WHEN split_part(email, '@', 1)::int <= 10500 THEN 'Ünal' ELSE 'O''Neill' END, CASE WHEN email LIKE '%0@%' THEN 'public' ELSE 'private' END,
			jsonb_build_object('team', CASE WHEN split_part(email, '@', 1)::int <= 10500 THEN 'blue' ELSE 'red' END)
		FROM made`)
	require.NoError(t, err)
	reader, plain := b.person(t, "reader@example.org", "profiles:read"), b.person(t, "plain@example.org")
	walk := func(by actor.Actor, f profile.Filter, pages int) (names []string) {
		f.Limit = 500
		var last *page.Position
		for range pages {
			f.After = last
			got, err := b.List(t.Context(), by, f)
			require.NoError(t, err)
			for _, p := range got {
				at := p.Position()
				if last != nil {
					require.True(t, at.Time.Before(last.Time) || at.Time.Equal(last.Time) && at.ID.String() < last.ID.String(), "in order, each once")
				}
				last = &at
				names = append(names, *p.Nickname)
			}
			if len(got) < f.Limit {
				break
			}
		}
		return names
	}
	red := map[string]string{"team": "red"}
	require.Len(t, walk(reader, profile.Filter{Attributes: red}, 20), 5500, "many, and far")
	require.Len(t, walk(reader, profile.Filter{Search: "o'neill"}, 20), 5500, "many, and far")
	require.Len(t, walk(plain, profile.Filter{Search: "O'N"}, 20), 550)
	require.Len(t, walk(reader, profile.Filter{Search: "ünal"}, 40), 10_500, "many, and near")
	require.Len(t, walk(plain, profile.Filter{Search: "ÜNAL"}, 20), 1050)
	require.Equal(t, []string{"nick15000"}, walk(reader, profile.Filter{Search: "nick15000"}, 2), "one, and far")
	require.Equal(t, []string{"nick15000"}, walk(plain, profile.Filter{Search: "nick15000"}, 2))
	require.Empty(t, walk(plain, profile.Filter{Search: "nick15001"}, 2), "a private one")
	require.Equal(t, []string{"nick15001"}, walk(reader, profile.Filter{Search: "ick15001", Attributes: red}, 2))
	require.Empty(t, walk(reader, profile.Filter{Search: "nick15001", Attributes: map[string]string{"team": "blue"}}, 2))
	require.Len(t, walk(plain, profile.Filter{Search: "ü"}, 4), 1050, "a short term, where not many are there")
	require.Len(t, walk(plain, profile.Filter{}, 4), 1600)

	_, err = b.db.Exec(t.Context(), `
		WITH made AS (INSERT INTO users (kind, display_name, status) SELECT 'service', 's' || i, 'active' FROM generate_series(1, 10) i RETURNING id)
		INSERT INTO profiles (user_id) SELECT id FROM made`)
	require.NoError(t, err)
	_, err = b.List(t.Context(), reader, profile.Filter{Search: "%", Limit: 10})
	require.ErrorIs(t, err, user.ErrShortSearch)
}

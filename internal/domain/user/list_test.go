package user_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// counter counts the statements of a pool.
type counter struct{ n atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func open(t *testing.T) (*postgres.Pool, *counter) {
	t.Helper()
	c := &counter{}
	pool, err := postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 8, Tracer: c,
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool, c
}

var operator = actor.Service("test")

// insert adds accounts: numbered, every third has signed in, every seventh is a service account.
func insert(t *testing.T, pool *postgres.Pool, from, to int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `
		INSERT INTO users (id, kind, email, email_norm, display_name, status, created_at, last_login_at)
		SELECT gen_random_uuid(), CASE WHEN i % 7 = 0 THEN 'service' ELSE 'human' END,
			CASE WHEN i % 7 <> 0 THEN 'U' || i || '@example.org' END, CASE WHEN i % 7 <> 0 THEN 'u' || i || '@example.org' END,
			'Number ' || i || '%_', (ARRAY['active', 'pending', 'suspended', 'deleting'])[1 + i % 4],
			timestamptz '2026-01-01' + make_interval(secs => i / 5),
			CASE WHEN i % 3 = 0 THEN timestamptz '2026-02-01' + make_interval(secs => i % 10) END
		FROM generate_series($1::int, $2::int) i`, from, to)
	require.NoError(t, err)
}

// walk reads every page and calls between after each.
func walk(t *testing.T, s *user.Service, f user.Filter, between func()) []*user.User {
	t.Helper()
	var all []*user.User
	for {
		got, err := s.List(t.Context(), operator, f)
		require.NoError(t, err)
		all = append(all, got...)
		if len(got) < f.Limit {
			return all
		}
		f.After = got[len(got)-1].SortKeys(f.Sort)
		between()
	}
}

// AZ-12: every order, both directions, ties and absent values: each row once, in order, though others come and go.
func TestAZ12_WalksSeeEveryRowOnce(t *testing.T) {
	t.Parallel()
	for _, field := range user.Sorts {
		for _, descending := range []bool{false, true} {
			t.Run(page.Sort{Field: field, Descending: descending}.String(), func(t *testing.T) {
				t.Parallel()
				pool, _ := open(t)
				s := user.NewService(pool)
				insert(t, pool, 1, 120)
				sort := page.Sort{Field: field, Descending: descending}
				there := walk(t, s, user.Filter{Sort: sort, Limit: 1000}, func() {})
				require.Len(t, there, 90, "those that are being deleted are not listed")
				at := 200
				seen := walk(t, s, user.Filter{Sort: sort, Limit: 7}, func() {
					insert(t, pool, at, at+3)
					at += 4
				})
				times := map[id.ID]int{}
				for _, u := range seen {
					times[u.ID]++
				}
				for _, u := range there {
					require.Equal(t, 1, times[u.ID])
				}
				require.True(t, slices.IsSortedFunc(seen, func(a, b *user.User) int { return compare(sort, a, b) }))
			})
		}
	}
}

func compare(sort page.Sort, a, b *user.User) int {
	value := func(u *user.User) (string, bool) {
		switch {
		case sort.Field == "email" && u.Email != nil:
			return *u.Email, true
		case sort.Field == "last_login_at" && u.LastLoginAt != nil:
			return u.LastLoginAt.Format(time.RFC3339Nano), true
		case sort.Field == "created_at":
			return u.CreatedAt.Format(time.RFC3339Nano), true
		}
		return "", false
	}
	x, hasX := value(a)
	y, hasY := value(b)
	if hasX != hasY {
		if hasX {
			return -1
		}
		return 1
	}
	if x == y {
		x, y = a.ID.String(), b.ID.String()
	}
	if sort.Descending {
		x, y = y, x
	}
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func TestFilters(t *testing.T) {
	t.Parallel()
	pool, statements := open(t)
	s := user.NewService(pool)
	insert(t, pool, 1, 40)
	_, err := pool.Exec(t.Context(), `
		WITH r AS (INSERT INTO roles (name) VALUES ('editor'), ('former') RETURNING id, name)
		INSERT INTO user_roles (user_id, role_id, expires_at)
		SELECT u.id, r.id, CASE WHEN r.name = 'former' THEN now() END FROM users u, r WHERE u.email_norm = 'u5@example.org'`)
	require.NoError(t, err)
	at := func(i int) time.Time { return time.Date(2026, 1, 1, 0, 0, i/5, 0, time.UTC) }
	for name, c := range map[string]struct {
		f    user.Filter
		want int
	}{
		"all but deleting":    {user.Filter{}, 30},
		"deleting":            {user.Filter{Status: user.Deleting}, 10},
		"status":              {user.Filter{Status: user.Suspended}, 10},
		"kind":                {user.Filter{Kind: user.Program}, 3},
		"kind and status":     {user.Filter{Kind: user.Program, Status: user.Pending}, 1},
		"address":             {user.Filter{Email: "U5@EXAMPLE.org"}, 1},
		"address of nobody":   {user.Filter{Email: "nobody@example.org"}, 0},
		"after":               {user.Filter{CreatedAfter: at(35)}, 1},
		"before":              {user.Filter{CreatedBefore: at(5)}, 3},
		"part of an address":  {user.Filter{Search: "5@EXAMPLE"}, 2},
		"role, and a term":    {user.Filter{Role: "editor", Search: "u5@ex"}, 1},
		"address, and a term": {user.Filter{Email: "u5@example.org", Search: "number 5"}, 1},
		"not across lines":    {user.Filter{Search: "number 5%_ u5"}, 0},
		"kind, and a term":    {user.Filter{Kind: user.Program, Search: "number"}, 3},
		"term, and times":     {user.Filter{Search: "number", CreatedAfter: at(4), CreatedBefore: at(15)}, 8},
		"part of a name":      {user.Filter{Search: "nUMBER 3"}, 7},
		"wildcards are text":  {user.Filter{Search: "ber 1%_"}, 1},
		"and match nothing":   {user.Filter{Search: `ber%\`}, 0},
		"role":                {user.Filter{Role: "editor"}, 1},
		"expired role":        {user.Filter{Role: "former"}, 0},
		"implied role":        {user.Filter{Role: "user"}, 18},
		"role of nobody":      {user.Filter{Role: "x'); DROP TABLE users; --"}, 0},
		"several, and sorted": {user.Filter{Role: "user", Search: "example.org", Status: user.Active, Sort: page.Sort{Field: "created_at"}}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			c.f.Limit = 100
			if c.f.Sort == (page.Sort{}) {
				c.f.Sort = user.DefaultSort
			}
			before := statements.n.Load()
			got, err := s.List(t.Context(), operator, c.f)
			require.NoError(t, err)
			require.Len(t, got, c.want)
			require.EqualValues(t, 1, statements.n.Load()-before, "one statement a page")
		})
	}

	got, err := s.List(t.Context(), operator, user.Filter{Email: "u5@example.org", Sort: user.DefaultSort, Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []string{"editor"}, got[0].Roles, "an account that is pending has no implied role")
	require.EqualValues(t, 2, got[0].Version, "the expiry of a role changed the body")

	_, err = s.List(t.Context(), operator, user.Filter{Email: "Ada <a@b.c>", Search: "\x00", Sort: user.DefaultSort, Limit: 1})
	require.ErrorIs(t, err, fault.ErrValidation)
	require.Len(t, fault.As(err).Fields, 2, "all faults in one answer")
	_, err = s.List(t.Context(), actor.Actor{Kind: actor.User, UserID: id.New()}, user.Filter{Limit: 1})
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
}

// A term that is near, far, rare or frequent is found alike, page after page, with filters and in both directions; AZ-12
// for searches.
func TestAZ12_SearchesSeeEveryRowOnce(t *testing.T) {
	t.Parallel()
	pool, _ := open(t)
	s := user.NewService(pool)
	// The newest 10,500 are blue, 5500 before them are red; each tenth is pending, each hundredth is being deleted.
	_, err := pool.Exec(t.Context(), `
		INSERT INTO users (email, email_norm, display_name, status, created_at)
		SELECT i || '@many.test', i || '@many.test', CASE WHEN i <= 10500 THEN 'Blue' ELSE 'Red' END || ' no.' || i,
			CASE WHEN i % 100 = 0 THEN 'deleting' WHEN i % 10 = 0 THEN 'pending' ELSE 'active' END,
			timestamptz '2026-01-01' - make_interval(mins => i / 3)
		FROM generate_series(1, 16000) i`)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `
		WITH r AS (INSERT INTO roles (name) VALUES ('editor') RETURNING id)
		INSERT INTO user_roles (user_id, role_id) SELECT u.id, r.id FROM users u, r WHERE u.email_norm LIKE '%7@many.test'`)
	require.NoError(t, err)
	half := time.Date(2026, 1, 1, 0, -14000/3, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		f    user.Filter
		want int
	}{
		"many, and near":          {user.Filter{Search: "BLUE"}, 10_395},
		"many, and far":           {user.Filter{Search: "red no."}, 5445},
		"pending ones":            {user.Filter{Search: "red no.", Status: user.Pending}, 495},
		"active people":           {user.Filter{Search: "red no.", Status: user.Active, Kind: user.Human}, 4950},
		"of an implied role":      {user.Filter{Search: "red no.", Role: "user"}, 4950},
		"of a role":               {user.Filter{Search: "red no.", Role: "editor"}, 550},
		"of a time":               {user.Filter{Search: "red no.", CreatedBefore: half}, 1980},
		"some, and far":           {user.Filter{Search: "red no.15"}, 990},
		"one, and far":            {user.Filter{Search: "no.15999"}, 1},
		"one that is no more":     {user.Filter{Search: "no.15900"}, 0},
		"one that is on its way":  {user.Filter{Search: "no.15900", Status: user.Deleting}, 1},
		"words of all, not a hit": {user.Filter{Search: "test red"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, descending := range []bool{false, true} {
				c.f.Sort = page.Sort{Field: "created_at", Descending: descending}
				c.f.Limit = 200
				seen := walk(t, s, c.f, func() {})
				require.Equal(t, c.want, len(seen)) //nolint:testifylint // Len would print thousands of accounts
				times := map[id.ID]bool{}
				for _, u := range seen {
					times[u.ID] = true
				}
				require.Len(t, times, c.want, "each once")
				require.True(t, slices.IsSortedFunc(seen, func(a, b *user.User) int { return compare(c.f.Sort, a, b) }))
			}
		})
	}
}

// AZ-11: keys that are not of this order are a cursor fault, never an SQL error.
func TestAZ11_ForeignKeysAreNoCursor(t *testing.T) {
	t.Parallel()
	pool, _ := open(t)
	s := user.NewService(pool)
	some := id.New().String()
	for _, keys := range [][]string{{}, {"1"}, {"1", "x"}, {"x", some}, {"-", some}, {"99999999999999999999", some}, {"1", some, "2"}} {
		_, err := s.List(t.Context(), operator, user.Filter{Sort: user.DefaultSort, Limit: 1, After: keys})
		require.ErrorIs(t, err, page.ErrInvalidCursor, "%q", keys)
	}
}

// Figures: /users/me costs at most one statement, and concurrent requests share theirs.
func TestReadsAreCoalesced(t *testing.T) {
	t.Parallel()
	pool, statements := open(t)
	s := user.NewService(pool)
	insert(t, pool, 1, 64)
	users := walk(t, s, user.Filter{Sort: user.DefaultSort, Limit: 100}, func() {})
	before := statements.n.Load()
	me, err := s.Me(t.Context(), actor.Actor{Kind: actor.User, UserID: users[0].ID})
	require.NoError(t, err)
	require.Equal(t, users[0], me)
	require.EqualValues(t, 1, statements.n.Load()-before)

	before = statements.n.Load()
	done := make(chan error)
	for _, u := range users {
		go func() {
			got, err := s.Me(t.Context(), actor.Actor{Kind: actor.User, UserID: u.ID})
			if err == nil && got.ID != u.ID {
				err = fmt.Errorf("got %s for %s", got.ID, u.ID)
			}
			done <- err
		}()
	}
	for range users {
		require.NoError(t, <-done)
	}
	require.Less(t, statements.n.Load()-before, int64(len(users)))

	_, err = s.Get(t.Context(), operator, id.New())
	require.ErrorIs(t, err, fault.ErrNotFound)
	_, err = s.Get(t.Context(), actor.Actor{Kind: actor.User, UserID: users[0].ID}, users[0].ID)
	require.ErrorIs(t, err, actor.ErrPermissionDenied, "403 before any look-up, alike for every id")
	_, err = s.Me(t.Context(), actor.Actor{Kind: actor.APIKey, UserID: users[0].ID, Permissions: actor.Permissions{"audit:read"}})
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
}

func TestUpdateMe(t *testing.T) {
	t.Parallel()
	pool, _ := open(t)
	s := user.NewService(pool)
	insert(t, pool, 1, 1)
	u := walk(t, s, user.Filter{Sort: user.DefaultSort, Limit: 9}, func() {})[0]
	me := actor.Actor{Kind: actor.User, UserID: u.ID, Label: u.Label()}
	raw := func(s string) patch.Field[jsontext.Value] { return patch.To(jsontext.Value(s)) }

	first, err := s.UpdateMe(t.Context(), me, user.Changes{
		DisplayName: patch.To("Ada"), Locale: patch.To("de-at"), Timezone: patch.To("Europe/Vienna"), Metadata: raw(`{"a":{"b":1,"c":[1,2]},"note":"x\ty"}`),
	}, nil)
	require.NoError(t, err)
	require.Equal(t, u.Version+1, first.Version)
	second, err := s.UpdateMe(t.Context(), me, user.Changes{Timezone: patch.Field[string]{Set: true, Null: true}, Metadata: raw(`{"a":{"b":null,"c":[3]}}`)}, &first.Version)
	require.NoError(t, err)
	got, err := s.Me(t.Context(), me)
	require.NoError(t, err)
	require.Equal(t, second.Version, got.Version)
	require.Equal(t, "de-AT", *got.Locale)
	require.Nil(t, got.Timezone)
	require.JSONEq(t, `{"a":{"c":[3]},"note":"x\ty"}`, string(got.Metadata))

	// HTTP-11: the loser of two edits learns it, and nothing is lost.
	_, err = s.UpdateMe(t.Context(), me, user.Changes{DisplayName: patch.To("Eve")}, &first.Version)
	require.ErrorIs(t, err, fault.ErrPrecondition)

	// What changes nothing leaves no trace.
	again, err := s.UpdateMe(t.Context(), me, user.Changes{DisplayName: patch.To("Ada"), Metadata: raw(`{"a":{"c":[3]}}`)}, nil)
	require.NoError(t, err)
	require.Equal(t, got.Version, again.Version)
	var events int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_events WHERE action = 'user.update' AND target_id = $1`, u.ID).Scan(&events))
	require.Equal(t, 2, events)

	_, err = s.UpdateMe(t.Context(), me, user.Changes{
		DisplayName: patch.To("a\r\nBcc: x@y.test"), Locale: patch.To("nonsense_tag"), Timezone: patch.To("../../etc/passwd"), Metadata: raw(`{"a":"\u0000"}`),
	}, nil)
	require.ErrorIs(t, err, fault.ErrValidation)
	require.Len(t, fault.As(err).Fields, 4)
	for _, bad := range []string{`[]`, `"x"`, `{"a":` + deep(8) + `}`, `{"a":"` + string(make([]byte, 0)) + long(17<<10) + `"}`} {
		_, err = s.UpdateMe(t.Context(), me, user.Changes{Metadata: raw(bad)}, nil)
		require.ErrorIs(t, err, fault.ErrValidation)
	}
	_, err = s.UpdateMe(t.Context(), actor.Actor{Kind: actor.APIKey, UserID: u.ID, Permissions: actor.Permissions{"me:read"}}, user.Changes{}, nil)
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
}

func deep(n int) string {
	s := "1"
	for range n {
		s = `{"x":` + s + `}`
	}
	return s
}

func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}

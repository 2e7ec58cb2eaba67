package profile_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

type bundle struct {
	*profile.Service
	db *postgres.Pool
}

func start(t *testing.T) bundle {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 8,
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	today := clock.NewFake(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	return bundle{profile.NewService(pool, role.Authorizer{}, today, nil), pool}
}

// person adds an active account and returns it as a caller.
func (b bundle) person(t *testing.T, email string, may ...string) actor.Actor {
	t.Helper()
	by := actor.Actor{Kind: actor.User, UserID: id.New(), Label: email, Permissions: may}
	_, err := b.db.Exec(t.Context(), `INSERT INTO users (id, email, email_norm, status) VALUES ($1, $2, $2, 'active')`, by.UserID, email)
	require.NoError(t, err)
	for _, p := range may {
		_, err := b.db.Exec(t.Context(), `
			WITH r AS (INSERT INTO roles (name) VALUES ('r' || replace(gen_random_uuid()::text, '-', '')) RETURNING id),
				p AS (INSERT INTO role_permissions (role_id, permission) SELECT id, $2 FROM r)
			INSERT INTO user_roles (user_id, role_id) SELECT $1, id FROM r`, by.UserID, p)
		require.NoError(t, err)
	}
	return by
}

func str(s string) *string { return &s }

func TestAProfileExistsWithItsUser(t *testing.T) {
	t.Parallel()
	b := start(t)
	ada := b.person(t, "ada@example.org")
	p, err := b.Get(t.Context(), ada, ada.UserID)
	require.NoError(t, err)
	require.EqualValues(t, 1, p.Version)
	require.Equal(t, profile.Private, p.Visibility)
	require.True(t, p.Whole)

	first, err := b.Update(t.Context(), ada, ada.UserID, profile.Changes{
		GivenName: patch.To("Ada"), Bio: patch.To("one\n\ttwo"), BirthDate: patch.To("1815-12-10"),
	}, nil)
	require.ErrorIs(t, err, fault.ErrValidation, "nobody alive was born before 1900")
	require.Nil(t, first)
	first, err = b.Update(t.Context(), ada, ada.UserID, profile.Changes{
		GivenName: patch.To("Ada"), Bio: patch.To("one\n\ttwo"), BirthDate: patch.To("2000-02-29"), Phone: patch.To("+431234567"),
		Address:     patch.To(profile.AddressChanges{Street: patch.To("Ring 1"), Country: patch.To("AT")}),
		SocialLinks: patch.To(map[string]*string{"web": str("https://ada.example"), "code": str("https://code.example/ada")}),
		Attributes:  patch.To(jsontext.Value(`{"size":{"shirt":"M","shoe":40}}`)),
	}, &p.Version)
	require.NoError(t, err)
	require.EqualValues(t, 2, first.Version, "the first row is a new version")

	// A merge patch: members that are absent stay, null clears.
	second, err := b.Update(t.Context(), ada, ada.UserID, profile.Changes{
		Address:     patch.To(profile.AddressChanges{Locality: patch.To("Wien"), Street: patch.Field[string]{Set: true, Null: true}}),
		SocialLinks: patch.To(map[string]*string{"web": nil, "news": str("https://news.example")}),
		Attributes:  patch.To(jsontext.Value(`{"size":{"shoe":null}}`)),
		Phone:       patch.Field[string]{Set: true, Null: true},
	}, &first.Version)
	require.NoError(t, err)
	got, err := b.Get(t.Context(), ada, ada.UserID)
	require.NoError(t, err)
	require.Equal(t, second.Version, got.Version)
	require.Equal(t, profile.Address{Locality: str("Wien"), Country: str("AT")}, *got.Address)
	require.Equal(t, map[string]string{"code": "https://code.example/ada", "news": "https://news.example"}, got.SocialLinks)
	require.JSONEq(t, `{"size":{"shirt":"M"}}`, string(got.Attributes))
	require.Nil(t, got.Phone)
	require.Equal(t, "2000-02-29", *got.BirthDate)

	_, err = b.Update(t.Context(), ada, ada.UserID, profile.Changes{Nickname: patch.To("x")}, &first.Version)
	require.ErrorIs(t, err, fault.ErrPrecondition)

	// PUT replaces.
	third, err := b.Replace(t.Context(), ada, ada.UserID, profile.Changes{Nickname: patch.To("Countess")}, nil)
	require.NoError(t, err)
	require.Nil(t, third.GivenName)
	require.Nil(t, third.Address)
	require.JSONEq(t, `{}`, string(third.Attributes))
	again, err := b.Replace(t.Context(), ada, ada.UserID, profile.Changes{Nickname: patch.To("Countess")}, nil)
	require.NoError(t, err)
	require.Equal(t, third.Version, again.Version, "what changes nothing is no change")

	var events int
	require.NoError(t, b.db.QueryRow(t.Context(), `SELECT count(*) FROM audit_events WHERE action = 'profile.update'`).Scan(&events))
	require.Equal(t, 3, events)
}

// AZ-01: what others may see and change, and that a hidden profile is like none.
func TestAZ01_Others(t *testing.T) {
	t.Parallel()
	b := start(t)
	ada, bob := b.person(t, "ada@example.org"), b.person(t, "bob@example.org")
	reader := b.person(t, "reader@example.org", "profiles:read")
	writer := b.person(t, "writer@example.org", "profiles:write")
	admin := b.person(t, "admin@example.org", "*")
	change := profile.Changes{GivenName: patch.To("Ada"), Phone: patch.To("+431234567")}
	_, err := b.Update(t.Context(), ada, ada.UserID, change, nil)
	require.NoError(t, err)

	_, err = b.Get(t.Context(), bob, ada.UserID)
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.ErrorIs(t, err, actor.ErrHidden)
	_, err = b.Get(t.Context(), bob, id.New())
	require.ErrorIs(t, err, fault.ErrNotFound)
	_, err = b.Update(t.Context(), bob, ada.UserID, change, nil)
	require.ErrorIs(t, err, fault.ErrNotFound)

	whole, err := b.Get(t.Context(), reader, ada.UserID)
	require.NoError(t, err)
	require.NotNil(t, whole.Phone)
	_, err = b.Update(t.Context(), reader, ada.UserID, change, nil)
	require.ErrorIs(t, err, fault.ErrNotFound)
	_, err = b.Update(t.Context(), writer, ada.UserID, profile.Changes{Visibility: patch.To(profile.Public)}, nil)
	require.NoError(t, err)
	_, err = b.Update(t.Context(), writer, admin.UserID, change, nil)
	require.ErrorIs(t, err, actor.ErrEscalation, "whoever stands above the writer is out of his reach")

	public, err := b.Get(t.Context(), bob, ada.UserID)
	require.NoError(t, err)
	require.False(t, public.Whole)
	require.Equal(t, "Ada", *public.GivenName)
	require.Nil(t, public.Phone)

	listed := func(by actor.Actor, search string) (ids []id.ID) {
		all, err := b.List(t.Context(), by, profile.Filter{Search: search, Limit: 10})
		require.NoError(t, err)
		for _, p := range all {
			require.Equal(t, by.May("profiles:read"), p.Whole)
			ids = append(ids, p.UserID)
		}
		return ids
	}
	require.Equal(t, []id.ID{ada.UserID}, listed(bob, ""))
	require.Equal(t, []id.ID{ada.UserID}, listed(bob, "aDA"))
	require.Empty(t, listed(bob, "%"))
	require.Len(t, listed(reader, ""), 5)

	_, err = b.db.Exec(t.Context(), `UPDATE users SET status = 'suspended' WHERE id = $1`, ada.UserID)
	require.NoError(t, err)
	_, err = b.Get(t.Context(), bob, ada.UserID)
	require.ErrorIs(t, err, fault.ErrNotFound, "the profile of an account that is not active is nobody's business")
	require.Empty(t, listed(bob, ""))
}

func TestValidation(t *testing.T) {
	t.Parallel()
	b := start(t)
	ada := b.person(t, "ada@example.org")
	many := map[string]*string{}
	for _, c := range "abcdefghijklmnopqrstu" {
		many[string(c)] = str("https://x.example")
	}
	link := func(name, to string) profile.Changes {
		return profile.Changes{SocialLinks: patch.To(map[string]*string{name: str(to)})}
	}
	for name, c := range map[string]struct {
		c       profile.Changes
		pointer string
	}{
		"control character":    {profile.Changes{GivenName: patch.To("a\r\nb")}, "/given_name"},
		"bio, carriage":        {profile.Changes{Bio: patch.To("a\rb")}, "/bio"},
		"bio, length":          {profile.Changes{Bio: patch.To(strings.Repeat("é", 2001))}, "/bio"},
		"phone, national":      {profile.Changes{Phone: patch.To("0123456789")}, "/phone"},
		"phone, blanks":        {profile.Changes{Phone: patch.To("+43 1 234567")}, "/phone"},
		"website, http":        {profile.Changes{Website: patch.To("http://a.example")}, "/website"},
		"website, script":      {profile.Changes{Website: patch.To("javascript://a.example/%0aalert(1)")}, "/website"},
		"website, user":        {profile.Changes{Website: patch.To("https://bank.example@evil.example")}, "/website"},
		"website, blank":       {profile.Changes{Website: patch.To("https://a.example/ x")}, "/website"},
		"birth date, tomorrow": {profile.Changes{BirthDate: patch.To("2026-05-02")}, "/birth_date"},
		"birth date, unreal":   {profile.Changes{BirthDate: patch.To("2001-02-29")}, "/birth_date"},
		"country, small":       {profile.Changes{Address: patch.To(profile.AddressChanges{Country: patch.To("at")})}, "/address/country"},
		"country, none":        {profile.Changes{Address: patch.To(profile.AddressChanges{Country: patch.To("ZZ")})}, "/address/country"},
		"country, a union":     {profile.Changes{Address: patch.To(profile.AddressChanges{Country: patch.To("EU")})}, "/address/country"},
		"link, name":           {link("A/b", "https://a.example"), "/social_links"},
		"link, address":        {link("web", "ftp://a.example"), "/social_links/web"},
		"links, number":        {profile.Changes{SocialLinks: patch.To(many)}, "/social_links"},
		"visibility":           {profile.Changes{Visibility: patch.To(profile.Visibility("friends"))}, "/visibility"},
		"attributes, kind":     {profile.Changes{Attributes: patch.To(jsontext.Value(`[1]`))}, "/attributes"},
		"attributes, NUL":      {profile.Changes{Attributes: patch.To(jsontext.Value(`{"a":["\u0000"]}`))}, "/attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Update(t.Context(), ada, ada.UserID, c.c, nil)
			require.ErrorIs(t, err, fault.ErrValidation)
			require.Len(t, fault.As(err).Fields, 1)
			require.Equal(t, c.pointer, fault.As(err).Fields[0].Pointer)
		})
	}
	got, err := b.Get(t.Context(), ada, ada.UserID)
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Version, "nothing was stored")
}

// HTTP-11: parallel edits of different fields all survive, also when the first of them makes the row.
func TestHTTP11_NoLostUpdate(t *testing.T) {
	t.Parallel()
	b := start(t)
	ada := b.person(t, "ada@example.org")
	var wg sync.WaitGroup
	for _, name := range strings.Split("a b c d e f g h i j k l", " ") {
		wg.Go(func() {
			_, err := b.Update(t.Context(), ada, ada.UserID, profile.Changes{
				SocialLinks: patch.To(map[string]*string{name: str("https://x.example/" + name)}),
			}, nil)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := b.Get(t.Context(), ada, ada.UserID)
	require.NoError(t, err)
	require.Len(t, got.SocialLinks, 12)
	require.EqualValues(t, 13, got.Version)
}

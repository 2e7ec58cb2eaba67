package profile_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

func file(t *testing.T, text string) profile.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return profile.Config{SchemaFile: path}
}

func TestSchemaIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	none, err := profile.LoadSchema(profile.Config{})
	require.NoError(t, err)
	require.Nil(t, none)
	for name, text := range map[string]string{
		"no JSON":        `{"type":`,
		"no object":      `[]`,
		"no schema":      `{"type": "person"}`,
		"another draft":  `{"$schema": "http://json-schema.org/draft-07/schema#"}`,
		"from elsewhere": `{"$ref": "https://schemas.example/person.json"}`,
		"from a file":    `{"$ref": "file:///etc/passwd"}`,
		"no definition":  `{"$ref": "#/$defs/none"}`,
		"bad pattern":    `{"properties": {"a": {"pattern": "("}}}`,
	} {
		_, err := profile.LoadSchema(file(t, text))
		require.ErrorContains(t, err, "UMS_PROFILE_SCHEMA", name)
	}
	_, err = profile.LoadSchema(profile.Config{SchemaFile: "/nowhere/schema.json"})
	require.ErrorContains(t, err, "UMS_PROFILE_SCHEMA")
}

func TestAttributesFollowTheSchema(t *testing.T) {
	t.Parallel()
	schema, err := profile.LoadSchema(file(t, `{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["team"], "additionalProperties": false,
		"properties": {
			"team": {"enum": ["red", "blue"]}, "level": {"type": "integer", "maximum": 9}, "mail": {"format": "email"},
			"sizes": {"type": "array", "items": {"$ref": "#/$defs/size"}}
		},
		"$defs": {"size": {"type": "object", "properties": {"a/b": {"maxLength": 2}}}}
	}`))
	require.NoError(t, err)
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 2}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := bundle{profile.NewService(pool, role.Authorizer{}, clock.NewFake(time.Now()), schema), pool}
	ada := b.person(t, "ada@example.org")
	set := func(text string) error {
		_, err := b.Update(t.Context(), ada, ada.UserID, profile.Changes{Attributes: patch.To(jsontext.Value(text))}, nil)
		return err
	}
	// What is there is judged when it changes: nobody has to fill in a team to have a nickname.
	_, err = b.Update(t.Context(), ada, ada.UserID, profile.Changes{Nickname: patch.To("ada")}, nil)
	require.NoError(t, err)
	require.NoError(t, set(`{"team": "red", "level": 3}`))
	require.NoError(t, set(`{"level": null, "sizes": [{"a/b": "XL"}]}`), "the result of the merge counts")

	err = set(`{"team": null, "level": 10, "mail": "nobody", "sizes": [{}, {"a/b": "secret"}], "x~y": 1}`)
	require.ErrorIs(t, err, fault.ErrValidation)
	got := map[string]string{}
	for _, f := range fault.As(err).Fields {
		got[f.Pointer] = f.Code
		require.NotContains(t, f.Detail, "secret")
	}
	require.Equal(t, map[string]string{
		"/attributes/team": "required", "/attributes/level": "out_of_range", "/attributes/mail": "invalid_format",
		"/attributes/sizes/1/a~1b": "too_long", "/attributes/x~0y": "unknown_field",
	}, got)
	_, err = b.Replace(t.Context(), ada, ada.UserID, profile.Changes{Nickname: patch.To("x")}, nil)
	require.ErrorIs(t, err, fault.ErrValidation, "without attributes there is no team")
}

// AZ-10: attributes are found by equality, and only by those who may read them.
func TestAZ10_AttributeFilters(t *testing.T) {
	t.Parallel()
	b := start(t)
	reader := b.person(t, "reader@example.org", "profiles:read")
	for name, attributes := range map[string]string{
		"ada": `{"team":"red","level":3,"on":true,"a.b":"x"}`, "bob": `{"team":"red","level":"3"}`, "eve": `{"team":"blue","level":33,"list":["red"]}`,
	} {
		p := b.person(t, name+"@example.org")
		_, err := b.Update(t.Context(), p, p.UserID, profile.Changes{
			Nickname: patch.To(name), Attributes: patch.To(jsontext.Value(attributes)), Visibility: patch.To(profile.Public),
		}, nil)
		require.NoError(t, err)
	}
	find := func(by actor.Actor, f profile.Filter) (names []string, err error) {
		f.Limit = 10
		all, err := b.List(t.Context(), by, f)
		for _, p := range all {
			names = append(names, *p.Nickname)
		}
		return names, err
	}
	for _, c := range []struct {
		f    profile.Filter
		want []string
	}{
		{profile.Filter{Attributes: map[string]string{"team": "red"}}, []string{"ada", "bob"}},
		{profile.Filter{Attributes: map[string]string{"level": "3"}}, []string{"ada", "bob"}},
		{profile.Filter{Attributes: map[string]string{"level": "3", "on": "true"}}, []string{"ada"}},
		{profile.Filter{Attributes: map[string]string{"a.b": "x"}}, []string{"ada"}},
		{profile.Filter{Attributes: map[string]string{"list": "red"}}, nil},
		{profile.Filter{Attributes: map[string]string{"team": "re"}}, nil},
		{profile.Filter{Attributes: map[string]string{`te"am`: `\u0000'`}}, nil},
		{profile.Filter{Attributes: map[string]string{"team": "red"}, Search: "bob"}, []string{"bob"}},
	} {
		got, err := find(reader, c.f)
		require.NoError(t, err)
		require.ElementsMatch(t, c.want, got, "%v", c.f)
	}
	_, err := find(reader, profile.Filter{Attributes: map[string]string{"a": "1", "b": "2", "c": "3"}})
	require.Equal(t, "unsupported_filter", fault.As(err).Code)
	_, err = find(b.person(t, "plain@example.org"), profile.Filter{Attributes: map[string]string{"team": "red"}})
	require.ErrorIs(t, err, actor.ErrPermissionDenied, "although all of them are public: attributes are not")
}

// REG-09: what a person says of himself is text: no second line where there is one, no control, bounded in characters.
func TestREG09_ProfileFields(t *testing.T) {
	t.Parallel()
	b := start(t)
	ada := b.person(t, "ada@example.org")
	fields := map[string]func(string) profile.Changes{
		"/given_name":  func(s string) profile.Changes { return profile.Changes{GivenName: patch.To(s)} },
		"/family_name": func(s string) profile.Changes { return profile.Changes{FamilyName: patch.To(s)} },
		"/nickname":    func(s string) profile.Changes { return profile.Changes{Nickname: patch.To(s)} },
		"/bio":         func(s string) profile.Changes { return profile.Changes{Bio: patch.To(s)} },
		"/phone":       func(s string) profile.Changes { return profile.Changes{Phone: patch.To(s)} },
		"/website":     func(s string) profile.Changes { return profile.Changes{Website: patch.To(s)} },
		"/birth_date":  func(s string) profile.Changes { return profile.Changes{BirthDate: patch.To(s)} },
		"/address/street": func(s string) profile.Changes {
			return profile.Changes{Address: patch.To(profile.AddressChanges{Street: patch.To(s)})}
		},
		"/social_links/web": func(s string) profile.Changes {
			return profile.Changes{SocialLinks: patch.To(map[string]*string{"web": &s})}
		},
	}
	for pointer, change := range fields {
		for _, bad := range []string{"", "a\r\nBcc: x@y.test", "a\x00b", "a\x7fb", "a\u2028b", "a\uffffb", "\x85", " \t "} {
			_, err := b.Update(t.Context(), ada, ada.UserID, change(bad), nil)
			require.ErrorIs(t, err, fault.ErrValidation, "%s %q", pointer, bad)
			require.Equal(t, pointer, fault.As(err).Fields[0].Pointer)
		}
	}
	for pointer, cases := range map[string]map[string]bool{
		"/given_name": {strings.Repeat("ä", 100): true, strings.Repeat("ä", 101): false, "<script>": true, "a\u202eb": true, "line\nline": false},
		"/bio":        {strings.Repeat("ä", 2000): true, strings.Repeat("ä", 2001): false, "line\n\tline": true, "line\rline": false},
		"/phone":      {"+431234567": true, "+1234567": true, "+123456": false, "+1234567890123456": false, "+0431234567": false, "00431234567": false, "+43 1 234567": false},
		"/website": {
			"https://a.example/x?y#z": true, "https://ä.example/": true, "http://a.example": false, "javascript:alert(1)": false, "https://u:p@a.example": false,
			"https://": false, "https://a.example/" + strings.Repeat("ä", 482): true, "https://a.example/" + strings.Repeat("ä", 483): false, "https://a.example/<b>": false, "//a.example": false,
		},
		"/birth_date": {"2000-02-29": true, "2001-02-29": false, "2000-2-29": false, "2026-05-01": true, "2026-05-02": false, "1899-12-31": false, "2000-01-01T00:00:00Z": false},
	} {
		for value, good := range cases {
			_, err := b.Update(t.Context(), ada, ada.UserID, fields[pointer](value), nil)
			if good {
				require.NoError(t, err, "%s %q", pointer, value)
			} else {
				require.ErrorIs(t, err, fault.ErrValidation, "%s %q", pointer, value)
			}
		}
	}
}

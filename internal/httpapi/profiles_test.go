package httpapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

func TestProfilesOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "ada@example.org")
	_, bob := s.Person(t, admin, "bob@example.org")

	a := ada.GET(t, "/profiles/me").Want(t, 200)
	require.Equal(t, `"1"`, a.Header.Get("ETag"))
	require.Equal(t, "private", a.Get(t, "visibility"))
	for _, field := range []string{"given_name", "family_name", "nickname", "bio", "phone", "website", "birth_date", "address", "avatar_url"} {
		require.Contains(t, a.JSON(t), field)
		require.Nil(t, a.Get(t, field))
	}
	a = ada.With("If-Match", `"1"`).PUT(t, "/profiles/me", doc{
		"given_name": "Ada", "bio": "one\n\ttwo", "phone": "+431234567", "website": "https://ada.example", "birth_date": "1990-12-10",
		"address": doc{"street": "Ring 1", "country": "AT"}, "social_links": doc{"code": "https://code.example/ada", "gone": nil},
		"attributes": doc{"shirt": doc{"size": "M"}},
	}).Want(t, 200)
	require.Equal(t, `"2"`, a.Header.Get("ETag"))
	require.Equal(t, doc{"street": "Ring 1", "locality": nil, "region": nil, "postal_code": nil, "country": "AT"}, a.Get(t, "address"))
	require.Equal(t, doc{"code": "https://code.example/ada"}, a.Get(t, "social_links"))
	require.Equal(t, a.JSON(t), ada.GET(t, "/profiles/"+id).Want(t, 200).JSON(t))

	// AZ-01: hidden is like unknown.
	hidden := bob.GET(t, "/profiles/"+id).Want(t, 404, "not_found")
	unknown := bob.GET(t, "/profiles/"+unknownID).Want(t, 404, "not_found")
	require.Equal(t, hidden.Get(t, "detail"), unknown.Get(t, "detail"))
	bob.PATCH(t, "/profiles/"+id, doc{"bio": "x"}).Want(t, 404, "not_found")
	bob.PUT(t, "/profiles/"+unknownID, doc{}).Want(t, 404, "not_found")

	a = ada.With("If-Match", `"2"`).PATCH(t, "/profiles/me", doc{
		"visibility": "public", "address": doc{"street": nil, "locality": "Wien"}, "social_links": doc{"code": nil, "web": "https://ada.example"}, "phone": nil,
	}).Want(t, 200)
	require.Equal(t, doc{"street": nil, "locality": "Wien", "region": nil, "postal_code": nil, "country": "AT"}, a.Get(t, "address"))
	require.Equal(t, doc{"web": "https://ada.example"}, a.Get(t, "social_links"))
	ada.With("If-Match", `"2"`).PATCH(t, "/profiles/me", doc{"bio": "late"}).Want(t, 412, "precondition_failed")

	a = bob.GET(t, "/profiles/"+id).Want(t, 200)
	require.Equal(t, doc{
		"user_id": id, "given_name": "Ada", "family_name": nil, "nickname": nil, "bio": "one\n\ttwo", "website": "https://ada.example",
		"social_links": doc{"web": "https://ada.example"}, "avatar_url": nil,
	}, a.JSON(t), "the public part, and not a field more")
	require.Len(t, bob.GET(t, "/profiles").Want(t, 200).Get(t, "data"), 1)
	require.Equal(t, []any{}, bob.GET(t, "/profiles?search=nobody").Want(t, 200).Get(t, "data"))
	whole := admin.GET(t, "/profiles?limit=2").Want(t, 200)
	require.Contains(t, whole.Get(t, "data.0"), "attributes")
	admin.GET(t, "/profiles?limit=2&cursor="+whole.String(t, "next_cursor")).Want(t, 200)
	bob.GET(t, "/profiles?limit=2&cursor="+whole.String(t, "next_cursor")).Want(t, 400, "invalid_cursor")

	a = ada.PATCH(t, "/profiles/me", doc{
		"given_name": "a\r\nb", "phone": "0123", "website": "http://x.example", "birth_date": "2100-01-01", "visibility": "friends",
		"address": doc{"country": "Austria", "planet": "Earth"}, "social_links": doc{"web": 5}, "attributes": []int{1}, "avatar_url": "x", "user_id": "x",
	}).Want(t, 422, "validation_failed")
	require.Subset(t, pointers(t, a), []string{"/given_name", "/visibility", "/address/country", "/address/planet", "/social_links/web", "/attributes", "/avatar_url", "/user_id"})
	a = ada.PATCH(t, "/profiles/me", doc{
		"phone": "0123", "website": "http://x.example", "birth_date": "2100-01-01", "address": doc{"country": "ZZ"}, "social_links": doc{"web": "ftp://x"},
	}).Want(t, 422, "validation_failed")
	require.ElementsMatch(t, []string{"/phone", "/website", "/birth_date", "/address/country", "/social_links/web"}, pointers(t, a))

	admin.PATCH(t, "/profiles/"+id, doc{"nickname": "Countess"}).Want(t, 200)
	a = ada.PUT(t, "/profiles/me", doc{}).Want(t, 200)
	require.Nil(t, a.Get(t, "nickname"))
	require.Equal(t, "private", a.Get(t, "visibility"))
	require.Equal(t, `"5"`, a.Header.Get("ETag"))
}

func TestProfileAttributesOverHTTP(t *testing.T) {
	t.Parallel()
	schema := filepath.Join(t.TempDir(), "schema.json")
	require.NoError(t, os.WriteFile(schema, []byte(`{"properties": {"team": {"enum": ["red", "blue"]}, "level": {"type": "integer"}}}`), 0o600))
	s := apptest.Start(t, apptest.Env("UMS_PROFILE_SCHEMA="+schema))
	admin := s.Admin(t)
	for i, attributes := range []doc{{"team": "red", "level": 1}, {"team": "red", "level": 2}, {"team": "blue", "level": 1}} {
		_, c := s.Person(t, admin, fmt.Sprintf("p%d@example.org", i))
		c.PATCH(t, "/profiles/me", doc{"attributes": attributes, "visibility": "public"}).Want(t, 200)
		a := c.PATCH(t, "/profiles/me", doc{"attributes": doc{"team": "green", "level": "x"}}).Want(t, 422, "validation_failed")
		require.ElementsMatch(t, []string{"/attributes/team", "/attributes/level"}, pointers(t, a))
		require.NotContains(t, string(a.Body), "green")

		// AZ-10: what is hidden cannot be asked for.
		c.GET(t, "/profiles?attributes.team=red").Want(t, 403, "permission_denied")
		require.Len(t, c.GET(t, "/profiles").Want(t, 200).Get(t, "data"), i+1)
	}
	for query, want := range map[string]int{
		"attributes.team=red": 2, "attributes.team=red&attributes.level=1": 1, "attributes.level=1&limit=1": 1, "attributes.none=x": 0, "attributes.team=RED": 0, "attributes.team=": 4,
	} {
		require.Len(t, admin.GET(t, "/profiles?"+query).Want(t, 200).Get(t, "data"), want, query)
	}
	cursor := admin.GET(t, "/profiles?attributes.level=1&limit=1").Want(t, 200).String(t, "next_cursor")
	require.Len(t, admin.GET(t, "/profiles?attributes.level=1&limit=1&cursor="+cursor).Want(t, 200).Get(t, "data"), 1)
	for _, query := range []string{"attributes.level=2", "attributes.team=1", "search=red", ""} {
		admin.GET(t, "/profiles?"+query+"&limit=1&cursor="+cursor).Want(t, 400, "invalid_cursor")
	}
	admin.GET(t, "/profiles?attributes.a=1&attributes.b=2&attributes.c=3").Want(t, 422, "unsupported_filter")
	for _, query := range []string{"attributes.=x", "attributes=x", "attributes.a=1&attributes.a=2", "attributes.a=%00", "attributes.a=%0A", "attributesx=1"} {
		admin.GET(t, "/profiles?"+query).Want(t, 422, "validation_failed")
	}
	admin.GET(t, "/users?attributes.team=red").Want(t, 422, "validation_failed")
}

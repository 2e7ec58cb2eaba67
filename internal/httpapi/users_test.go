package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

type doc = map[string]any

func TestUsersOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	admin.POST(t, "/roles", doc{"name": "editor"}).Want(t, 201)

	a := admin.POST(t, "/users", doc{
		"email": "Ada@Example.org", "password": apptest.Password, "email_verified": true, "roles": []string{"editor"},
		"display_name": "Ada", "locale": "de-at", "external_id": "crm-1", "metadata": doc{"note": "a\nb"}, "app_metadata": doc{"plan": "pro"},
	}).Want(t, 201)
	path := "/users/" + a.String(t, "id")
	require.Equal(t, "/api/v1"+path, a.Header.Get("Location"))
	require.Equal(t, []any{"editor", "user"}, a.Get(t, "roles"))
	require.Equal(t, "active", a.Get(t, "status"))
	require.Equal(t, "de-AT", a.Get(t, "locale"))
	got := admin.GET(t, path).Want(t, 200)
	require.Equal(t, a.JSON(t), got.JSON(t))
	tag := got.Header.Get("ETag")
	require.Equal(t, a.Header.Get("ETag"), tag)
	admin.With("If-None-Match", tag).GET(t, path).Want(t, 304)
	for _, field := range []string{
		"kind", "email", "email_verified", "display_name", "locale", "timezone", "status", "roles", "metadata", "app_metadata",
		"external_id", "mfa_enabled", "last_login_at", "created_at", "updated_at",
	} {
		require.Contains(t, got.JSON(t), field)
	}
	admin.POST(t, "/users", doc{"email": "ada@example.ORG"}).Want(t, 409, "email_taken")
	admin.POST(t, "/users", doc{"email": "bob@example.org", "external_id": "crm-1"}).Want(t, 409, "already_exists")
	a = admin.POST(t, "/users", doc{"email": "Bob <b@x.test>", "password": "short", "locale": "??", "send_invites": true, "Roles": []string{}}).Want(t, 422, "validation_failed")
	require.ElementsMatch(t, []string{"/send_invites", "/Roles", "/email", "/password", "/locale"}, pointers(t, a))
	require.NotContains(t, string(a.Body), "b@x.test")

	a = admin.With("If-Match", tag).With("Content-Type", "application/merge-patch+json").PATCH(t, path, doc{
		"display_name": nil, "timezone": "Europe/Vienna", "app_metadata": doc{"plan": nil, "seats": 3}, "external_id": "crm-2",
	}).Want(t, 200)
	require.Nil(t, a.Get(t, "display_name"))
	require.Equal(t, doc{"seats": 3.0}, a.Get(t, "app_metadata"))
	admin.With("If-Match", tag).PATCH(t, path, doc{"timezone": nil}).Want(t, 412, "precondition_failed")
	admin.With("If-Match", tag).DELETE(t, path).Want(t, 412, "precondition_failed")
	admin.PATCH(t, path, doc{"status": "suspended", "roles": []string{"admin"}}).Want(t, 422, "validation_failed")

	ada := s.SignIn(t, "ada@example.org", apptest.Password)
	require.Equal(t, a.Header.Get("ETag"), ada.GET(t, "/users/me").Want(t, 200).Header.Get("ETag"), "statistics are no part of it")
	admin.POST(t, path+"/suspend", doc{}).Want(t, 422, "validation_failed")
	a = admin.POST(t, path+"/suspend", doc{"reason": "spam"}).Want(t, 200)
	require.Equal(t, "suspended", a.Get(t, "status"))
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	s.POST(t, "/auth/login", doc{"email": "ada@example.org", "password": apptest.Password}).Want(t, 403, "account_suspended")
	a = admin.POST(t, path+"/reactivate", nil).Want(t, 200)
	require.Equal(t, "active", a.Get(t, "status"))
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	s.SignIn(t, "ada@example.org", apptest.Password)

	admin.DELETE(t, path).Want(t, 204)
	admin.GET(t, path).Want(t, 404, "not_found")
	admin.DELETE(t, path).Want(t, 404, "not_found")
	admin.GET(t, "/users/not-a-uuid").Want(t, 404, "not_found")
}

func TestMeOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "ada@example.org")

	a := ada.GET(t, "/users/me").Want(t, 200)
	require.Equal(t, id, a.String(t, "id"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	a = ada.With("If-Match", a.Header.Get("ETag")).PATCH(t, "/users/me", doc{"display_name": "Ada", "metadata": doc{"theme": "dark"}}).Want(t, 200)
	require.Equal(t, "Ada", a.Get(t, "display_name"))

	// REG-08: what is not one's own to change is no field.
	for _, field := range []string{"email_verified", "status", "roles", "mfa_enabled", "password_hash", "created_at", "id", "tenant", "app_metadata", "email", "external_id", "kind", "version"} {
		b := ada.PATCH(t, "/users/me", doc{field: "x"}).Want(t, 422, "validation_failed")
		require.Equal(t, []string{"/" + field}, pointers(t, b))
	}
	// REG-09, HTTP-02
	for _, bad := range []string{"a\r\nBcc: x@y.test", "a\x00b", "a\uffffb", strings.Repeat("x", 121), ""} {
		ada.PATCH(t, "/users/me", doc{"display_name": bad}).Want(t, 422, "validation_failed")
	}
	require.Equal(t, a.JSON(t), ada.GET(t, "/users/me").Want(t, 200).JSON(t))

	// A permission route answers before any look-up, alike for every id; one's own is no exception.
	ada.GET(t, "/users/"+id).Want(t, 403, "permission_denied")
	ada.GET(t, "/users/"+unknownID).Want(t, 403, "permission_denied")
	ada.POST(t, "/users", doc{"email": 5}).Want(t, 403, "permission_denied")
	ada.DELETE(t, "/users/"+id).Want(t, 403, "permission_denied")
	s.GET(t, "/users/me").Want(t, 401, "unauthenticated")
	s.GET(t, "/users").Want(t, 401, "unauthenticated")

	// AZ-06
	admin.DELETE(t, "/users/me").Want(t, 409, "last_admin")
	ada.DELETE(t, "/users/me").Want(t, 204)
	ada.GET(t, "/users/me").Want(t, 401)
	admin.GET(t, "/users/"+id).Want(t, 404)
	events := admin.GET(t, "/audit-events?target_id="+id+"&action=user.delete&outcome=success").Want(t, 200)
	require.Len(t, events.Get(t, "data"), 1)
	require.Nil(t, events.Get(t, "data.0.ip"))
	require.Nil(t, events.Get(t, "data.0.actor.label"))
}

const unknownID = "01990000-0000-7000-8000-000000000000"

func TestUserListOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	var wg sync.WaitGroup
	for i := range 11 {
		wg.Go(func() {
			admin.POST(t, "/users", doc{"kind": "service", "display_name": fmt.Sprintf("Job %02d 100%%_", i)}).Want(t, 201)
		})
	}
	wg.Wait()
	for _, sort := range []string{"", "created_at", "-created_at", "email", "-email", "last_login_at", "-last_login_at"} {
		seen := map[string]bool{}
		next := "/users?limit=5&sort=" + sort
		pages := 0
		for next != "" {
			a := admin.GET(t, next).Want(t, 200)
			for _, row := range a.Get(t, "data").([]any) {
				seen[row.(doc)["id"].(string)] = true
			}
			next = ""
			if link := a.Header.Get("Link"); link != "" {
				require.True(t, strings.HasSuffix(link, `>; rel="next"`))
				next = strings.TrimPrefix(strings.TrimSuffix(link[1:], `>; rel="next"`), "/api/v1")
				require.Contains(t, link, url.QueryEscape(a.String(t, "next_cursor")))
			} else {
				require.Nil(t, a.Get(t, "next_cursor"))
			}
			pages++
		}
		require.Len(t, seen, 12, sort)
		require.Equal(t, 3, pages)
	}
	// AZ-11: a cursor serves its own caller, filter and order alone.
	cursor := admin.GET(t, "/users?limit=5&sort=email").Want(t, 200).String(t, "next_cursor")
	for _, other := range []string{"limit=5&sort=-email", "limit=5", "limit=5&sort=email&status=active"} {
		admin.GET(t, "/users?"+other+"&cursor="+cursor).Want(t, 400, "invalid_cursor")
	}
	admin.GET(t, "/users?sort=email&cursor="+cursor[:len(cursor)-6]+"AAAAAA").Want(t, 400, "invalid_cursor")
	admin.GET(t, "/users?limit=7&sort=email&cursor="+cursor).Want(t, 200)

	// AZ-10, HTTP-09
	for _, query := range []string{
		"sort=password_hash", "sort=-metadata", "fields=password_hash", "password_hash=x", "limit=0", "limit=201", "limit=x", "status=gone", "kind=robot",
		"created_after=yesterday", "email=nobody", "email%5Bne%5D=x", "search=" + strings.Repeat("x", 201), "search=%00",
	} {
		admin.GET(t, "/users?"+query).Want(t, 422, "validation_failed")
	}
	for search, want := range map[string]int{"JOB 0": 10, "100%_": 11, "%": 11, "_": 11, `\`: 0, "' OR 1=1 --": 0, apptest.AdminEmail: 1} {
		a := admin.GET(t, "/users?limit=100&search="+url.QueryEscape(search)).Want(t, 200)
		require.Len(t, a.Get(t, "data"), want, search)
	}
	require.Len(t, admin.GET(t, "/users?role=admin&email=ADMIN@example.com").Want(t, 200).Get(t, "data"), 1)

	for _, query := range []string{
		"status=active&kind=human&role=admin", "email=admin@example.com&status=active&kind=human", "status=active&kind=human&created_after=2020-01-01T00:00:00Z",
		"search=ada&sort=email", "search=ada&sort=-last_login_at", "role=admin&sort=email", "created_before=2030-01-01T00:00:00Z&sort=last_login_at",
	} {
		admin.GET(t, "/users?"+query).Want(t, 422, "unsupported_filter")
	}
	for _, query := range []string{
		"search=ada&status=active&role=admin", "sort=email&status=active&kind=human", "sort=-last_login_at&status=suspended",
		"created_after=2020-01-01T00:00:00Z&created_before=2030-01-01T00:00:00Z&status=active", "kind=service&sort=email",
	} {
		admin.GET(t, "/users?"+query).Want(t, 200)
	}

	require.NotContains(t, admin.GET(t, "/users").Want(t, 200).JSON(t), "total")
	require.EqualValues(t, 12, admin.GET(t, "/users?include=total").Want(t, 200).Get(t, "total"), "one page holds everything: exact")
	require.EqualValues(t, 0, admin.GET(t, "/users?include=total&search=nobody").Want(t, 200).Get(t, "total"))
	part := admin.GET(t, "/users?include=total&limit=5&search=job").Want(t, 200)
	require.GreaterOrEqual(t, part.Get(t, "total"), float64(5), "an estimate, and not less than what is seen")
	admin.GET(t, "/users?include=total&limit=5&search=job&cursor="+part.String(t, "next_cursor")).Want(t, 200)
}

// A service account has no address and no login; a key acts for it.
func TestServiceAccountOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	a := admin.POST(t, "/users", doc{"kind": "service", "display_name": "exporter"}).Want(t, 201)
	require.Nil(t, a.Get(t, "email"))
	require.Equal(t, "active", a.Get(t, "status"))
	require.Equal(t, []any{}, a.Get(t, "roles"))
	path := "/users/" + a.String(t, "id")
	admin.PATCH(t, path, doc{"email": "x@example.org"}).Want(t, 422, "validation_failed")
	admin.PATCH(t, path, doc{"display_name": nil}).Want(t, 422, "validation_failed")
	b := admin.POST(t, "/users", doc{"kind": "service", "email": "x@example.org", "password": apptest.Password}).Want(t, 422, "validation_failed")
	require.ElementsMatch(t, []string{"/email", "/password", "/display_name"}, pointers(t, b))
}

// HTTP-10 for users: one effect, one answer.
func TestHTTP10_CreateUserOnce(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t).With("Idempotency-Key", "k-1")
	first := admin.POST(t, "/users", doc{"email": "ada@example.org"}).Want(t, 201)
	again := admin.POST(t, "/users", doc{"email": "ada@example.org"}).Want(t, 201)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Equal(t, first.JSON(t), again.JSON(t))
	require.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"))
	admin.POST(t, "/users", doc{"email": "bob@example.org"}).Want(t, 422, "idempotency_key_reused")
}

// The address is corrected by an administrator: unproven again, both addresses told, sessions over.
func TestCorrectedAddressOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "ada@example.org")
	a := admin.PATCH(t, "/users/"+id, doc{"email": "ada@new.example"}).Want(t, 200)
	require.Equal(t, false, a.Get(t, "email_verified"))
	require.Equal(t, "active", a.Get(t, "status"))
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	admin.PATCH(t, "/users/"+id, doc{"email": apptest.AdminEmail}).Want(t, 409, "email_taken")
	admin.PATCH(t, "/users/"+id, doc{"email": nil}).Want(t, 422, "validation_failed")
	s.POST(t, "/auth/login", doc{"email": "ada@example.org", "password": apptest.Password}).Want(t, 401, "invalid_credentials")
}

// All faults of an input come in one answer, those of its shape and those that a rule finds; and before anybody looks
// whether the resource is there, or is still what the caller has read.
func TestFaultsOfChangesComeInOneAnswer(t *testing.T) {
	t.Parallel()
	s := common(t)
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "faults@changes.test")
	long := strings.Repeat("x", 300)
	for path, c := range map[string]struct {
		by    *apptest.Client
		body  doc
		wrong []string
	}{
		"/users/me":           {ada, doc{"display_name": long, "locale": "no locale", "timezone": "Nowhere/At_All", "nick": 1}, []string{"/display_name", "/locale", "/nick", "/timezone"}},
		"/users/" + id:        {admin, doc{"display_name": long, "locale": "no locale", "email": "no address"}, []string{"/display_name", "/email", "/locale"}},
		"/users/" + unknownID: {admin, doc{"timezone": "Nowhere/At_All"}, []string{"/timezone"}},
		"/profiles/me": {
			ada,
			doc{"nickname": long, "phone": "12", "birth_date": "3000-01-01", "social_links": doc{"x": "javascript:alert(1)"}, "address": doc{"country": "at"}},
			[]string{"/address/country", "/birth_date", "/nickname", "/phone", "/social_links/x"},
		},
		"/profiles/" + unknownID: {admin, doc{"website": "http://example.org"}, []string{"/website"}},
	} {
		a := c.by.With("If-Match", `"999"`).PATCH(t, path, c.body).Want(t, http.StatusUnprocessableEntity, "validation_failed")
		var wrong []string
		for _, e := range a.Get(t, "errors").([]any) {
			wrong = append(wrong, e.(doc)["pointer"].(string))
		}
		slices.Sort(wrong)
		require.Equal(t, c.wrong, wrong, path)
	}
}

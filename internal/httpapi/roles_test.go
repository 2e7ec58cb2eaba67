package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

type fields = map[string]any

const (
	adminRole = "00000000-0000-7000-8000-000000000001"
	userRole  = "00000000-0000-7000-8000-000000000002"
)

func TestRolesOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)

	a := admin.POST(t, "/roles", fields{"name": "support", "description": "line\nline", "permissions": []string{"users:read", "audit:read"}}).Want(t, 201)
	path := strings.TrimPrefix(a.Header.Get("Location"), "/api/v1")
	require.Equal(t, "/roles/"+a.String(t, "id"), path)
	require.Equal(t, `"1"`, a.Header.Get("ETag"))
	require.Equal(t, []any{"audit:read", "users:read"}, a.Get(t, "permissions"))
	for _, field := range []string{"name", "description", "inherits", "require_mfa", "system", "user_count", "created_at", "updated_at"} {
		require.Contains(t, a.JSON(t), field)
	}
	admin.POST(t, "/roles", fields{"name": "support"}).Want(t, 409, "already_exists")
	admin.With("If-None-Match", `"1"`).GET(t, path).Want(t, 304)

	// What is wrong with a body comes in one answer, each with its place.
	a = admin.POST(t, "/roles", fields{"name": "Bad Name", "permissions": []any{"users:read", 5}, "Inherits": []string{}, "x": 1}).Want(t, 422, "validation_failed")
	require.ElementsMatch(t, []string{"/name", "/permissions/1", "/Inherits", "/x"}, pointers(t, a))
	a = admin.POST(t, "/roles", fields{"name": "bad", "permissions": []string{"users:read", "*:read", "ghosts:*"}, "inherits": []string{"nobody"}}).Want(t, 422, "validation_failed")
	require.Equal(t, []string{"/permissions/1", "/permissions/2", "/inherits/0"}, pointers(t, a))
	require.Equal(t, "unknown_permission", a.String(t, "errors.0.code"))

	a = admin.With("Content-Type", "application/merge-patch+json").With("If-Match", `"1"`).PATCH(t, path,
		fields{"description": nil, "permissions": []string{"users:*"}, "require_mfa": false}).Want(t, 200)
	require.Nil(t, a.Get(t, "description"))
	require.Equal(t, []any{"users:*"}, a.Get(t, "permissions"))
	require.Equal(t, `"2"`, a.Header.Get("ETag"))
	admin.With("If-Match", `"1"`).PATCH(t, path, fields{"permissions": []string{}}).Want(t, 412, "precondition_failed")
	admin.PATCH(t, path, fields{"name": "other"}).Want(t, 422, "validation_failed")
	admin.PATCH(t, path, fields{"inherits": []string{"support"}}).Want(t, 422, "role_cycle")
	admin.PATCH(t, "/roles/"+adminRole, fields{"permissions": []string{}}).Want(t, 409, "system_role")
	admin.DELETE(t, "/roles/"+userRole).Want(t, 409, "system_role")

	heir := admin.POST(t, "/roles", fields{"name": "heir", "inherits": []string{"support"}}).Want(t, 201)
	admin.DELETE(t, path).Want(t, 409, "role_in_use")
	admin.DELETE(t, path+"?force=maybe").Want(t, 422)
	admin.DELETE(t, path+"?force=true").Want(t, 204)
	admin.DELETE(t, path).Want(t, 404, "not_found")
	require.Empty(t, admin.GET(t, "/roles/"+heir.String(t, "id")).Want(t, 200).Get(t, "inherits"))
	for _, id := range []string{"x", "00000000-0000-7000-8000-00000000000f", strings.ToUpper(adminRole) + "0"} {
		admin.GET(t, "/roles/"+id).Want(t, 404, "not_found")
	}

	for i := range 5 {
		admin.POST(t, "/roles", fields{"name": fmt.Sprintf("r%d", i)}).Want(t, 201)
	}
	var names []string
	next := "/roles?limit=3"
	for next != "" {
		a := admin.GET(t, next).Want(t, 200)
		for _, r := range a.Get(t, "data").([]any) {
			names = append(names, r.(map[string]any)["name"].(string))
		}
		next = ""
		if cursor := a.String(t, "next_cursor"); cursor != "" {
			next = "/roles?limit=3&cursor=" + cursor
			require.Contains(t, a.Header.Get("Link"), cursor)
		}
	}
	require.Equal(t, []string{"r4", "r3", "r2", "r1", "r0", "heir"}, names[:6])
	require.Len(t, names, 8)
	admin.GET(t, "/roles?limit=0").Want(t, 422)
	admin.GET(t, "/roles?dry_run=true").Want(t, 422)
	admin.GET(t, "/roles?sort=name").Want(t, 422)
	admin.GET(t, "/permissions?cursor="+admin.GET(t, "/roles?limit=1").String(t, "next_cursor")).Want(t, 400, "invalid_cursor")
}

func TestPermissionsOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	a := admin.POST(t, "/permissions", fields{"name": "orders:refund"}).Want(t, 201)
	require.Equal(t, "/api/v1/permissions/orders:refund", a.Header.Get("Location"))
	admin.POST(t, "/permissions", fields{"name": "orders:refund"}).Want(t, 409, "already_exists")
	admin.POST(t, "/permissions", fields{"name": "orders:*"}).Want(t, 422, "validation_failed")
	admin.POST(t, "/roles", fields{"name": "refunds", "permissions": []string{"orders:*"}}).Want(t, 201)
	admin.DELETE(t, "/permissions/orders:refund").Want(t, 409, "permission_in_use")
	admin.DELETE(t, "/permissions/users:read").Want(t, 409, "permission_in_use")
	admin.DELETE(t, "/permissions/orders:other").Want(t, 404, "not_found")
	a = admin.GET(t, "/permissions?limit=200").Want(t, 200)
	require.Equal(t, "orders:refund", a.String(t, "data.0.name"))
	require.Nil(t, a.Get(t, "next_cursor"))

	// A repeat with the same key is the same registration.
	once := admin.With("Idempotency-Key", "k1")
	first := once.POST(t, "/permissions", fields{"name": "orders:read"}).Want(t, 201)
	again := once.POST(t, "/permissions", fields{"name": "orders:read"}).Want(t, 201)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.JSONEq(t, string(first.Body), string(again.Body))
	once.POST(t, "/permissions", fields{"name": "orders:write"}).Want(t, 422, "idempotency_key_reused")
}

func TestAZ03_AssignmentsOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	manager := admin.POST(t, "/roles", fields{"name": "manager", "permissions": []string{"users:read", "roles:read", "roles:assign"}}).Want(t, 201).String(t, "id")
	auditor := admin.POST(t, "/roles", fields{"name": "auditor", "permissions": []string{"audit:read"}}).Want(t, 201).String(t, "id")
	mid, m := s.Person(t, admin, "manager@example.com")
	uid, u := s.Person(t, admin, "user@example.com")

	u.GET(t, "/users/"+uid+"/roles").Want(t, 403, "permission_denied")
	u.PUT(t, "/users/"+uid+"/roles/"+adminRole, fields{}).Want(t, 403, "permission_denied")
	admin.Do(t, http.MethodPut, "/users/"+mid+"/roles/"+manager, nil).Want(t, 204)
	admin.PUT(t, "/users/"+mid+"/roles/"+manager, fields{"expires_at": nil}).Want(t, 204)

	// The right counts from the next request on.
	require.Equal(t, []any{"manager", "user"}, names(t, m.GET(t, "/users/"+mid+"/roles").Want(t, 200), "name"))
	for _, target := range []string{mid, uid} {
		m.PUT(t, "/users/"+target+"/roles/"+adminRole, fields{}).Want(t, 403, "privilege_escalation")
		m.PUT(t, "/users/"+target+"/roles/"+auditor, fields{}).Want(t, 403, "privilege_escalation")
	}
	until := s.Clock.Now().Add(time.Hour).Format(time.RFC3339)
	m.PUT(t, "/users/"+uid+"/roles/"+manager, fields{"expires_at": until}).Want(t, 204)
	require.Equal(t, until[:19], m.GET(t, "/users/"+uid+"/roles").Want(t, 200).String(t, "data.0.expires_at")[:19])
	admin.PUT(t, "/users/"+uid+"/roles/"+manager, fields{"expires_at": "2001-01-01T00:00:00Z"}).Want(t, 422, "validation_failed")
	admin.PUT(t, "/users/"+uid+"/roles/"+userRole, fields{}).Want(t, 409, "system_role")
	admin.PUT(t, "/users/"+uid+"/roles/"+uid, fields{}).Want(t, 404, "not_found")
	admin.PUT(t, "/users/"+manager+"/roles/"+manager, fields{}).Want(t, 404, "not_found")

	a := u.GET(t, "/users/me/permissions").Want(t, 200)
	require.Equal(t, []any{"me:read", "me:write", "roles:assign", "roles:read", "users:read"}, names(t, a, "permission"))
	require.Equal(t, []any{"manager"}, a.Get(t, "data.2.roles"))
	a = u.GET(t, "/users/me/permissions?limit=2").Want(t, 200)
	a = u.GET(t, "/users/me/permissions?limit=200&cursor="+a.String(t, "next_cursor")).Want(t, 200)
	require.Equal(t, []any{"roles:assign", "roles:read", "users:read"}, names(t, a, "permission"))
	require.JSONEq(t, string(u.GET(t, "/users/me/permissions").Body), string(m.GET(t, "/users/"+uid+"/permissions").Want(t, 200).Body))

	m.DELETE(t, "/users/"+uid+"/roles/"+manager).Want(t, 204)
	m.DELETE(t, "/users/"+uid+"/roles/"+manager).Want(t, 404, "not_found")
	u.GET(t, "/users/"+uid+"/roles").Want(t, 403, "permission_denied")
	require.Equal(t, []any{mid}, names(t, admin.GET(t, "/roles/"+manager+"/users").Want(t, 200), "id"))

	// AZ-06
	holders := admin.GET(t, "/roles/"+adminRole+"/users").Want(t, 200)
	first := "/users/" + holders.String(t, "data.0.id") + "/roles/" + adminRole
	admin.DELETE(t, first).Want(t, 409, "last_admin")
	admin.PUT(t, first, fields{"expires_at": until}).Want(t, 409, "last_admin")

	events := admin.GET(t, "/audit-events?target_id="+uid+"&outcome=denied").Want(t, 200)
	require.Contains(t, names(t, events, "action"), "role.assign")
	require.Equal(t, "user", events.String(t, "data.0.target.type"))
}

func names(t *testing.T, a *apptest.Answer, field string) []any {
	t.Helper()
	var all []any
	for _, row := range a.Get(t, "data").([]any) {
		all = append(all, row.(map[string]any)[field])
	}
	return all
}

func pointers(t *testing.T, a *apptest.Answer) []string {
	t.Helper()
	var all []string
	for _, e := range a.Get(t, "errors").([]any) {
		all = append(all, e.(map[string]any)["pointer"].(string))
	}
	return all
}

func TestAZ08_ARightThatIsTakenIsGoneOnEveryReplica(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	other := apptest.Start(t, apptest.Beside(s))
	admin := s.Admin(t)
	role := admin.POST(t, "/roles", fields{"name": "auditor", "permissions": []string{"audit:read"}}).Want(t, 201).String(t, "id")
	id, c := s.Person(t, admin, "auditor@example.com", "auditor")
	key := c.POST(t, "/api-keys", fields{"name": "k", "scopes": []string{"audit:read"}, "environment": "live"}).Want(t, 201).String(t, "key")
	callers := []*apptest.Client{c, s.With("X-API-Key", key)}
	for name, change := range map[string]struct{ take, give func() }{
		"role from user": {
			func() { admin.DELETE(t, "/users/"+id+"/roles/"+role).Want(t, 204) },
			func() { admin.PUT(t, "/users/"+id+"/roles/"+role, fields{}).Want(t, 204) },
		},
		"permission from role": {
			func() { admin.PATCH(t, "/roles/"+role, fields{"permissions": []string{}}).Want(t, 200) },
			func() { admin.PATCH(t, "/roles/"+role, fields{"permissions": []string{"audit:read"}}).Want(t, 200) },
		},
	} {
		for _, c := range callers {
			c.GET(t, "/audit-events").Want(t, 200)
			c.At(other).GET(t, "/audit-events").Want(t, 200)
		}
		change.take()
		for _, c := range callers {
			require.Equal(t, 403, c.GET(t, "/audit-events").Status, name)
		}
		s.Clock.Advance(time.Second) // at the latest, whether the announcement arrived or not
		for _, c := range callers {
			require.Equal(t, 403, c.At(other).GET(t, "/audit-events").Status, name)
		}
		change.give()
		s.Clock.Advance(time.Second)
	}
}

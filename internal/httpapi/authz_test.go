package httpapi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

func TestAuthzCheckOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	root.POST(t, "/permissions", doc{"name": "invoices:approve"}).Want(t, 201)
	root.POST(t, "/roles", doc{"name": "accounts", "permissions": []string{"invoices:approve"}}).Want(t, 201)
	root.POST(t, "/roles", doc{"name": "lead", "permissions": []string{"users:read"}, "inherits": []string{"accounts"}}).Want(t, 201)
	id, ada := s.Person(t, root, "ada@authz.test", "lead")
	asked := doc{"permissions": []string{"invoices:approve", "me:read", "audit:read", "no:such"}}
	mine := ada.POST(t, "/authz/check", asked).Want(t, 200)
	require.JSONEq(t, `{"results": [
		{"permission": "invoices:approve", "allowed": true, "via": ["lead", "accounts"], "missing": null},
		{"permission": "me:read", "allowed": true, "via": ["user"], "missing": null},
		{"permission": "audit:read", "allowed": false, "via": [],
			"missing": {"link": "grant", "roles": ["lead", "user"], "status": null, "expired_at": null}},
		{"permission": "no:such", "allowed": false, "via": [],
			"missing": {"link": "registration", "roles": [], "status": null, "expired_at": null}}]}`, string(mine.Body))
	asked["user_id"] = id
	require.JSONEq(t, string(mine.Body), string(root.POST(t, "/authz/check", asked).Want(t, 200).Body))
	require.JSONEq(t, string(mine.Body), string(ada.POST(t, "/authz/check", asked).Want(t, 200).Body), "oneself by id")

	// A key is answered for itself, and needs me:read or roles:read for it.
	key := func(scopes ...string) *apptest.Client {
		return s.Bearer(ada.POST(t, "/api-keys", newKey(doc{"scopes": scopes})).Want(t, 201).String(t, "key"))
	}
	a := key("me:read").POST(t, "/authz/check", doc{"user_id": id, "permissions": []string{"invoices:approve", "me:read"}}).Want(t, 200)
	require.Equal(t, "scope", a.String(t, "results.0.missing.link"))
	require.Equal(t, true, a.Get(t, "results.1.allowed"))
	key("users:read").POST(t, "/authz/check", asked).Want(t, 403, "permission_denied")

	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
	a = root.POST(t, "/authz/check", asked).Want(t, 200)
	require.Equal(t, "account", a.String(t, "results.1.missing.link"))
	require.Equal(t, "suspended", a.String(t, "results.1.missing.status"))

	for _, bad := range []any{
		doc{},
		doc{"permissions": []string{}},
		doc{"permissions": []string{"*:read"}},
		doc{"permissions": "me:read"},
		doc{"permissions": strings.Fields(strings.Repeat("me:read ", 101))},
		doc{"permissions": []string{"me:read"}, "user_id": "x"},
	} {
		root.POST(t, "/authz/check", bad).Want(t, 422, "validation_failed")
	}
	root.POST(t, "/authz/check", doc{"user_id": unknownID, "permissions": []string{"*"}}).Want(t, 404, "not_found")
}

func TestDryRunOfRoleChanges(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	id := root.POST(t, "/roles", doc{"name": "auditor", "permissions": []string{"audit:read"}}).Want(t, 201).String(t, "id")
	root.POST(t, "/roles", doc{"name": "heir", "inherits": []string{"auditor"}}).Want(t, 201)
	_, ada := s.Person(t, root, "ada@dry.test", "heir")
	ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"audit:read"}})).Want(t, 201)
	path := "/roles/" + id
	before := root.GET(t, path).Want(t, 200)
	events := text(t, s, "SELECT count(*)::text FROM audit_events")

	a := root.PATCH(t, path+"?dry_run=true", doc{"permissions": []string{"users:read"}}).Want(t, 200)
	require.JSONEq(t, `{"gained": ["users:read"], "lost": ["audit:read"], "users_affected": 1, "keys_affected": 1}`, string(a.Body))
	require.Empty(t, a.Header.Get("ETag"))
	a = root.DELETE(t, path+"?dry_run=true&force=true").Want(t, 200)
	require.JSONEq(t, `{"gained": [], "lost": ["audit:read"], "users_affected": 1, "keys_affected": 1}`, string(a.Body))
	root.DELETE(t, path+"?dry_run=true").Want(t, 409, "role_in_use")
	root.With("If-Match", `"9"`).PATCH(t, path+"?dry_run=true", doc{}).Want(t, 412, "precondition_failed")
	root.PATCH(t, path+"?dry_run=true", doc{"inherits": []string{"heir"}}).Want(t, 422, "role_cycle")
	root.PATCH(t, path+"?dry_run=maybe", doc{}).Want(t, 422, "validation_failed")
	ada.PATCH(t, path+"?dry_run=true", doc{}).Want(t, 403, "permission_denied")

	require.Equal(t, before.Header.Get("ETag"), root.GET(t, path).Want(t, 200).Header.Get("ETag"))
	ada.GET(t, "/audit-events").Want(t, 200)
	require.Equal(t, events, text(t, s, "SELECT count(*)::text FROM audit_events WHERE outcome = 'success'"), "no effect, no event")
	a = root.DELETE(t, path+"?dry_run=false&force=true").Want(t, 204)
	require.Empty(t, a.Body)
	require.Empty(t, a.Header.Get("Content-Type"))
	ada.GET(t, "/audit-events").Want(t, 403, "permission_denied")
}

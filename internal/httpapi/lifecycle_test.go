package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// dead waits until a replica refuses the caller: the acting one does at once, every other within a second, which the
// cases of TOK-12 hold.
func dead(t *testing.T, c *apptest.Client, code string) {
	t.Helper()
	require.Eventually(t, func() bool { return c.GET(t, "/users/me").Code(t) == code }, 20*time.Second, 20*time.Millisecond)
}

// Suspension keeps everything out on every replica, and what it cut stays dead after the reactivation; keys only sleep.
func TestSuspensionAndReactivation(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	beside := apptest.Start(t, apptest.Beside(s))
	root := s.Admin(t)
	id, ada := s.Person(t, root, "ada@example.com")
	tokens := s.POST(t, "/auth/login", doc{"email": "ada@example.com", "password": apptest.Password}).Want(t, 200)
	key := s.Bearer(ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"me:read"}})).Want(t, 201).String(t, "key"))
	for _, c := range []*apptest.Client{ada, key} {
		c.At(beside).GET(t, "/users/me").Want(t, 200)
	}
	before := root.GET(t, "/users/"+id).Want(t, 200)

	for _, body := range []doc{{}, {"reason": ""}, {"reason": nil}, {"reason": "x", "until": "2030-01-01"}} {
		root.POST(t, "/users/"+id+"/suspend", body).Want(t, 422, "validation_failed")
	}
	a := root.POST(t, "/users/"+id+"/suspend", doc{"reason": "too\nloud"}).Want(t, 200)
	require.Equal(t, "suspended", a.String(t, "status"))
	require.NotEqual(t, before.Header.Get("ETag"), a.Header.Get("ETag"))
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	key.GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	dead(t, ada.At(beside), "invalid_access_token")
	dead(t, key.At(beside), "invalid_api_key")
	beside.POST(t, "/auth/refresh", doc{"refresh_token": tokens.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	passwordLogin(t, s, "ada@example.com").Want(t, 403, "account_suspended")
	s.POST(t, "/auth/login", doc{"email": "ada@example.com", "password": "not the password"}).Want(t, 401, "invalid_credentials")
	require.Equal(t, id, root.GET(t, "/users?status=suspended").Want(t, 200).String(t, "data.0.id"))
	again := root.POST(t, "/users/"+id+"/suspend", doc{"reason": "once more"}).Want(t, 200)
	require.Equal(t, a.Header.Get("ETag"), again.Header.Get("ETag"), "a suspended account stays so")

	a = root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)
	require.Equal(t, "active", a.String(t, "status"))
	require.Equal(t, a.Header.Get("ETag"), root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200).Header.Get("ETag"))
	for _, c := range []*apptest.Client{ada, ada.At(beside)} {
		c.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	}
	s.POST(t, "/auth/refresh", doc{"refresh_token": tokens.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	key.GET(t, "/users/me").Want(t, 200)
	require.Eventually(t, func() bool { return key.At(beside).GET(t, "/users/me").Status == 200 }, 20*time.Second, 20*time.Millisecond)
	passwordLogin(t, beside, "ada@example.com").Want(t, 200)

	events := root.GET(t, "/audit-events?sort=time&target_id="+id+"&action=user.suspend").Want(t, 200)
	require.Len(t, events.Get(t, "data"), 1, "what changes nothing is no event")
	require.Equal(t, "too\nloud", events.String(t, "data.0.reason"))
	require.Equal(t, doc{"from": "active", "to": "suspended"}, events.Get(t, "data.0.changes.status"))
	self := root.GET(t, "/users/me").String(t, "id")
	root.POST(t, "/users/"+self+"/suspend", doc{"reason": "x"}).Want(t, http.StatusConflict, "last_admin")
	root.POST(t, "/users/"+unknownID+"/suspend", doc{"reason": "x"}).Want(t, 404, "not_found")
	root.POST(t, "/users/"+unknownID+"/reactivate", nil).Want(t, 404, "not_found")

	// Who was never proven is pending again, and may still prove himself.
	pending := root.POST(t, "/users", doc{"email": "new@example.com"}).Want(t, 201).String(t, "id")
	root.POST(t, "/users/"+pending+"/suspend", doc{"reason": "x"}).Want(t, 200)
	require.Equal(t, "pending", root.POST(t, "/users/"+pending+"/reactivate", nil).Want(t, 200).String(t, "status"))
}

// A deletion with a grace can be undone: until then the account is there for administrators and its address is
// reserved, but nothing of it works, on any replica. After the grace it is gone for good.
func TestDeletionWithGraceOverReplicas(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_DELETION_GRACE=720h"))
	beside := apptest.Start(t, apptest.Beside(s), apptest.Env("UMS_DELETION_GRACE=720h"))
	root := s.Admin(t)
	id, ada := s.Person(t, root, "ada@example.com")
	key := s.Bearer(ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"me:read"}})).Want(t, 201).String(t, "key"))
	ada.PUT(t, "/profiles/me", doc{"nickname": "lovelace", "visibility": "public"}).Want(t, 200)
	for _, c := range []*apptest.Client{ada, key} {
		c.At(beside).GET(t, "/users/me").Want(t, 200)
	}
	stale := root.GET(t, "/users/"+id).Header.Get("ETag")
	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
	root.With("If-Match", stale).DELETE(t, "/users/"+id).Want(t, 412, "precondition_failed")
	root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)

	root.DELETE(t, "/users/"+id).Want(t, 204)
	root.DELETE(t, "/users/"+id).Want(t, 204)
	require.Equal(t, "deleting", root.GET(t, "/users/"+id).Want(t, 200).String(t, "status"))
	require.Equal(t, "deleting", root.At(beside).GET(t, "/users/"+id).Want(t, 200).String(t, "status"))
	for _, query := range []string{"", "?search=ada%40example", "?email=ada@example.com", "?status=active"} {
		require.NotContains(t, string(root.GET(t, "/users"+query).Want(t, 200).Body), id, query)
	}
	require.Equal(t, id, root.GET(t, "/users?status=deleting").Want(t, 200).String(t, "data.0.id"))
	key.GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	dead(t, ada.At(beside), "invalid_access_token")
	dead(t, key.At(beside), "invalid_api_key")
	passwordLogin(t, s, "ada@example.com").Want(t, 401, "invalid_credentials")
	s.POST(t, "/auth/register", doc{"email": "ada@example.com", "password": apptest.Password}).Want(t, 202)
	root.POST(t, "/users", doc{"email": "ADA@example.com"}).Want(t, 409, "email_taken")
	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
	require.Equal(t, "deleting", root.GET(t, "/users/"+id).String(t, "status"), "a suspension does not stop it")

	require.Equal(t, "active", root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200).String(t, "status"))
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	key.GET(t, "/users/me").Want(t, 200)
	require.Contains(t, string(root.GET(t, "/users").Want(t, 200).Body), id)

	root.DELETE(t, "/users/"+id).Want(t, 204)
	execute(t, s, fmt.Sprintf(`UPDATE users SET deleted_at = deleted_at - interval '720 hours' WHERE id = '%s'`, id))
	execute(t, s, `INSERT INTO river_job (kind, args, max_attempts) VALUES ('housekeeping', '{}', 1)`) // that of the next hour
	require.Eventually(t, func() bool { return root.GET(t, "/users/"+id).Status == http.StatusNotFound }, 20*time.Second, 20*time.Millisecond)
	key.GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	require.Equal(t, "system", root.GET(t, "/audit-events?action=user.purge").Want(t, 200).String(t, "data.0.actor.type"))
	root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 404, "not_found")
	require.NotEqual(t, id, root.POST(t, "/users", doc{"email": "ada@example.com"}).Want(t, 201).String(t, "id"))
}

// Service accounts are programs: no address, no login, only keys, and no role can ask a second factor of them.
func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	for _, bad := range []doc{
		{},
		{"display_name": nil},
		{"display_name": ""},
		{"display_name": "x", "email": "bot@example.com"},
		{"display_name": "x", "password": apptest.Password},
		{"display_name": "x", "email_verified": true},
		{"display_name": "x", "send_invite": true},
	} {
		bad["kind"] = "service"
		root.POST(t, "/users", bad).Want(t, 422, "validation_failed")
	}
	root.POST(t, "/roles", doc{"name": "strict", "permissions": []string{"users:read"}, "require_mfa": true}).Want(t, 201)
	made := root.POST(t, "/users", doc{"kind": "service", "display_name": "nightly export", "roles": []string{"strict"}}).Want(t, 201)
	id := made.String(t, "id")
	require.Equal(t, "active", made.String(t, "status"))
	require.Contains(t, made.JSON(t), "email")
	require.Nil(t, made.Get(t, "email"))
	require.Equal(t, []any{"strict"}, made.Get(t, "roles"), "the role user is for humans")
	require.Equal(t, id, root.GET(t, "/users?kind=service").Want(t, 200).String(t, "data.0.id"))

	bot := s.Bearer(root.POST(t, "/api-keys", newKey(doc{"user_id": id, "scopes": []string{"users:read"}})).Want(t, 201).String(t, "key"))
	bot.GET(t, "/users").Want(t, 200)
	bot.DELETE(t, "/users/me").Want(t, 403, "session_required")
	for path, body := range map[string]any{"/password-reset": nil, "/invite": nil} {
		require.GreaterOrEqual(t, root.POST(t, "/users/"+id+path, body).Status, 400, path)
	}
	root.PATCH(t, "/users/"+id, doc{"email": "bot@example.com"}).Want(t, 422, "validation_failed")
	root.PATCH(t, "/users/"+id, doc{"display_name": nil}).Want(t, 422, "validation_failed")
	root.PATCH(t, "/users/"+id, doc{"display_name": "hourly export"}).Want(t, 200)
	s.POST(t, "/auth/login", doc{"email": "hourly export", "password": apptest.Password}).Want(t, 401, "invalid_credentials")

	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
	bot.GET(t, "/users").Want(t, 401, "invalid_api_key")
	require.Equal(t, "active", root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200).String(t, "status"))
	bot.GET(t, "/users").Want(t, 200)
	root.DELETE(t, "/users/"+id).Want(t, 204)
	bot.GET(t, "/users").Want(t, 401, "invalid_api_key")
	root.GET(t, "/users/"+id).Want(t, 404, "not_found")
}

// An administrator corrects a mistyped address: unproven, with the status as it was; sessions end, both addresses are
// told, and verification takes the account's password.
func TestAnAdministratorCorrectsAnAddress(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	id, ada := s.Person(t, root, "aad@example.com")
	s.Person(t, root, "taken@example.com")
	key := s.Bearer(ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"me:read"}})).Want(t, 201).String(t, "key"))
	root.PATCH(t, "/users/"+id, doc{"email": "Taken@example.com"}).Want(t, 409, "email_taken")
	root.PATCH(t, "/users/"+id, doc{"email": "no address"}).Want(t, 422, "validation_failed")
	root.PATCH(t, "/users/"+id, doc{"email": nil}).Want(t, 422, "validation_failed")
	a := root.PATCH(t, "/users/"+id, doc{"email": "Ada@example.com"}).Want(t, 200)
	require.Equal(t, []any{"Ada@example.com", false, "active"}, []any{a.Get(t, "email"), a.Get(t, "email_verified"), a.Get(t, "status")})
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	require.NotEmpty(t, s.Mail.WaitFor(t, "aad@example.com", 1).Subject)
	mail := s.Mail.WaitFor(t, "Ada@example.com", 1)
	passwordLogin(t, s, "aad@example.com").Want(t, 401, "invalid_credentials")
	passwordLogin(t, s, "ada@example.com").Want(t, 403, "email_unverified")
	s.POST(t, "/auth/email/verify", doc{"token": mail.Token(), "password": "not the password"}).Want(t, 401, "invalid_credentials")
	s.POST(t, "/auth/email/verify", doc{"token": mail.Token(), "password": apptest.Password}).Want(t, 204)
	require.Equal(t, id, s.SignIn(t, "ada@example.com", apptest.Password).GET(t, "/users/me").Want(t, 200).String(t, "id"))
	key.GET(t, "/users/me").Want(t, 200)
}

// AZ-13: who comes under the address of somebody who is gone is somebody else, and inherits nothing: no token, key,
// role, invitation, profile or event.
func TestAZ13_NobodyInheritsFromTheDeleted(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	root.POST(t, "/roles", doc{"name": "clerk", "permissions": []string{"users:read", "users:write", "roles:assign"}}).Want(t, 201)
	id, ada := s.Person(t, root, "ada@example.com", "clerk")
	tokens := s.POST(t, "/auth/login", doc{"email": "ada@example.com", "password": apptest.Password}).Want(t, 200)
	keyID := ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"users:read"}})).Want(t, 201)
	key := s.Bearer(keyID.String(t, "key"))
	ada.PUT(t, "/profiles/me", doc{"given_name": "Ada", "visibility": "public"}).Want(t, 200)
	ada.POST(t, "/users", doc{"email": "invited@example.com", "send_invite": true}).Want(t, 201)
	invitation := s.Mail.WaitFor(t, "invited@example.com", 1).Token()
	s.POST(t, "/auth/password/forgot", doc{"email": "ada@example.com"}).Want(t, 202)
	reset := s.Mail.WaitFor(t, "ada@example.com", 1).Token()

	ada.DELETE(t, "/users/me").Want(t, 204)
	fresh := root.POST(t, "/users", doc{"email": "ada@example.com", "password": apptest.Password, "email_verified": true}).Want(t, 201)
	require.NotEqual(t, id, fresh.String(t, "id"))
	require.Equal(t, []any{"user"}, fresh.Get(t, "roles"))
	next := s.SignIn(t, "ada@example.com", apptest.Password)
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	key.GET(t, "/users").Want(t, 401, "invalid_api_key")
	s.POST(t, "/auth/refresh", doc{"refresh_token": tokens.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	s.POST(t, "/auth/password/reset", doc{"token": reset, "new_password": apptest.Password + " anew"}).Want(t, 400, "invalid_token")
	s.POST(t, "/auth/invitations/accept", doc{"token": invitation, "password": apptest.Password}).Want(t, 400, "invalid_token")
	next.GET(t, "/users").Want(t, 403, "permission_denied")
	next.GET(t, "/api-keys/"+keyID.String(t, "id")).Want(t, 404, "not_found")
	require.Empty(t, next.GET(t, "/api-keys").Want(t, 200).Get(t, "data"))
	require.Nil(t, next.GET(t, "/profiles/me").Want(t, 200).Get(t, "given_name"))
	require.NotContains(t, string(next.GET(t, "/users/me/audit-events?limit=200").Want(t, 200).Body), id)
	require.NotContains(t, string(next.GET(t, "/users/me/export").Want(t, 200).Body), id)
	for _, path := range []string{"/users/" + id, "/users/" + id + "/roles", "/users/" + id + "/sessions", "/profiles/" + id} {
		root.GET(t, path).Want(t, 404, "not_found")
	}
	root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 404, "not_found")
}

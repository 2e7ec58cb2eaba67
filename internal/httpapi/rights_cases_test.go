package httpapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
)

// deafen cuts the listeners of all replicas that listen, and says how many. They come back a second later.
func deafen(t *testing.T, s *apptest.Service) (cut int) {
	t.Helper()
	conn := connect(t, s)
	require.NoError(t, conn.QueryRow(t.Context(), `
		SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND (query ILIKE 'listen %' OR query = '-- ping')`).Scan(&cut))
	require.NoError(t, conn.Close(t.Context()))
	return cut
}

// AZ-08, F-22: a right that is taken is gone at once where it was taken and within a second on the other replica, for tokens
// and keys, whichever link was cut, also while no replica hears of it. The clock of the second is the services' own.
func TestAZ08_F22_WhatIsTakenIsGoneWithinASecondOnDeafReplicas(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	base := root.POST(t, "/roles", doc{"name": "base", "permissions": []string{"audit:read"}}).Want(t, 201).String(t, "id")
	heir := root.POST(t, "/roles", doc{"name": "heir", "inherits": []string{"base"}}).Want(t, 201).String(t, "id")
	require.GreaterOrEqual(t, deafen(t, a), 2)
	for _, c := range []struct {
		name string
		take func(user string)
		give func(user string)
		want int
	}{
		{
			"role from user", func(user string) { root.DELETE(t, "/users/"+user+"/roles/"+heir).Want(t, 204) },
			func(user string) { root.PUT(t, "/users/"+user+"/roles/"+heir, doc{}).Want(t, 204) }, 403,
		},
		{
			"permission from role", func(string) { root.PATCH(t, "/roles/"+base, doc{"permissions": []string{}}).Want(t, 200) },
			func(string) { root.PATCH(t, "/roles/"+base, doc{"permissions": []string{"audit:read"}}).Want(t, 200) }, 403,
		},
		{
			"parent from role", func(string) { root.PATCH(t, "/roles/"+heir, doc{"inherits": []string{}}).Want(t, 200) },
			func(string) { root.PATCH(t, "/roles/"+heir, doc{"inherits": []string{"base"}}).Want(t, 200) }, 403,
		},
		{
			"a factor asked for", func(string) { root.PATCH(t, "/roles/"+base, doc{"require_mfa": true}).Want(t, 200) },
			func(string) { root.PATCH(t, "/roles/"+base, doc{"require_mfa": false}).Want(t, 200) }, 403,
		},
		{
			"user", func(user string) { root.POST(t, "/users/"+user+"/suspend", doc{"reason": "x"}).Want(t, 200) },
			func(string) {}, 401,
		},
		{"role", func(string) { root.DELETE(t, "/roles/"+base+"?force=true").Want(t, 204) }, func(string) {}, 403},
	} {
		user, person := a.Person(t, root, "p"+c.name[:1]+"-"+time.Now().Format("150405.000000")+"@az08.test", "heir")
		key := person.POST(t, "/api-keys", newKey(doc{"scopes": []string{"audit:read"}})).Want(t, 201).String(t, "key")
		callers := []*apptest.Client{person, a.Bearer(key)}
		warm := func() {
			t.Helper()
			for _, by := range callers {
				by.GET(t, "/audit-events?limit=1").Want(t, 200)
				by.At(b).GET(t, "/audit-events?limit=1").Want(t, 200)
			}
		}
		gone := func(at *apptest.Service) {
			t.Helper()
			for _, by := range callers {
				require.Equal(t, c.want, by.At(at).GET(t, "/audit-events?limit=1").Status, c.name)
			}
		}
		warm()
		deafen(t, a) // again, where one has come back
		c.take(user)
		gone(a)
		a.Clock.Advance(time.Second)
		gone(b)
		c.give(user)
		a.Clock.Advance(time.Second)
		if c.want == 403 && c.name != "role" {
			warm()
		}
	}
}

// mailWith returns the first mail to an address that has this, whatever else it was told meanwhile.
func mailWith(t *testing.T, s *apptest.Service, to string, what func(mailtest.Message) string) mailtest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := s.Mail.Wait(ctx, func(m mailtest.Message) bool { return m.To == to && what(m) != "" })
	require.NoError(t, err)
	return m
}

// A time-boxed grant ends by database time, without anybody who ends it: for tokens and keys, on every replica.
func TestAZ08_AGrantThatHasExpiredIsGoneEverywhere(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	auditor := root.POST(t, "/roles", doc{"name": "auditor", "permissions": []string{"audit:read"}}).Want(t, 201).String(t, "id")
	id, person := a.Person(t, root, "for-a-while@az08.test")
	until := a.Clock.Now().Add(time.Hour)
	root.PUT(t, "/users/"+id+"/roles/"+auditor, doc{"expires_at": until}).Want(t, 204)
	key := person.POST(t, "/api-keys", newKey(doc{"scopes": []string{"audit:read"}})).Want(t, 201).String(t, "key")
	callers := []*apptest.Client{person, person.At(b), a.Bearer(key), a.Bearer(key).At(b)}
	for _, by := range callers {
		by.GET(t, "/audit-events?limit=1").Want(t, 200)
	}
	check := doc{"user_id": id, "permissions": []string{"audit:read"}}
	require.Equal(t, []any{"auditor"}, root.POST(t, "/authz/check", check).Want(t, 200).Get(t, "results.0.via"))

	execute(t, a, "UPDATE user_roles SET expires_at = now() - interval '1 second' WHERE user_id = $1", id)
	a.Clock.Advance(time.Second)
	for _, by := range callers {
		by.GET(t, "/audit-events?limit=1").Want(t, 403, "permission_denied")
	}
	answer := root.POST(t, "/authz/check", check).Want(t, 200)
	require.Equal(t, false, answer.Get(t, "results.0.allowed"))
	require.Equal(t, "assignment", answer.String(t, "results.0.missing.link"))
	require.Equal(t, []any{"auditor"}, answer.Get(t, "results.0.missing.roles"))
	require.NotNil(t, answer.Get(t, "results.0.missing.expired_at"))
	require.Equal(t, []any{"user"}, names(t, root.GET(t, "/users/"+id+"/roles").Want(t, 200), "name"))
	require.NotContains(t, names(t, root.GET(t, "/users/"+id+"/permissions").Want(t, 200), "permission"), "audit:read")
	require.Empty(t, root.GET(t, "/roles/"+auditor+"/users").Want(t, 200).Get(t, "data"))
	root.DELETE(t, "/users/"+id+"/roles/"+auditor).Want(t, 404, "not_found")
	root.DELETE(t, "/roles/"+auditor).Want(t, 204) // it is in nobody's hands
}

// AZ-13: who comes under the address of somebody who is gone is somebody else, and inherits nothing.
func TestAZ13_AnAddressThatIsFreeAgainInheritsNothing(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	root := s.Admin(t)
	const email = "ada@az13.test"
	root.POST(t, "/roles", doc{"name": "auditor", "permissions": []string{"audit:read"}}).Want(t, 201)
	id, _ := s.Person(t, root, email, "auditor")
	tokens := s.POST(t, "/auth/login", doc{"email": email, "password": apptest.Password}).Want(t, 200)
	old := s.Bearer(tokens.String(t, "access_token"))
	key := old.POST(t, "/api-keys", newKey()).Want(t, 201)
	old.PATCH(t, "/profiles/me", doc{"given_name": "Ada"}).Want(t, 200)
	s.POST(t, "/auth/password/forgot", doc{"email": email}).Want(t, 202)
	reset := mailWith(t, s, email, mailtest.Message.Token).Token()
	root.DELETE(t, "/users/"+id).Want(t, 204)

	registered := s.POST(t, "/auth/register", doc{"email": email, "password": rightPassword}).Want(t, 202)
	mail := mailWith(t, s, email, mailtest.Message.Code)
	s.POST(t, "/auth/email/verify", doc{"token": mail.Token(), "registration_id": registered.String(t, "registration_id")}).Want(t, 204)
	anew := s.SignIn(t, email, rightPassword)
	me := anew.GET(t, "/users/me").Want(t, 200)
	require.NotEqual(t, id, me.String(t, "id"))
	require.Equal(t, []any{"user"}, me.Get(t, "roles"))
	require.Nil(t, anew.GET(t, "/profiles/me").Want(t, 200).Get(t, "given_name"))
	require.Empty(t, anew.GET(t, "/api-keys").Want(t, 200).Get(t, "data"))

	old.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	s.Bearer(key.String(t, "key")).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	s.POST(t, "/auth/refresh", doc{"refresh_token": tokens.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	s.POST(t, "/auth/password/reset", doc{"token": reset, "new_password": apptest.Password}).Want(t, 400, "invalid_token")
	s.POST(t, "/auth/login", doc{"email": email, "password": apptest.Password}).Want(t, 401, "invalid_credentials")
	for _, path := range []string{"/users/" + id, "/profiles/" + id, "/api-keys/" + key.String(t, "id"), "/users/" + id + "/roles"} {
		root.GET(t, path).Want(t, 404, "not_found")
	}
	for _, e := range root.GET(t, "/audit-events?limit=200&target_id="+me.String(t, "id")).Want(t, 200).Get(t, "data").([]any) {
		require.NotContains(t, []any{"user.delete", "api_key.create", "profile.update"}, e.(map[string]any)["action"], "the log keeps them apart")
	}
}

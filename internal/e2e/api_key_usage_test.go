package e2e

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// TestAPIKeyUsage is what programs do with keys, and people with the keys of their programs, at two replicas.
func TestAPIKeyUsage(t *testing.T) {
	t.Parallel()
	p := start(t)
	q := p.beside(t)
	admin := p.admin(t)
	admin.POST(t, "/roles", doc{"name": "clerk", "permissions": []string{"users:read", "profiles:read"}}).Want(t, 201)

	t.Run("the main job, from sign-up to an audited call with a key", func(t *testing.T) {
		t.Parallel()
		const email = "main@example.org"
		p.register(t, email, apptest.Password)
		p.POST(t, "/auth/email/verify", doc{"token": p.mailTo(t, email, 1).Token(), "password": apptest.Password}).Want(t, 204)
		s := p.signIn(t, email, apptest.Password)
		id := s.GET(t, "/users/me").Want(t, 200).String(t, "id")
		s.PATCH(t, "/profiles/me", doc{"given_name": "Main"}).Want(t, 200)
		admin.POST(t, "/permissions", doc{"name": "invoices:read"}).Want(t, 201)
		role := admin.POST(t, "/roles", doc{"name": "invoicing", "permissions": []string{"invoices:read", "audit:read"}}).Want(t, 201).String(t, "id")
		admin.PUT(t, "/users/"+id+"/roles/"+role, nil).Want(t, 204)
		key := p.key(t, s, "scopes", []string{"audit:read"})
		events := key.events(t, "actor_id", id)
		require.Equal(t, map[string]int{"auth.register": 1, "auth.verify_email": 1, "auth.login": 1, "profile.update": 1, "api_key.create": 1}, acts(events))
		require.Equal(t, map[string]int{"role.assign": 1}, acts(key.events(t, "target_id", id, "action", "role.assign")))
		key.POST(t, "/users", doc{"email": "x@example.org"}).Want(t, 403, "permission_denied")
		denied := admin.events(t, "action", "user.create", "outcome", "denied", "actor_id", key.session)
		require.Len(t, denied, 1)
		require.Equal(t, "api_key", denied[0]["actor"].(doc)["type"])
	})

	t.Run("KEY-06 where a key may stand", func(t *testing.T) {
		t.Parallel()
		_, s := p.person(t, admin, "header@example.org")
		key := p.key(t, s, "scopes", []string{"me:read"})
		require.Regexp(t, `^ums_live_[0-9A-Za-z]{22}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}$`, key.access)
		for name, value := range map[string]string{
			"Authorization": "Bearer " + key.access, "authorization": "bearer " + key.access, "X-API-Key": key.access,
		} {
			p.With(name, value).GET(t, "/users/me").Want(t, 200)
		}
		key.With("X-API-Key", key.access).GET(t, "/users/me").Want(t, 400, "multiple_credentials")
		p.With("Authorization", "Basic "+key.access).GET(t, "/users/me").Want(t, 401, "unauthenticated")
		p.GET(t, "/users/me?api_key="+key.access).Want(t, 401, "unauthenticated")
		p.GET(t, "/users/"+key.access).Want(t, 401, "unauthenticated")
		p.GET(t, "/"+key.access).Want(t, 404, "not_found")
		other := "A"
		if strings.HasSuffix(key.access, other) {
			other = "B"
		}
		p.Bearer(key.access[:len(key.access)-1]+other).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
		require.Equal(t, key.session, key.GET(t, "/api-keys/current").Want(t, 200).String(t, "id"))
		s.GET(t, "/api-keys/current").Want(t, 404, "not_found")
	})

	t.Run("scopes within the owner's permissions, as they are now", func(t *testing.T) {
		t.Parallel()
		roles := rows(t, admin.GET(t, "/roles").Want(t, 200))
		var clerk string
		for _, r := range roles {
			if r["name"] == "clerk" {
				clerk = r["id"].(string)
			}
		}
		id, s := p.person(t, admin, "scopes@example.org", "clerk")
		for _, scopes := range [][]string{{"users:write"}, {"*"}, {"users:*"}} { // KEY-01
			s.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": scopes}).Want(t, 403, "privilege_escalation")
		}
		s.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": []string{}}).Want(t, 422, "validation_failed")
		s.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": []string{"no:such"}}).Want(t, 422, "validation_failed")
		key := p.key(t, s, "scopes", []string{"users:read", "profiles:read"})
		there := key.at(q)
		there.GET(t, "/users").Want(t, 200)
		key.GET(t, "/users").Want(t, 200)
		key.GET(t, "/roles").Want(t, 403, "permission_denied")
		require.Equal(t, "roles:read", key.GET(t, "/roles").String(t, "required"))
		require.Equal(t, []string{"profiles:read", "users:read"}, column(rows(t, key.GET(t, "/users/me/permissions").Want(t, 200)), "permission"))
		key.PATCH(t, "/users/me", doc{"display_name": "x"}).Want(t, 403, "permission_denied")

		admin.DELETE(t, "/users/"+id+"/roles/"+clerk).Want(t, 204)
		key.GET(t, "/users").Want(t, 403, "permission_denied")
		refused(t, 403, func() *apptest.Answer { return there.GET(t, "/users") })
		require.Equal(t, []any{"profiles:read", "users:read"}, s.GET(t, "/api-keys/"+key.session).Want(t, 200).Get(t, "scopes"), "they sleep")
		admin.PUT(t, "/users/"+id+"/roles/"+clerk, nil).Want(t, 204)
		key.GET(t, "/users").Want(t, 200)
		s.PATCH(t, "/api-keys/"+key.session, doc{"scopes": []string{"profiles:read"}}).Want(t, 200)
		key.GET(t, "/users").Want(t, 403, "permission_denied")
	})

	t.Run("KEY-03 what no key may touch", func(t *testing.T) {
		t.Parallel()
		key := p.key(t, admin, "scopes", []string{"*"})
		target, _ := p.person(t, admin, "target@example.org")
		for _, call := range []struct{ method, path string }{
			{"GET", "/auth/sessions"},
			{"DELETE", "/auth/sessions"},
			{"DELETE", "/auth/sessions/" + admin.session},
			{"POST", "/auth/reauthenticate"},
			{"DELETE", "/users/me"},
			{"GET", "/api-keys"},
			{"POST", "/api-keys"},
			{"GET", "/api-keys/" + key.session},
			{"PATCH", "/api-keys/" + key.session},
			{"DELETE", "/api-keys/" + key.session},
			{"POST", "/roles"},
			{"PATCH", "/roles/" + target},
			{"DELETE", "/roles/" + target},
			{"POST", "/permissions"},
			{"DELETE", "/permissions/users:read"},
			{"PUT", "/users/" + target + "/roles/" + target},
			{"DELETE", "/users/" + target + "/roles/" + target},
		} {
			var body any
			if call.method != "GET" && call.method != "DELETE" {
				body = doc{}
			}
			key.Do(t, call.method, call.path, body).Want(t, 403, "session_required")
		}
		key.POST(t, "/users", doc{"email": "keyed@example.org", "roles": []string{"clerk"}}).Want(t, 403, "session_required")
		key.POST(t, "/users", doc{"email": "keyed@example.org"}).Want(t, 201)
		key.POST(t, "/auth/logout", nil).Want(t, 204)
		admin.GET(t, "/users/me").Want(t, 200)
		key.GET(t, "/users/me").Want(t, 200)
	})

	t.Run("its own limit, networks and end", func(t *testing.T) {
		t.Parallel()
		_, s := p.person(t, admin, "limits@example.org")
		slow := p.key(t, s, "rate_limit", doc{"limit": 2, "window_seconds": 86400})
		slow.GET(t, "/users/me").Want(t, 200)
		require.Contains(t, slow.GET(t, "/users/me").Want(t, 200).Header.Get("RateLimit-Policy"), "q=2;w=86400")
		a := slow.GET(t, "/users/me").Want(t, 429, "rate_limited")
		wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.Positive(t, wait)
		s.GET(t, "/users/me").Want(t, 200)

		far := p.key(t, s, "allowed_ips", []string{"10.0.0.0/8", "2001:db8::1"})
		far.GET(t, "/users/me").Want(t, 403, "ip_denied")
		far.With("X-Forwarded-For", "10.1.2.3").GET(t, "/users/me").Want(t, 403, "ip_denied") // RL-02: who says so is no proxy
		s.PATCH(t, "/api-keys/"+far.session, doc{"allowed_ips": []string{"127.0.0.1"}}).Want(t, 200)
		far.GET(t, "/users/me").Want(t, 200)

		s.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": []string{"me:read"}, "expires_at": "2020-01-01T00:00:00Z"}).Want(t, 422, "validation_failed")
		s.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": []string{"me:read"}, "expires_at": time.Now().Add(8761 * time.Hour)}).Want(t, 422, "validation_failed")
		brief := p.key(t, s, "expires_at", time.Now().Add(time.Hour))
		brief.GET(t, "/users/me").Want(t, 200)
		p.execute(t, "UPDATE api_keys SET expires_at = now() WHERE id = $1", brief.session)
		refused(t, 401, func() *apptest.Answer { return brief.GET(t, "/users/me") })
		require.Equal(t, "expired", s.GET(t, "/api-keys/"+brief.session).Want(t, 200).String(t, "status"))
		require.Equal(t, []string{brief.session}, column(rows(t, s.GET(t, "/api-keys?status=expired").Want(t, 200)), "id"))
	})

	t.Run("KEY-04 revoked", func(t *testing.T) {
		t.Parallel()
		_, s := p.person(t, admin, "revoke@example.org")
		_, stranger := p.person(t, admin, "stranger@example.org")
		key := p.key(t, s)
		there := key.at(q)
		there.GET(t, "/users/me").Want(t, 200)
		eventually(t, "last_used_at", func() bool {
			return s.GET(t, "/api-keys/"+key.session).Want(t, 200).Get(t, "last_used_at") != nil
		})
		for _, id := range []string{key.session, "01990000-0000-7000-8000-000000000000", "x"} { // AZ-01
			stranger.GET(t, "/api-keys/"+id).Want(t, 404, "not_found")
			stranger.DELETE(t, "/api-keys/"+id).Want(t, 404, "not_found")
		}
		s.DELETE(t, "/api-keys/"+key.session).Want(t, 204)
		key.GET(t, "/users/me").Want(t, 401, "invalid_api_key")
		refused(t, 401, func() *apptest.Answer { return there.GET(t, "/users/me") })
		s.DELETE(t, "/api-keys/"+key.session).Want(t, 204)
		require.Equal(t, "revoked", s.GET(t, "/api-keys/"+key.session).Want(t, 200).String(t, "status"))
		events := admin.events(t, "target_id", key.session)
		require.Equal(t, 1, acts(events)["api_key.create"])
		require.Equal(t, 1, acts(events)["api_key.revoke"])
		require.Positive(t, acts(events)["api_key.authenticate failure"])
	})

	t.Run("making one takes a fresh proof", func(t *testing.T) {
		t.Parallel()
		_, s := p.person(t, admin, "fresh@example.org")
		p.execute(t, "UPDATE sessions SET auth_time = auth_time - interval '11 minutes' WHERE id = $1", s.session)
		refused(t, 403, func() *apptest.Answer { return s.POST(t, "/api-keys", doc{}) })
		s.POST(t, "/api-keys", doc{}).Want(t, 403, "reauthentication_required")
		s.DELETE(t, "/users/me").Want(t, 403, "reauthentication_required")
		again := p.tokens(t, s.POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}))
		p.key(t, again)
		p.key(t, s) // the session is fresh, whichever of its tokens comes
	})

	t.Run("HTTP-10 a lost answer is had again, the key in it", func(t *testing.T) {
		t.Parallel()
		_, s := p.person(t, admin, "repeat@example.org")
		body := doc{"name": "once", "scopes": []string{"me:read"}, "environment": "test"}
		first := s.With("Idempotency-Key", "a-key-1").POST(t, "/api-keys", body).Want(t, 201)
		p.secret(first.String(t, "key"))
		second := s.at(q).With("Idempotency-Key", "a-key-1").POST(t, "/api-keys", body).Want(t, 201)
		require.Equal(t, "true", second.Header.Get("Idempotency-Replayed"))
		require.JSONEq(t, string(first.Body), string(second.Body))
		require.Equal(t, first.Header.Get("ETag"), second.Header.Get("ETag"))
		body["name"] = "twice"
		s.With("Idempotency-Key", "a-key-1").POST(t, "/api-keys", body).Want(t, 422, "idempotency_key_reused")
		require.Len(t, rows(t, s.GET(t, "/api-keys").Want(t, 200)), 1)
		require.Equal(t, "ums_test_", first.String(t, "key")[:9])
	})

	t.Run("a service account's key", func(t *testing.T) {
		t.Parallel()
		robot := admin.POST(t, "/users", doc{"kind": "service", "display_name": "Robot", "roles": []string{"clerk"}}).Want(t, 201).String(t, "id")
		other, s := p.person(t, admin, "nobodys@example.org")
		s.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": []string{"me:read"}, "user_id": robot}).Want(t, 403)
		admin.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": []string{"me:read"}, "user_id": other}).Want(t, 403)
		admin.POST(t, "/api-keys", doc{"name": "k", "environment": "live", "scopes": []string{"roles:read"}, "user_id": robot}).Want(t, 403, "privilege_escalation")
		key := p.key(t, admin, "user_id", robot, "scopes", []string{"users:read"})
		require.Equal(t, robot, key.GET(t, "/users/me").Want(t, 200).String(t, "id"))
		key.GET(t, "/users").Want(t, 200)
		admin.POST(t, "/users/"+robot+"/suspend", doc{"reason": "broken"}).Want(t, 200)
		key.GET(t, "/users").Want(t, 401, "invalid_api_key")
		require.Equal(t, []string{key.session}, column(rows(t, admin.GET(t, "/api-keys?user_id="+robot).Want(t, 200)), "id"))
	})

	t.Run("KEY-07 the key is nowhere but in its owner's hands", func(t *testing.T) {
		t.Parallel()
		_, s := p.person(t, admin, "dump@example.org")
		a := s.With("Idempotency-Key", "dump").POST(t, "/api-keys", doc{"name": "k", "scopes": []string{"me:read"}, "environment": "live"}).Want(t, 201)
		text := a.String(t, "key")
		p.secret(text)
		q.secret(text)
		p.Bearer(text).GET(t, "/users/me").Want(t, 200)
		p.Bearer(text).GET(t, "/users").Want(t, 403)
		id := a.String(t, "id")
		for _, answer := range []*apptest.Answer{
			s.GET(t, "/api-keys"), s.GET(t, "/api-keys/"+id), admin.GET(t, "/api-keys?scope=all"), p.Bearer(text).GET(t, "/api-keys/current"),
			s.PATCH(t, "/api-keys/"+id, doc{"name": "other"}), admin.GET(t, "/audit-events?limit=200&target_id="+id),
		} {
			answer.Want(t, 200)
			require.NotContains(t, string(answer.Body), text[32:])
		}
		require.Equal(t, text[len(text)-4:], s.GET(t, "/api-keys/"+id).String(t, "last4"))
		p.nowhere(t, text[32:75])
		p.nowhere(t, s.refresh)
		p.nowhere(t, s.access)
		p.nowhere(t, apptest.Password)
	})
}

// key makes an API key for s: of me:read, live, unless the members say otherwise. Its id is in place of a session's.
func (p *process) key(t testing.TB, s *signedIn, members ...any) *signedIn {
	t.Helper()
	body := doc{"name": "test", "scopes": []string{"me:read"}, "environment": "live"}
	for i := 0; i < len(members); i += 2 {
		body[members[i].(string)] = members[i+1]
	}
	a := s.POST(t, "/api-keys", body).Want(t, 201)
	k := &signedIn{session: a.String(t, "id"), access: a.String(t, "key")}
	k.Client = p.Bearer(k.access)
	p.secret(k.access)
	return k
}

// nowhere looks for a secret in every table, as text and as bytes.
func (p *process) nowhere(t *testing.T, secret string) {
	t.Helper()
	conn := p.db(t)
	rows, err := conn.Query(t.Context(), "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Greater(t, len(tables), 10)
	for _, table := range tables {
		var found int
		require.NoError(t, conn.QueryRow(t.Context(), fmt.Sprintf(
			"SELECT count(*) FROM %s r WHERE strpos(r::text, $1) > 0 OR strpos(r::text, $2) > 0", table), secret, hex.EncodeToString([]byte(secret))).Scan(&found))
		require.Zero(t, found, table)
	}
}

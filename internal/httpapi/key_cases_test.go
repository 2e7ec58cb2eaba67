package httpapi_test

import (
	"hash/crc32"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// clocked starts two replicas whose clock the test moves.
func clocked(t *testing.T, env ...string) (a, b *apptest.Service) {
	t.Helper()
	env = append(env, "UMS_RATE_LIMIT_LOGIN=off")
	a = apptest.Start(t, apptest.Env(env...))
	return a, apptest.Start(t, apptest.Beside(a), apptest.Env(env...))
}

// TOK-12, KEY-04: what is cut on one replica is dead there at once and on the other within a second, refresh tokens at
// once everywhere. Keys sleep while their owner is out, and end with him.
func TestTOK12_KEY04_WhatIsCutIsDeadEverywhere(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	for name, c := range map[string]struct {
		cut   func(id, session string, by *apptest.Client)
		key   bool // lives on
		first bool // the session that cuts lives on
	}{
		"suspended": {func(id, _ string, _ *apptest.Client) {
			root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
		}, false, false},
		"deleted":             {func(id, _ string, _ *apptest.Client) { root.DELETE(t, "/users/"+id).Want(t, 204) }, false, false},
		"gone by himself":     {func(_, _ string, by *apptest.Client) { by.DELETE(t, "/users/me").Want(t, 204) }, false, false},
		"session revoked":     {func(_, session string, by *apptest.Client) { by.DELETE(t, "/auth/sessions/"+session).Want(t, 204) }, true, true},
		"out everywhere else": {func(_, _ string, by *apptest.Client) { by.DELETE(t, "/auth/sessions").Want(t, 204) }, true, true},
		"password changed": {func(_, _ string, by *apptest.Client) {
			by.PUT(t, "/auth/password", doc{"current_password": apptest.Password, "new_password": rightPassword}).Want(t, 204)
		}, true, true},
		"password recovered": {func(_, _ string, by *apptest.Client) {
			email := by.GET(t, "/users/me").Want(t, 200).String(t, "email")
			a.POST(t, "/auth/password/forgot", doc{"email": email}).Want(t, 202)
			reset := doc{"token": a.Mail.WaitFor(t, email, 1).Token(), "new_password": rightPassword}
			a.POST(t, "/auth/password/reset", reset).Want(t, 204)
			require.Contains(t, a.Mail.WaitFor(t, email, 2).Text, "service account")
		}, false, false},
		"address corrected": {func(id, _ string, _ *apptest.Client) {
			root.PATCH(t, "/users/"+id, doc{"email": "new-" + id + "@token.test"}).Want(t, 200)
		}, true, false},
	} {
		email := strings.ReplaceAll(name, " ", "-") + "@token.test"
		id, first := a.Person(t, root, email)
		second := a.POST(t, "/auth/login", doc{"email": email, "password": apptest.Password}).Want(t, 200)
		text := first.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key")
		session, key := a.Bearer(second.String(t, "access_token")), a.Bearer(text)
		for _, caller := range []*apptest.Client{first, session, key} { // both know it
			caller.GET(t, "/users/me").Want(t, 200)
			caller.At(b).GET(t, "/users/me").Want(t, 200)
		}
		c.cut(id, second.String(t, "session_id"), first)
		alive := map[bool]int{true: 200, false: 401}
		b.POST(t, "/auth/refresh", doc{"refresh_token": second.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
		check := func(at *apptest.Service) {
			session.At(at).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
			require.Equal(t, alive[c.first], first.At(at).GET(t, "/users/me").Status, name)
			require.Equal(t, alive[c.key], key.At(at).GET(t, "/users/me").Status, name)
		}
		check(a)
		a.Clock.Advance(time.Second)
		check(b)
		check(a)
		if name == "suspended" {
			root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)
			a.Clock.Advance(time.Second)
			for _, at := range []*apptest.Service{a, b} {
				key.At(at).GET(t, "/users/me").Want(t, 200)
				session.At(at).GET(t, "/users/me").Want(t, 401)
			}
		}
	}
}

func TestKEY04_ADeadKeyIsDeadEverywhere(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	for name, end := range map[string]func(id string){
		"revoked": func(id string) { root.DELETE(t, "/api-keys/"+id).Want(t, 204) },
		"expired": func(id string) {
			execute(t, a, "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1", id)
			a.Clock.Advance(time.Second) // nobody announces the end of a life: a second bounds it on every replica
		},
		"from another network": func(id string) {
			root.PATCH(t, "/api-keys/"+id, doc{"allowed_ips": []string{"203.0.113.7"}}).Want(t, 200)
		},
	} {
		made := root.POST(t, "/api-keys", newKey(doc{"name": name})).Want(t, 201)
		key := a.With("X-API-Key", made.String(t, "key"))
		key.GET(t, "/api-keys/current").Want(t, 200)
		key.At(b).GET(t, "/api-keys/current").Want(t, 200)
		end(made.String(t, "id"))
		status, code := 401, "invalid_api_key"
		if name == "from another network" {
			status, code = 403, "ip_denied"
		}
		key.GET(t, "/api-keys/current").Want(t, status, code)
		a.Clock.Advance(time.Second)
		key.At(b).GET(t, "/api-keys/current").Want(t, status, code)
		events := root.GET(t, "/audit-events?action=api_key.authenticate&outcome=failure&target_id="+made.String(t, "id")).Want(t, 200)
		require.Len(t, events.Get(t, "data"), 2, name)
		require.Equal(t, "anonymous", events.String(t, "data.0.actor.type"))
	}
}

// KEY-05: a known key with a wrong secret and an unknown one are refused by the same words and the same work; what is
// no key at all is refused without any.
func TestKEY05_WrongSecretIsAnUnknownKey(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	made := root.POST(t, "/api-keys", newKey(doc{"name": "key05"})).Want(t, 201)
	mine := made.String(t, "key")
	forge := func(public, private string) string {
		text := "ums_live_" + public + "_" + private
		return text + checksum(text)
	}
	public, private := mine[9:31], mine[32:75]
	require.Equal(t, mine, forge(public, private))
	flip := func(s string) string { return map[bool]string{true: "1", false: "0"}[s[0] == '0'] + s[1:] }
	var answers []map[string]any
	for _, text := range []string{
		forge(public, flip(private)), forge(flip(public), private), forge(flip(public), flip(private)), // well-formed
		mine[:len(mine)-1] + flip(mine[len(mine)-1:]), mine[:len(mine)-1], mine + "0", "ums_test_" + mine[9:], "ums_live_", "ums_live_" + strings.Repeat("ä", 40),
	} {
		a := s.With("X-API-Key", text).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
		answers = append(answers, same(t, a))
		require.Equal(t, answers[0], answers[len(answers)-1], text)
		want := 0
		if len(answers) <= 3 {
			want = 1 // an attempt that names a key is recorded, whether there is such a key or not
		}
		require.Equal(t, want, tried(t, s, a.Header.Get("X-Request-Id")), text)
	}
	// The environment is part of the key.
	test := "ums_test_" + public + "_" + private
	s.With("X-API-Key", test+checksum(test)).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	s.With("X-API-Key", mine).GET(t, "/users/me").Want(t, 200)
}

// tried counts the attempts with a key that one request left in the audit log.
func tried(t *testing.T, s *apptest.Service, requestID string) (n int) {
	t.Helper()
	scan(t, s, &n, "SELECT count(*) FROM audit_events WHERE action = 'api_key.authenticate' AND request_id = $1", requestID)
	return n
}

// TOK-15: one's own sessions can be seen and ended, on every replica; another's do not exist.
func TestTOK15_SessionsAreOnesOwn(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	_, eve := a.Person(t, root, "eve@token.test")
	_, first := a.Person(t, root, "ada@token.test")
	login := doc{"email": "ada@token.test", "password": apptest.Password, "device_name": "Ada's phone"}
	second := a.With("User-Agent", "phone/1").POST(t, "/auth/login", login).Want(t, 200)
	phone, session := a.Bearer(second.String(t, "access_token")), second.String(t, "session_id")
	list := first.At(b).GET(t, "/auth/sessions").Want(t, 200)
	require.Len(t, list.Get(t, "data"), 2)
	require.Equal(t, session, list.String(t, "data.0.id"), "newest first")
	require.Equal(t, []any{"Ada's phone", "phone/1", "127.0.0.1", false}, []any{
		list.Get(t, "data.0.device_name"), list.Get(t, "data.0.user_agent"), list.Get(t, "data.0.ip"), list.Get(t, "data.0.current"),
	})
	require.Equal(t, true, list.Get(t, "data.1.current"))
	others := eve.DELETE(t, "/auth/sessions/"+session).Want(t, 404, "not_found")
	require.Equal(t, same(t, others), same(t, eve.DELETE(t, "/auth/sessions/"+unknownID)))
	phone.GET(t, "/users/me").Want(t, 200)
	phone.At(b).GET(t, "/users/me").Want(t, 200)

	first.DELETE(t, "/auth/sessions/"+session).Want(t, 204)
	first.DELETE(t, "/auth/sessions/"+session).Want(t, 404)
	phone.GET(t, "/users/me").Want(t, 401)
	a.Clock.Advance(time.Second)
	phone.At(b).GET(t, "/users/me").Want(t, 401)
	b.POST(t, "/auth/refresh", doc{"refresh_token": second.String(t, "refresh_token")}).Want(t, 401)
	first.At(b).GET(t, "/users/me").Want(t, 200)
	require.Len(t, first.GET(t, "/auth/sessions").Want(t, 200).Get(t, "data"), 1)
}

// RL-01 on one replica: no more than the limit gets through, and Retry-After is true.
func TestRL01_TheLimitHoldsAndRetryAfterIsTrue(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_CALLER=20/1m", "UMS_RATE_LIMIT_ADDRESS=500/1m"))
	root := s.Admin(t)
	_, ada := s.Person(t, root, "ada@limit.test")
	small := ada.POST(t, "/api-keys", newKey(doc{"rate_limit": doc{"limit": 5, "window_seconds": 60}})).Want(t, 201).String(t, "key")
	a := ada.POST(t, "/api-keys", newKey(doc{"rate_limit": doc{"limit": 21, "window_seconds": 60}})).Want(t, 403, "permission_denied")
	require.Equal(t, "api_keys:write", a.String(t, "required"))
	large := root.POST(t, "/api-keys", newKey(doc{"rate_limit": doc{"limit": 40, "window_seconds": 60}})).Want(t, 201).String(t, "key")
	_, bob := s.Person(t, root, "bob@limit.test")
	for name, c := range map[string]struct {
		by    *apptest.Client
		limit int
	}{"a session": {bob, 20}, "a key of its own limit": {s.Bearer(small), 5}, "a key above the general one": {s.Bearer(large), 40}} {
		through, last := 0, (*apptest.Answer)(nil)
		for range 2 * c.limit {
			a := c.by.GET(t, "/users/me")
			require.Contains(t, a.Header.Get("RateLimit-Policy"), `"caller";q=`+strconv.Itoa(c.limit)+";w=60", name)
			require.Contains(t, a.Header.Get("RateLimit"), `"caller";r=`)
			if a.Status == 200 {
				through++
				continue
			}
			last = a.Want(t, 429, "rate_limited")
			checkProblem(t, a)
			require.Equal(t, "caller", a.String(t, "policy"))
		}
		require.Equal(t, c.limit, through, name)
		wait, err := strconv.Atoi(last.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.LessOrEqual(t, wait, 60)
		s.Clock.Advance(time.Duration(wait) * time.Second)
		c.by.GET(t, "/users/me").Want(t, 200)
		c.by.GET(t, "/users/me")
		s.Clock.Advance(-time.Duration(wait) * time.Second)
	}
	var n int
	scan(t, s, &n, "SELECT count(*) FROM audit_events WHERE action = 'request.limit'")
	require.Equal(t, 3, n, "the first of each window and caller")
	root.GET(t, "/users/me").Want(t, 200) // one caller's limit is nobody else's
}

// checksum is what ends a key: the CRC-32/IEEE of everything before it in six digits of base62.
func checksum(text string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out, sum := [6]byte{}, crc32.ChecksumIEEE([]byte(text))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[sum%62]
		sum /= 62
	}
	return string(out[:])
}

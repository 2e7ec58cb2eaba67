package httpapi_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// form posts parameters as OAuth clients do.
func form(t *testing.T, c *apptest.Client, path string, parameters url.Values) *apptest.Answer {
	t.Helper()
	return asForm(c).POST(t, path, parameters.Encode())
}

func introspect(t *testing.T, c *apptest.Client, text string) map[string]any {
	t.Helper()
	return form(t, c, "/auth/introspect", url.Values{"token": {text}}).Want(t, 200).JSON(t)
}

var inactive = map[string]any{"active": false}

func TestIntrospect_LivingTokens(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	id, tokens, _ := newTokens(t, s, "living")
	key := root.POST(t, "/api-keys", newKey(doc{"scopes": []string{"tokens:introspect"}})).Want(t, 201).String(t, "key")
	for name, asker := range map[string]*apptest.Client{"session": root, "key": s.Bearer(key)} {
		a := introspect(t, asker, tokens.String(t, "access_token"))
		for member, want := range map[string]any{
			"active": true, "token_type": "Bearer", "client_id": "ums", "username": "living@token.test", "sub": id, "sid": tokens.String(t, "session_id"),
			"iss": "http://localhost:8080", "aud": []any{"http://localhost:8080"}, "acr": "aal1", "amr": []any{"pwd"},
		} {
			require.Equal(t, want, a[member], "%s %s", name, member)
		}
		require.NotEmpty(t, a["jti"])
		require.InDelta(t, 300, a["exp"].(float64)-a["iat"].(float64), 0)

		r := introspect(t, asker, tokens.String(t, "refresh_token"))
		for member, want := range map[string]any{
			"active": true, "token_type": "refresh_token", "client_id": "ums", "username": "living@token.test", "sub": id, "sid": tokens.String(t, "session_id"),
			"iss": "http://localhost:8080",
		} {
			require.Equal(t, want, r[member], "%s %s", name, member)
		}
		require.NotEqual(t, a["jti"], r["jti"])
		require.InDelta(t, time.Now().Add(336*time.Hour).Unix(), r["exp"], 60)
	}
	// The hint decides nothing, also a wrong one; what else a client sends is ignored.
	for _, hint := range []string{"refresh_token", "access_token", "nonsense"} {
		a := form(t, root, "/auth/introspect", url.Values{
			"token": {tokens.String(t, "access_token")}, "token_type_hint": {hint}, "client_id": {"x"}, "client_secret": {"y"},
		}).Want(t, 200)
		require.Equal(t, true, a.Get(t, "active"))
	}
}

// Alive is what this service would take: not the text, but its session, its account and its place in the chain decide.
func TestIntrospect_WhatHasEnded(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	root := s.Admin(t)
	living := func(text string) bool { return introspect(t, root, text)["active"].(bool) }
	dead := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			require.Equal(t, inactive, introspect(t, root, text))
		}
	}
	_, tokens, f := newTokens(t, s, "ended")
	at, r0 := tokens.String(t, "access_token"), tokens.String(t, "refresh_token")
	r1 := s.POST(t, "/auth/refresh", doc{"refresh_token": r0}).Want(t, 200).String(t, "refresh_token")
	require.True(t, living(r0), "the parent within the grace would be taken")
	r2 := s.POST(t, "/auth/refresh", doc{"refresh_token": r1}).Want(t, 200).String(t, "refresh_token")
	dead(r0)
	require.True(t, living(r2), "asking about an old token ends nothing")
	require.True(t, living(at))
	execute(t, s, "UPDATE sessions SET rotated_at = now() - interval '1 hour'")
	dead(r1)
	require.True(t, living(r2))

	now := s.Clock.Now().Unix()
	require.True(t, living(f.with(doc{"exp": now - 29})), "the API takes it within the leeway")
	dead(f.with(doc{"exp": now - 31}), f.with(doc{"aud": "x"}), f.with(doc{"iss": "x"}), f.with(doc{"sub": unknownID}), f.with(doc{"sid": unknownID}), f.with(doc{"sid": "x"}))

	s.POST(t, "/auth/logout", doc{"refresh_token": r2}).Want(t, 204)
	dead(at, r2)

	id, tokens, _ := newTokens(t, s, "suspended")
	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
	dead(tokens.String(t, "access_token"), tokens.String(t, "refresh_token"))

	key := root.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key")
	dead(key, "", "x", strings.Repeat("x", 9000), "a\x00b", "..", "{}")
}

func TestIntrospect_Refusals(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	_, tokens, _ := newTokens(t, s, "asker")
	plain := s.Bearer(tokens.String(t, "access_token"))
	form(t, plain, "/auth/introspect", url.Values{"token": {"x"}}).Want(t, 403, "permission_denied")
	form(t, s.Client, "/auth/introspect", url.Values{"token": {"x"}}).Want(t, 401, "unauthenticated")
	form(t, s.With("Authorization", "Basic eDp5"), "/auth/introspect", url.Values{"token": {"x"}}).Want(t, 401, "unauthenticated")
	for body, want := range map[string]int{"": 422, "token": 200, "token=": 200, "Token=x": 422, "token=x&token=y": 400, "token=%zz": 400, "token=x;a=b": 400, "token=%ff": 400, "x=1&x=2": 400, "token=x&&": 200} {
		require.Equal(t, want, asForm(root).POST(t, "/auth/introspect", body).Status, body)
	}
	asForm(root).POST(t, "/auth/introspect", "token="+strings.Repeat("x", 1<<20)).Want(t, 413, "payload_too_large")
}

// Forms go where forms are taken, JSON everywhere else; no Accept header breaks an answer.
func TestFormsHaveTheirRoutes(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	for _, path := range []string{"/auth/introspect", "/auth/revoke"} {
		for _, media := range []string{"application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; charset=latin1", "application/merge-patch+json", ""} {
			a := root.With("Content-Type", media).POST(t, path, `{"token":"x"}`)
			a.Want(t, 415, "unsupported_media_type")
		}
		asForm(root).With("Content-Encoding", "gzip").POST(t, path, "token=x").Want(t, 415, "unsupported_media_type")
		root.With("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8").POST(t, path, "token=x").Want(t, 200)
	}
	for _, path := range []string{"/auth/login", "/auth/refresh", "/auth/logout", "/users", "/roles", "/api-keys"} {
		asForm(root).POST(t, path, "email=a%40b.test&password=x").Want(t, 415, "unsupported_media_type")
	}
	for _, accept := range []string{"application/x-www-form-urlencoded", "text/html", "application/cbor", "*/*", "nonsense"} {
		c := root.With("Accept", accept)
		c.GET(t, "/users/me").Want(t, 200)
		require.Equal(t, inactive, introspect(t, c, "x"))
		form(t, c, "/auth/introspect", url.Values{}).Want(t, 422, "validation_failed")
		form(t, c, "/auth/revoke", url.Values{"token": {"x"}}).Want(t, 200)
	}
}

// RFC 7009: a token ends its session, on every replica; whatever else is presented, the answer is the same.
func TestRevoke(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	a, b := pair[0], pair[1]
	want := same(t, form(t, a.Client, "/auth/revoke", url.Values{"token": {"nonsense"}}).Want(t, 200))
	for name, which := range map[string]string{"revoke-access": "access_token", "revoke-refresh": "refresh_token"} {
		_, tokens, f := newTokens(t, a, name)
		at, rt := tokens.String(t, "access_token"), tokens.String(t, "refresh_token")
		for _, bad := range []string{f.with(doc{"exp": a.Clock.Now().Unix() - 31}), f.with(doc{"sub": unknownID}), f.with(doc{"sid": unknownID}), at[:len(at)-4], rt[:len(rt)-4] + "AAAA"} {
			require.Equal(t, want, same(t, form(t, a.Client, "/auth/revoke", url.Values{"token": {bad}})))
		}
		b.Bearer(at).GET(t, "/users/me").Want(t, 200)
		for range 2 { // again is fine; a client's credentials are nothing to us
			require.Equal(t, want, same(t, form(t, a.With("Authorization", "Basic eDp5"), "/auth/revoke", url.Values{
				"token": {tokens.String(t, which)}, "token_type_hint": {"x"}, "client_id": {"c"}, "client_secret": {"s"},
			})))
		}
		a.Bearer(at).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		require.Eventually(t, func() bool { return b.Bearer(at).GET(t, "/users/me").Status == 401 }, 10*time.Second, 10*time.Millisecond)
		b.POST(t, "/auth/refresh", doc{"refresh_token": rt}).Want(t, 401, "invalid_refresh_token")
		var n int
		scan(t, a, &n, "SELECT count(*) FROM audit_events WHERE action = 'session.end' AND target_id = $1", tokens.String(t, "session_id"))
		require.Equal(t, 1, n, "recorded once")
	}
}

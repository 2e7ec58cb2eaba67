package httpapi_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/token"
)

// verifier returns a client that asks about keys as another program does.
func verifier(t *testing.T, s *apptest.Service, root *apptest.Client) *apptest.Client {
	t.Helper()
	key := root.POST(t, "/api-keys", newKey(doc{"name": "verifier", "scopes": []string{"api_keys:verify"}})).Want(t, 201)
	return s.Bearer(key.String(t, "key"))
}

// Each code of a verification, by the first reason that holds: every case has all that follow it in the order as well.
func TestVerifyAnswersByTheFirstReason(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	root := s.Admin(t)
	by := verifier(t, s, root)
	owner, ada := s.Person(t, root, "ada@verify.test")
	made := ada.POST(t, "/api-keys", newKey(doc{
		"allowed_ips": []string{"192.0.2.0/24"}, "rate_limit": doc{"limit": 1, "window_seconds": 3600}, "metadata": doc{"plan": "pro"},
	})).Want(t, 201)
	id, text := made.String(t, "id"), made.String(t, "key")
	ask := func(more doc) *apptest.Answer {
		q := doc{"key": text, "environment": "live", "permissions": []string{"me:read"}, "ip": "::ffff:192.0.2.7"}
		for name, value := range more {
			q[name] = value
		}
		return by.POST(t, "/api-keys/verify", q).Want(t, 200)
	}
	wrong := doc{"environment": "test", "permissions": []string{"me:write"}, "ip": "203.0.113.7"}
	dead := func(code string) {
		s.Clock.Advance(time.Second)
		a := ask(wrong)
		require.Equal(t, map[string]any{
			"valid": false, "code": code, "key_id": nil, "user_id": nil, "scopes": []any{}, "environment": nil, "expires_at": nil, "rate_limit": nil,
		}, a.JSON(t), "of a key that is dead nothing more is told")
	}
	alive := func(code string, more doc) *apptest.Answer {
		a := ask(more)
		require.Equal(t, code, a.String(t, "code"))
		require.Equal(t, code == "valid", a.Get(t, "valid"))
		require.Equal(t, []any{id, owner, []any{"me:read"}, "live"},
			[]any{a.Get(t, "key_id"), a.Get(t, "user_id"), a.Get(t, "scopes"), a.Get(t, "environment")})
		require.Equal(t, made.Get(t, "expires_at"), a.Get(t, "expires_at"))
		return a
	}
	first := alive("valid", nil)
	require.Equal(t, map[string]any{"limit": 1.0, "remaining": 0.0, "reset_seconds": 3600.0}, first.Get(t, "rate_limit"))
	require.Equal(t, map[string]any{"limit": 1.0, "remaining": 0.0, "reset_seconds": 3600.0}, alive("rate_limited", nil).Get(t, "rate_limit"))
	s.Bearer(text).GET(t, "/users/me").Want(t, 403, "ip_denied")
	require.Nil(t, alive("insufficient_scope", doc{"permissions": []string{"me:read", "me:write"}}).Get(t, "rate_limit"))
	alive("ip_denied", doc{"permissions": []string{"me:write"}, "ip": "203.0.113.7"})
	alive("ip_denied", doc{"ip": ""}) // nobody says from where
	alive("wrong_environment", wrong)

	root.POST(t, "/users/"+owner+"/suspend", doc{"reason": "x"}).Want(t, 200)
	dead("owner_suspended")
	execute(t, s, "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1", id)
	dead("expired")
	root.POST(t, "/users/"+owner+"/reactivate", nil).Want(t, 200)
	dead("expired")
	s.POST(t, "/api-keys/leaked", doc{"key": text}).Want(t, 202)
	dead("quarantined")
	root.DELETE(t, "/api-keys/"+id).Want(t, 204)
	dead("revoked")
	root.DELETE(t, "/users/"+owner).Want(t, 204)
	dead("not_found")

	for _, unknown := range []string{"", "x", token.NewAPIKey(token.Live).Text.Reveal(), text[:len(text)-1], strings.Repeat("ä", 900)} {
		require.Equal(t, "not_found", ask(doc{"key": unknown}).String(t, "code"), unknown)
	}
	mine := root.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key")
	forged := mine[:len(mine)-49] + token.NewAPIKey(token.Live).Text.Reveal()[32:75]
	require.Equal(t, "not_found", ask(doc{"key": forged + checksum(forged)}).String(t, "code"), "a wrong secret is an unknown key")
	require.Equal(t, "valid", ask(doc{"key": mine}).String(t, "code"))
}

// A key is judged by what its owner may do now, and a rotated secret by its own end.
func TestVerifyFollowsTheOwnerAndTheSecret(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	by := verifier(t, a, root)
	root.POST(t, "/permissions", doc{"name": "orders:read"}).Want(t, 201)
	role := root.POST(t, "/roles", doc{"name": "clerk", "permissions": []string{"orders:*"}}).Want(t, 201).String(t, "id")
	robot := root.POST(t, "/users", doc{"kind": "service", "display_name": "robot", "roles": []string{"clerk"}}).Want(t, 201).String(t, "id")
	made := root.POST(t, "/api-keys", newKey(doc{"user_id": robot, "scopes": []string{"orders:*"}})).Want(t, 201)
	ask := func(at *apptest.Service, key string, permissions ...string) string {
		return by.At(at).POST(t, "/api-keys/verify", doc{"key": key, "permissions": permissions}).Want(t, 200).String(t, "code")
	}
	text := made.String(t, "key")
	everywhere := func(want, key string, permissions ...string) {
		t.Helper()
		require.Equal(t, want, ask(a, key, permissions...))
		a.Clock.Advance(time.Second)
		require.Equal(t, want, ask(b, key, permissions...))
	}
	everywhere("valid", text, "orders:read", "orders:anything", "orders:*")
	everywhere("insufficient_scope", text, "orders:read", "users:read")
	root.PATCH(t, "/roles/"+role, doc{"permissions": []string{"orders:read"}}).Want(t, 200)
	everywhere("valid", text, "orders:read")
	everywhere("insufficient_scope", text, "orders:anything")
	root.DELETE(t, "/users/"+robot+"/roles/"+role).Want(t, 204)
	everywhere("insufficient_scope", text, "orders:read")
	everywhere("valid", text)

	rotated := root.POST(t, "/api-keys/"+made.String(t, "id")+"/rotate", doc{"overlap_seconds": 0}).Want(t, 201).String(t, "key")
	everywhere("expired", text)
	everywhere("valid", rotated)
}

// What keys did stands by day, outcome, reason and permission, from every replica, and nothing is lost by a stop.
func TestUsageIsCountedAndSurvivesAStop(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	by := verifier(t, a, root)
	made := root.POST(t, "/api-keys", newKey(doc{
		"scopes": []string{"me:read", "me:write", "users:*", "audit:read"}, "rate_limit": doc{"limit": 6, "window_seconds": 3600},
	})).Want(t, 201)
	id, key := made.String(t, "id"), a.Bearer(made.String(t, "key"))
	path := "/api-keys/" + id + "/usage"
	empty := root.GET(t, path).Want(t, 200)
	require.Equal(t, map[string]any{"days": []any{}, "unused_scopes": []any{"audit:read", "me:read", "me:write", "users:*"}}, empty.JSON(t))
	for range 3 {
		key.GET(t, "/users/me").Want(t, 200)
	}
	key.At(b).GET(t, "/users?limit=1").Want(t, 200)
	key.GET(t, "/api-keys/current").Want(t, 200)
	key.POST(t, "/roles", doc{}).Want(t, 403, "session_required")
	ask := func(at *apptest.Service, code string, permissions ...string) {
		got := by.At(at).POST(t, "/api-keys/verify", doc{"key": made.String(t, "key"), "permissions": permissions}).Want(t, 200)
		require.Equal(t, code, got.String(t, "code"))
	}
	ask(a, "valid", "users:read", "users:write", "users:nothing-that-exists")
	ask(a, "insufficient_scope", "roles:read")
	ask(a, "rate_limited", "users:read")
	key.GET(t, "/users/me").Want(t, 429, "rate_limited")
	root.DELETE(t, "/api-keys/"+id).Want(t, 204)
	key.GET(t, "/users/me").Want(t, 401)
	a.Clock.Advance(time.Second)
	ask(b, "revoked")
	b.Stop()
	a.Stop() // what is pending is written: nothing else shows it before five seconds have passed

	c := apptest.Start(t, apptest.Beside(a), apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	root = c.Admin(t)
	got := root.GET(t, path+"?days=2").Want(t, 200)
	days, _ := got.Get(t, "days").([]any)
	sum := map[string]float64{}
	for _, d := range days { // of two when the test ran over midnight
		day, _ := d.(map[string]any)
		for _, group := range []string{"by_reason", "by_permission"} {
			counts, _ := day[group].(map[string]any)
			for name, n := range counts {
				sum[name] += n.(float64)
			}
		}
		for _, name := range []string{"allowed", "denied", "limited"} {
			sum[name] += day[name].(float64)
		}
	}
	require.Equal(t, map[string]float64{
		"allowed": 6, "denied": 4, "limited": 2,
		"session_required": 1, "insufficient_scope": 1, "revoked": 2, "rate_limited": 2,
		"me:read": 3, "users:read": 2, "users:write": 1,
	}, sum)
	require.Equal(t, []any{"audit:read", "me:write"}, got.Get(t, "unused_scopes"))
	shown := root.GET(t, "/api-keys/"+id).Want(t, 200)
	require.NotNil(t, shown.Get(t, "secrets.0.last_used_at"))

	execute(t, c, "UPDATE api_key_usage SET day = day - 100")
	later := root.GET(t, path).Want(t, 200)
	require.Empty(t, later.Get(t, "days"))
	require.Len(t, later.Get(t, "unused_scopes"), 4, "nothing was used within 90 days")
	require.NotEmpty(t, root.GET(t, path+"?days=365").Want(t, 200).Get(t, "days"))
	for _, days := range []string{"0", "366", "x"} {
		root.GET(t, path+"?days="+days).Want(t, 422, "validation_failed")
	}
}

// KEY-07: the secret of a key is shown when it is made and nowhere else: not in the database, lists, events or the log.
func TestKEY07_TheSecretIsNowhere(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	made := root.POST(t, "/api-keys", newKey()).Want(t, 201)
	id := made.String(t, "id")
	rotated := root.POST(t, "/api-keys/"+id+"/rotate", doc{}).Want(t, 201)
	leaked := root.POST(t, "/api-keys", newKey()).Want(t, 201)
	texts := []string{made.String(t, "key"), rotated.String(t, "key"), leaked.String(t, "key")}
	by := verifier(t, s, root)
	for _, text := range texts {
		s.Bearer(text).GET(t, "/users/me").Want(t, 200)
		by.POST(t, "/api-keys/verify", doc{"key": text}).Want(t, 200)
		by.POST(t, "/api-keys/verify", doc{"key": text, "permissions": []string{"?"}}).Want(t, 422)
	}
	s.POST(t, "/api-keys/leaked", doc{"key": texts[2]}).Want(t, 202)
	s.Bearer(texts[2]).GET(t, "/users/me").Want(t, 401)
	answers := []string{
		string(root.GET(t, "/api-keys?scope=all").Want(t, 200).Body), string(root.GET(t, "/api-keys/"+id).Want(t, 200).Body),
		string(root.GET(t, "/audit-events?limit=200").Want(t, 200).Body), s.Mail.WaitFor(t, apptest.AdminEmail, 1).Text,
	}
	require.Contains(t, answers[0], `"last4":"`+texts[1][len(texts[1])-4:])
	s.Stop()
	answers = append(answers, s.Log.String(), dump(t, s))
	for _, text := range texts {
		for i, hay := range answers {
			require.NotContains(t, hay, text[32:75], "haystack %d", i)
		}
	}
}

// dump is every row of every table as text.
func dump(t *testing.T, s *apptest.Service) string {
	t.Helper()
	conn := connect(t, s)
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), `SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`)
	require.NoError(t, err)
	var tables []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, rows.Err())
	require.True(t, slices.Contains(tables, "api_key_secrets"))
	var out strings.Builder
	for _, name := range tables {
		var text *string
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT string_agg(x::text, '|') FROM "`+name+`" x`).Scan(&text))
		if text != nil {
			out.WriteString(*text)
		}
	}
	return out.String()
}

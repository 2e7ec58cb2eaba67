package httpapi_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/token"
)

// KEY-04: through the overlap both secrets work on every replica; afterwards the old one is dead everywhere.
func TestKEY04_ARotatedSecretEndsEverywhere(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	made := root.POST(t, "/api-keys", newKey()).Want(t, 201)
	id, old := made.String(t, "id"), a.Bearer(made.String(t, "key"))
	old.GET(t, "/users/me").Want(t, 200)
	old.At(b).GET(t, "/users/me").Want(t, 200)
	again := root.With("Idempotency-Key", "turn")
	rotated := again.POST(t, "/api-keys/"+id+"/rotate", doc{"overlap_seconds": 60}).Want(t, 201)
	require.Equal(t, id, rotated.String(t, "id"))
	repeat := again.At(b).POST(t, "/api-keys/"+id+"/rotate", doc{"overlap_seconds": 60}).Want(t, 201)
	require.Equal(t, "true", repeat.Header.Get("Idempotency-Replayed"))
	require.Equal(t, rotated.String(t, "key"), repeat.String(t, "key"))
	fresh := a.Bearer(rotated.String(t, "key"))
	for _, c := range []*apptest.Client{old, fresh, old.At(b), fresh.At(b)} {
		c.GET(t, "/users/me").Want(t, 200)
	}
	got := root.GET(t, "/api-keys/"+id).Want(t, 200)
	require.Equal(t, []any{true, false}, []any{got.Get(t, "secrets.0.current"), got.Get(t, "secrets.1.current")})
	require.Equal(t, made.String(t, "last4"), got.String(t, "secrets.1.last4"))
	root.POST(t, "/api-keys/"+id+"/rotate", nil).Want(t, 409, "rotation_in_progress")

	// The same idempotency key for another key is another request.
	other := root.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "id")
	require.Equal(t, other, again.POST(t, "/api-keys/"+other+"/rotate", doc{"overlap_seconds": 60}).Want(t, 201).String(t, "id"))

	execute(t, a, "UPDATE api_key_secrets SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
	a.Clock.Advance(time.Second)
	for _, c := range []*apptest.Client{old, old.At(b)} {
		c.GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	}
	last := root.POST(t, "/api-keys/"+id+"/rotate", doc{"overlap_seconds": 0}).Want(t, 201)
	fresh.GET(t, "/users/me").Want(t, 401, "invalid_api_key") // at once here
	a.Clock.Advance(time.Second)
	fresh.At(b).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	a.Bearer(last.String(t, "key")).At(b).GET(t, "/users/me").Want(t, 200)
}

// KEY-04: a key that somebody found is dead everywhere, whoever says so, and nobody learns whether it was one.
func TestKEY04_ALeakedKeyIsDeadEverywhere(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	_, ada := a.Person(t, root, "ada@leak.test")
	text := ada.POST(t, "/api-keys", newKey(doc{"name": "found"})).Want(t, 201).String(t, "key")
	key := a.Bearer(text)
	key.GET(t, "/users/me").Want(t, 200)
	key.At(b).GET(t, "/users/me").Want(t, 200)
	var answers []map[string]any
	for _, reported := range []string{token.NewAPIKey(token.Live).Text.Reveal(), "x", text, text} {
		answers = append(answers, same(t, a.POST(t, "/api-keys/leaked", doc{"key": reported}).Want(t, 202)))
		require.Equal(t, answers[0], answers[len(answers)-1])
	}
	key.GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	a.Clock.Advance(time.Second)
	key.At(b).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
	require.Contains(t, a.Mail.WaitFor(t, "ada@leak.test", 1).Text, "found")
	list := ada.GET(t, "/api-keys?status=quarantined").Want(t, 200)
	require.Len(t, list.Get(t, "data"), 1)
	require.Empty(t, ada.GET(t, "/api-keys?status=active").Want(t, 200).Get(t, "data"))
	events := root.GET(t, "/audit-events?action=api_key.quarantine&outcome=success").Want(t, 200)
	require.Len(t, events.Get(t, "data"), 1)
	require.Equal(t, "anonymous", events.String(t, "data.0.actor.type"))
	require.Equal(t, netip.MustParseAddr("127.0.0.1").String(), events.String(t, "data.0.ip"))
}

func TestReportsOfLeaksAreLimited(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_ADDRESS=500/1m"))
	for range 30 {
		s.POST(t, "/api-keys/leaked", doc{"key": "x"}).Want(t, 202)
	}
	a := s.POST(t, "/api-keys/leaked", doc{"key": "x"}).Want(t, 429, "rate_limited")
	require.Equal(t, "leaked", a.String(t, "policy"))
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	s.GET(t, "/auth/config").Want(t, 200)
}

// KEY-04: a recovery by mail ends the owner's keys everywhere, also for programs that ask about them; a change by
// somebody who knows the password does not.
func TestKEY04_RecoveryEndsKeysAndAChangeOfThePasswordDoesNot(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	const email = "key04@recovery.test"
	_, ada := a.Person(t, root, email)
	by := verifier(t, a, root)
	text := ada.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key")
	key := a.Bearer(text)
	everywhere := func(status int, code string) {
		t.Helper()
		for _, at := range []*apptest.Service{a, b} { // at once where it was done, a second later elsewhere
			require.Equal(t, status, key.At(at).GET(t, "/users/me").Status)
			require.Equal(t, code, by.At(at).POST(t, "/api-keys/verify", doc{"key": text}).Want(t, 200).String(t, "code"))
			a.Clock.Advance(time.Second)
		}
	}
	everywhere(200, "valid")
	ada.PUT(t, "/auth/password", doc{"current_password": apptest.Password, "new_password": rightPassword}).Want(t, 204)
	everywhere(200, "valid")
	reset := forgotten(t, a, email, 2).Token()
	a.POST(t, "/auth/password/reset", doc{"token": reset, "new_password": apptest.Password}).Want(t, 204)
	everywhere(401, "revoked")
}

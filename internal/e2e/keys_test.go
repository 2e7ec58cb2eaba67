package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// The command rotates beside a running service, or before the first start of one.
func TestRotateKeysByHand(t *testing.T) {
	t.Parallel()
	env := []string{"UMS_DATABASE_URL=" + pgtest.URL(t), "UMS_MASTER_KEY=" + masterKey, "UMS_DATA_DIR=" + t.TempDir()}
	type rotation struct {
		KID, Algorithm string
		ActiveFrom     time.Time `json:"active_from"`
		RetiresAt      time.Time `json:"retires_at"`
		Replaced       []string
	}
	rotate := func(flags ...string) (r rotation) {
		out, errs, code := run(t, env, append([]string{"keys", "rotate", "--json"}, flags...)...)
		require.Zero(t, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &r), out)
		return r
	}
	first := rotate()
	require.Empty(t, first.Replaced)
	require.Equal(t, "EdDSA", first.Algorithm)
	require.True(t, first.ActiveFrom.Before(time.Now()), "a service that starts now signs with it")
	second := rotate()
	require.Equal(t, []string{first.KID}, second.Replaced)
	require.True(t, second.ActiveFrom.After(time.Now().Add(5*time.Minute)))
	require.True(t, second.RetiresAt.After(second.ActiveFrom.Add(time.Hour)))
	third := rotate("--now")
	require.ElementsMatch(t, []string{first.KID, second.KID}, third.Replaced)
	require.True(t, third.ActiveFrom.Before(time.Now()))

	out, errs, code := run(t, env, "keys", "rotate")
	require.Zero(t, code, errs)
	require.Contains(t, out, "is published and signs from")
	require.Contains(t, out, third.KID+" verifies until")
	out, _, code = run(t, env, "keys", "rotate", "--now")
	require.Zero(t, code)
	require.Contains(t, out, "signs from now on")
	require.Contains(t, out, third.KID+" has ended")
}

// The master key is replaced as docs/operations/master-key.md says: nobody has to sign in again, nothing that is stored is lost
// while the old one is listed, and without it the start says what is missing.
func TestMasterKeyIsReplaced(t *testing.T) {
	t.Parallel()
	const next = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	mail, dsn := mailtest.NewServer(t), pgtest.URL(t)
	with := func(list string) []string { return append(environment(t, dsn, mail), "UMS_MASTER_KEY="+list) }
	serve := func(list string) *process {
		p := launch(t, dsn, mail, with(list))
		p.waitReady(t)
		p.secret(next)
		return p
	}
	p := serve(masterKey)
	_, ada := p.person(t, p.admin(t), "ada@example.com")
	for _, list := range []string{masterKey + "," + next, next + "," + masterKey} {
		q := serve(list) // beside the one before it, as replicas are exchanged
		ada.at(q).GET(t, "/users/me").Want(t, 200)
		ada = q.tokens(t, q.POST(t, "/auth/refresh", doc{"refresh_token": ada.refresh}))
		if list != next+","+masterKey { // the first one has never heard of the new key
			ada.at(p).GET(t, "/users/me").Want(t, 200)
		}
		require.NoError(t, p.stop(t))
		p = q
	}
	out, errs, code := run(t, with(next+","+masterKey), "doctor")
	require.Zero(t, code, errs)
	require.Contains(t, out, "a key that is not the first one sealed ")
	_, errs, code = run(t, with(next), "serve")
	require.Equal(t, 1, code)
	oneLine(t, errs, "UMS_MASTER_KEY does not list the key that sealed it")

	_, errs, code = run(t, with(next+","+masterKey), "keys", "rotate", "--now")
	require.Zero(t, code, errs)
	fresh := p.signIn(t, "ada@example.com", apptest.Password)
	require.NoError(t, p.stop(t))
	p = serve(next)
	fresh.at(p).GET(t, "/users/me").Want(t, 200)
	p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": fresh.refresh})).GET(t, "/users/me").Want(t, 200)
	p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": ada.refresh})).GET(t, "/users/me").Want(t, 200)
}

package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

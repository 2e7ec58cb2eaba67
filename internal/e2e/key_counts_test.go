package e2e

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// TestWhatKeysDidSurvivesAStopAndNearlyAKill counts the uses of a key at a process that is killed and at one that is asked
// to stop: the first loses no more than it had not written yet, the second nothing.
func TestWhatKeysDidSurvivesAStopAndNearlyAKill(t *testing.T) {
	t.Parallel()
	p := start(t)
	q := p.beside(t)
	admin := p.admin(t)
	key := p.key(t, admin, "scopes", []string{"me:read", "api_keys:verify"})
	counted := func(by *apptest.Client) (uses int) {
		days, _ := by.GET(t, "/api-keys/"+key.session+"/usage").Want(t, 200).Get(t, "days").([]any)
		for _, d := range days {
			uses += int(d.(doc)["allowed"].(float64))
		}
		return uses
	}
	for range 20 {
		key.GET(t, "/users/me").Want(t, 200)
	}
	eventually(t, "the uses are written", func() bool { return counted(admin.at(q)) == 20 })
	for range 20 {
		key.GET(t, "/users/me").Want(t, 200)
	}
	p.signal(t, syscall.SIGKILL)
	<-p.ended
	left := counted(admin.at(q))
	require.GreaterOrEqual(t, left, 20, "what was written stays")
	require.LessOrEqual(t, left, 40)

	for range 7 { // each counts twice: for the key that asks and for the one that is asked about
		a := key.at(q).POST(t, "/api-keys/verify", doc{"key": key.access, "permissions": []string{"me:read"}}).Want(t, 200)
		require.Equal(t, "valid", a.String(t, "code"))
	}
	require.NoError(t, q.stop(t))
	r := p.beside(t)
	require.Equal(t, left+14, counted(admin.at(r)))
}

//go:build clients

package clients

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// The collection's main job, run by Postman's own runner against a service as it comes: twice, since a person tries
// again.
func TestPostmanCollectionDoesTheMainJob(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_SMTP_URL="))
	admin := s.SignIn(t, apptest.AdminEmail, apptest.AdminPassword)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // the first time newman is installed
		defer cancel()
		run := exec.CommandContext(ctx, "../../../scripts/run-postman", s.Base(), apptest.AdminEmail)
		run.Env = append(os.Environ(), "ADMIN_PASSWORD="+apptest.AdminPassword)
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	made := admin.GET(t, "/audit-events?action=api_key.revoke&outcome=success").Want(t, 200)
	require.Len(t, made.Get(t, "data"), 2, "each run came to its end")
}

//go:build packaging

package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// most is how exposed the unit may be, in tenths of what `systemd-analyze security` prints: 10 is a service without any
// confinement. What is left is the network and the sockets that it needs.
const most = "15"

func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	// The program need not be installed here; verify asks whether it can be executed.
	unit := filepath.Join(t.TempDir(), "ums.service")
	text := read(t, "deploy/systemd/ums.service")
	require.Contains(t, text, "=/usr/local/bin/ums ")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(text, "/usr/local/bin/ums", "/bin/true")), 0o600))

	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, string(out))

	out, err = exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+most, unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

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

// TestReleaseIsTheSameTwice packs the program of this machine's processor twice, under circumstances that could show in the
// archive. That other machines compile the same program, the release's workflow compares.
func TestReleaseIsTheSameTwice(t *testing.T) {
	t.Parallel()
	arch := strings.TrimSpace(string(run(t, "..", "go", "env", "GOARCH")))
	var sums []string
	for _, circumstances := range []string{"umask 022; export TZ=UTC", "umask 077; export TZ=Asia/Tokyo LC_ALL=C.UTF-8"} {
		folder := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", circumstances+"; exec scripts/release v1.2.3 "+folder)
		cmd.Dir, cmd.Env = "..", append(os.Environ(), "TARGETS=linux/"+arch, "SBOM=no")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		sum, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS"))
		require.NoError(t, err)
		sums = append(sums, string(sum))

		name := "ums_v1.2.3_linux_" + arch
		run(t, folder, "sha256sum", "--check", "SHA256SUMS")
		run(t, folder, "tar", "-xzf", name+".tar.gz")
		require.Equal(t, "v1.2.3\n", string(run(t, filepath.Join(folder, name), "./ums", "version")))
		for _, file := range []string{"LICENSE", "README.md", "CHANGELOG.md", ".env.example", "deploy/systemd/ums.service", "deploy/nginx/ums.conf"} {
			require.FileExists(t, filepath.Join(folder, name, file))
		}
	}
	require.Equal(t, sums[0], sums[1])
}

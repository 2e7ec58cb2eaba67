package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/token"
)

func TestScanFindsKeysInATree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	key := token.NewAPIKey(token.Live).Text.Reveal()
	write("clean.txt", "nothing, and ums_live_ is no key")
	out, errs, code := run(t, nil, "scan", dir)
	require.Zero(t, code, errs)
	require.Empty(t, out+errs)

	write(".git/config", key)
	write("image.bin", "\x00"+key)
	leak := write("deep/er/.env", "A=1\nKEY="+key+"\n")
	require.NoError(t, os.Symlink(leak, filepath.Join(dir, "link")))
	masked := key[:13] + "…" + key[len(key)-4:]
	out, errs, code = run(t, nil, "scan", dir)
	require.Equal(t, 1, code)
	require.Equal(t, leak+":2: "+masked+"\n", out)
	oneLine(t, errs, "1 API keys found")
	require.NotContains(t, out+errs, key)

	out, _, code = run(t, nil, "scan", "--json", leak)
	require.Equal(t, 1, code)
	var report struct {
		Keys []struct {
			File, Environment, Key, Last4 string
			Line                          int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.Len(t, report.Keys, 1)
	require.Equal(t, []any{leak, 2, "live", masked}, []any{report.Keys[0].File, report.Keys[0].Line, report.Keys[0].Environment, report.Keys[0].Key})
	require.True(t, strings.HasSuffix(key, report.Keys[0].Last4))
}

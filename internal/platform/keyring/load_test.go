package keyring

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/secret"
)

func TestLoad_production(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Load(Config{}, dir, false)
	require.ErrorIs(t, err, ErrNoMasterKey)
	require.ErrorContains(t, err, "openssl rand -base64 32")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "production makes no key")

	_, err = Load(Config{MasterKey: secret.New("nonsense")}, dir, true)
	require.ErrorContains(t, err, "UMS_MASTER_KEY: master key 1")

	r, err := Load(Config{MasterKey: secret.New(testKey(1) + "\n")}, dir, true)
	require.NoError(t, err, "a configured key wins over the file, also in development")
	require.Equal(t, ring(t, 1).MAC("p"), r.MAC("p"))
	require.NoFileExists(t, filepath.Join(dir, fileName))
}

func TestLoad_developmentMakesOneKeyOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "yet")
	const starters = 16
	macs := make([]string, starters)
	var wg sync.WaitGroup
	for i := range starters {
		wg.Go(func() {
			r, err := Load(Config{}, dir, true)
			if err != nil {
				t.Error(err)
				return
			}
			macs[i] = string(r.MAC("p"))
		})
	}
	wg.Wait()
	for _, m := range macs {
		require.Equal(t, macs[0], m)
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
}

func TestMake0600_neverReplacesTheKeyOfAFasterProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), fileName)
	require.NoError(t, make0600(path))
	first, err := os.ReadFile(path)
	require.NoError(t, err)
	require.ErrorIs(t, make0600(path), fs.ErrExist)
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, first, second)
}

func TestLoad_developmentRefusesADamagedOrOpenFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		mode os.FileMode
		says string
	}{
		"readable by the group": {testKey(1), 0o640, "chmod 600"},
		"cut":                   {testKey(1)[:20], 0o600, fileName + ": master key 1"},
		"empty":                 {"", 0o600, "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			require.NoError(t, os.Chmod(path, tc.mode))
			_, err := Load(Config{}, dir, true)
			require.ErrorContains(t, err, tc.says)
		})
	}
}

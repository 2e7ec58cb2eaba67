package embeddedpg

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseMajor(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18beta2":                          18,
		"postgres (PostgreSQL) 9.6.24":                           9,
		"postgres (PostgreSQL) ":                                 0,
		"mysqld 8":                                               0,
	} {
		got, ok := parseMajor(out)
		require.Equal(t, want, got, out)
		require.Equal(t, want != 0, ok, out)
	}
}

func TestNewestFirst(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, v := range []string{"9.6", "14", "15", "9.5", "10", "latest"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, v, "bin"), 0o700))
	}
	var got []string
	for _, dir := range newestFirst(filepath.Join(root, "*", "bin")) {
		got = append(got, filepath.Base(filepath.Dir(dir)))
	}
	require.Equal(t, []string{"15", "14", "10", "9.6", "9.5", "latest"}, got)
}

// Without t.Parallel: the environment belongs to the whole process.
func TestFindObeysTheVariable(t *testing.T) {
	t.Setenv("UMS_POSTGRES_BIN", "")
	dir, err := Find()
	require.NoError(t, err)
	t.Setenv("UMS_POSTGRES_BIN", dir)
	got, err := Find()
	require.NoError(t, err)
	require.Equal(t, dir, got)

	empty := t.TempDir()
	t.Setenv("UMS_POSTGRES_BIN", empty)
	_, err = Find()
	require.ErrorContains(t, err, empty, "a wrong value is not passed over in silence")
	t.Setenv("UMS_POSTGRES_BIN", dir)
	_, err = find(9)
	require.ErrorContains(t, err, "PostgreSQL 9")
}

func TestRootsDatabaseBelowAClosedFolderIsPlacedElsewhere(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	dir := filepath.Join(closed, "nested", "db")
	who, err := unprivileged()
	require.NoError(t, err)
	l, err := place(dir, who)
	require.NoError(t, err)
	if who == nil { // not root: the folder is ours, and so is the database
		require.Equal(t, dir, l.base)
		return
	}
	t.Cleanup(func() { _ = os.RemoveAll(l.base) })
	require.Equal(t, rootDir, filepath.Dir(l.base))
	require.NoDirExists(t, dir)
	again, err := place(dir, who)
	require.NoError(t, err)
	require.Equal(t, l.base, again.base, "the place is derived from the path alone")
	other, err := place(filepath.Join(closed, "other", "db"), who)
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(other.base) })
	require.NotEqual(t, l.base, other.base)
}

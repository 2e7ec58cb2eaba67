package pgtest_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// TestMain lets the test binary play a test process that is killed: it takes a server of its own and waits.
func TestMain(m *testing.M) {
	if os.Getenv("PGTEST_TEST_VICTIM") != "" {
		srv, err := pgtest.StartServer(context.Background())
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(srv.Dir() + "\n")
		select {}
	}
	os.Exit(m.Run())
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func tables(t *testing.T, dsn string) int {
	t.Helper()
	var n int
	require.NoError(t, connect(t, dsn).QueryRow(t.Context(),
		"SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'").Scan(&n))
	return n
}

func TestDatabasesAreMigratedAndApart(t *testing.T) {
	t.Parallel()
	a, b := pgtest.URL(t), pgtest.URL(t)
	require.NotEqual(t, a, b)
	_, err := connect(t, a).Exec(t.Context(), "CREATE TABLE mark (x int)")
	require.NoError(t, err)
	require.Greater(t, tables(t, b), 5)
	require.Equal(t, tables(t, b)+1, tables(t, a))
	require.Zero(t, tables(t, pgtest.EmptyURL(t)))
}

func TestDatabaseIsDroppedAtTheEnd(t *testing.T) {
	t.Parallel()
	var dsn string
	require.True(t, t.Run("user", func(user *testing.T) { //nolint:paralleltest // the parent looks at what is left
		dsn = pgtest.EmptyURL(user)
		connect(t, dsn) // a connection that outlives the test
	}))
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	var n int
	require.NoError(t, connect(t, pgtest.EmptyURL(t)).QueryRow(t.Context(),
		"SELECT count(*) FROM pg_database WHERE datname = $1", strings.TrimPrefix(u.Path, "/")).Scan(&n))
	require.Zero(t, n)
}

func TestNothingIsLeftOfAKilledTestProcess(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	require.NoError(t, err)
	victim := exec.Command(exe)
	victim.Env = append(os.Environ(), "PGTEST_TEST_VICTIM=1")
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, victim.Start())
	line := make([]byte, 300)
	n, err := out.Read(line)
	require.NoError(t, err)
	dir := filepath.Dir(strings.TrimSpace(string(line[:n])))
	require.DirExists(t, dir)
	require.NoError(t, victim.Process.Signal(syscall.SIGKILL))
	_ = victim.Wait()
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	}, 30*time.Second, 20*time.Millisecond, "the watchdog removes %s", dir)
}

func TestServerIsClosed(t *testing.T) {
	t.Parallel()
	srv, err := pgtest.StartServer(t.Context())
	require.NoError(t, err)
	require.NoError(t, srv.Close(t.Context()))
	<-srv.Done()
	require.NoDirExists(t, srv.Dir())
}

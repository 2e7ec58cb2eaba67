package embeddedpg_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/embeddedpg"
)

// TestMain lets the test binary play the service that is killed: it starts a server, says where, and waits to die.
func TestMain(m *testing.M) {
	if dir := os.Getenv("EMBEDDEDPG_TEST_SERVE"); dir != "" {
		serve(dir)
	}
	code := m.Run()
	_ = os.RemoveAll(seedDir)
	os.Exit(code)
}

// seedDir is set once seed has made it.
var seedDir string

// seed makes one cluster that tests copy: initdb takes seconds, and only some tests are about it.
var seed = sync.OnceValues(func() (string, error) {
	var err error
	if seedDir, err = os.MkdirTemp("", "embeddedpg-seed-"); err != nil {
		return "", err
	}
	if err := os.Chmod(seedDir, 0o755); err != nil { // PostgreSQL's user passes through it
		return "", err
	}
	dir := filepath.Join(seedDir, "db")
	srv, err := embeddedpg.Start(context.Background(), embeddedpg.Config{Dir: dir})
	if err != nil {
		return "", err
	}
	return dir, srv.Stop(context.Background())
})

type served struct {
	URL, Dir, Err string
}

func serve(dir string) {
	srv, err := embeddedpg.Start(context.Background(), embeddedpg.Config{Dir: dir})
	out := served{}
	if err != nil {
		out.Err = err.Error()
	} else {
		out.URL, out.Dir = srv.URL(), srv.Dir()
	}
	_ = json.NewEncoder(os.Stdout).Encode(out) //nolint:errchkjson // the parent test fails on what it cannot read
	if err != nil {
		os.Exit(1)
	}
	select {}
}

// startService runs serve in a process of its own.
func startService(t *testing.T, dir string) (*exec.Cmd, served) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "EMBEDDEDPG_TEST_SERVE="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err)
	var s served
	require.NoError(t, json.Unmarshal(line, &s))
	return cmd, s
}

// folder returns a fresh folder that any user can enter, unlike t.TempDir.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embeddedpg-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // PostgreSQL's user passes through it
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "db")
}

// seeded returns a fresh folder with a cluster that was shut down cleanly.
func seeded(t *testing.T) string {
	t.Helper()
	from, err := seed()
	require.NoError(t, err)
	dir := folder(t)
	require.NoError(t, exec.Command("cp", "-a", from, dir).Run())
	return dir
}

func start(t *testing.T, dir string) *embeddedpg.Server {
	t.Helper()
	srv, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Stop(context.Background())) })
	return srv
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	var s string
	require.NoError(t, connect(t, dsn).QueryRow(t.Context(), sql).Scan(&s))
	return s
}

func pid(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "cluster", "postmaster.pid"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(b), "\n")
	n, err := strconv.Atoi(first)
	require.NoError(t, err)
	return n
}

func TestServerKeepsDataAndStartsQuicklyAgain(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	srv, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, dir, srv.Dir())
	_, err = connect(t, srv.URL()).Exec(t.Context(), "CREATE TABLE t (x text); INSERT INTO t VALUES ('ÄÖ')")
	require.NoError(t, err)
	require.Equal(t, "UTF8 on on on", query(t, srv.URL(), `SELECT current_setting('server_encoding') || ' ' ||
		current_setting('fsync') || ' ' || current_setting('synchronous_commit') || ' ' || current_setting('autovacuum')`))
	require.Empty(t, query(t, srv.URL(), "SELECT current_setting('listen_addresses')"), "no TCP listener")
	require.NoError(t, srv.Stop(t.Context()))
	<-srv.Done()

	begun := time.Now()
	again := start(t, dir)
	require.Less(t, time.Since(begun), 20*time.Second, "far above the 0.3 s it takes, far below making a cluster on a busy machine")
	require.Equal(t, "ÄÖ", query(t, again.URL(), "SELECT x FROM t"))
	require.NoError(t, again.Stop(t.Context()))
	require.NoError(t, again.Stop(t.Context()), "stopping twice is stopping once")
}

func TestSocketIsClosedToOthers(t *testing.T) {
	t.Parallel()
	srv := start(t, seeded(t))
	u, err := url.Parse(srv.URL())
	require.NoError(t, err)
	info, err := os.Stat(u.Query().Get("host"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(srv.Dir(), "cluster"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestSocketOfALongPathIsElsewhere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(filepath.Dir(folder(t)), strings.Repeat("long-", 20)+"db")
	srv, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir, Ephemeral: true})
	require.NoError(t, err)
	u, err := url.Parse(srv.URL())
	require.NoError(t, err)
	socket := u.Query().Get("host")
	require.NotContains(t, socket, "long-")
	require.Equal(t, "off", query(t, srv.URL(), "SELECT current_setting('fsync')"))
	require.NoError(t, srv.Stop(t.Context()))
	require.NoDirExists(t, socket)
}

func TestSecondServiceOnTheFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := seeded(t)
	srv := start(t, dir)
	_, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir})
	require.ErrorIs(t, err, embeddedpg.ErrInUse)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	_, other := startService(t, dir)
	require.Contains(t, other.Err, "already in use")
	require.Equal(t, "1", query(t, srv.URL(), "SELECT 1::text"), "the first one is untouched")
}

func TestServiceKilledLosesNothing(t *testing.T) {
	t.Parallel()
	dir := seeded(t)
	service, s := startService(t, dir)
	require.Empty(t, s.Err)
	conn := connect(t, s.URL)
	_, err := conn.Exec(t.Context(), "CREATE TABLE t (x text); INSERT INTO t VALUES ('acknowledged')")
	require.NoError(t, err)
	postmaster := pid(t, s.Dir)
	require.NoError(t, service.Process.Kill())
	_ = service.Wait()
	srv := start(t, dir) // at once, while the old server may still be ending
	require.NotEqual(t, postmaster, pid(t, dir))
	state, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(postmaster)).Output()
	require.True(t, len(state) == 0 || state[0] == 'Z', "no second server is left, but %q", state)
	require.Equal(t, "acknowledged", query(t, srv.URL(), "SELECT x FROM t"))
}

func TestPostmasterKilledIsNoticedAndRecovered(t *testing.T) {
	t.Parallel()
	dir := seeded(t)
	srv, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir})
	require.NoError(t, err)
	conn := connect(t, srv.URL())
	_, err = conn.Exec(t.Context(), "CREATE TABLE t (x text); INSERT INTO t VALUES ('acknowledged')")
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid(t, dir), syscall.SIGKILL)) // leaves postmaster.pid, and backends for a moment
	<-srv.Done()
	require.NoError(t, srv.Stop(t.Context()), "what has ended is stopped")
	require.FileExists(t, filepath.Join(dir, "cluster", "postmaster.pid"))
	again := start(t, dir)
	require.Equal(t, "acknowledged", query(t, again.URL(), "SELECT x FROM t"))
}

func TestOrphanedServerIsStopped(t *testing.T) {
	t.Parallel()
	dir := seeded(t)
	orphan := startOrphan(t, dir)

	again := start(t, dir)
	<-orphan
	require.Equal(t, "1", query(t, again.URL(), "SELECT 1::text"))
}

// startOrphan starts a postmaster on the folder's cluster that no supervisor owns; the channel is closed at its end.
func startOrphan(t *testing.T, dir string) <-chan struct{} {
	t.Helper()
	bin, err := embeddedpg.Find()
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, "cluster"))
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "cluster"), "-c", "listen_addresses=",
		"-c", "unix_socket_directories="+filepath.Join(dir, "run"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	}
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ready := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				close(ready)
			}
		}
		_ = cmd.Wait()
	}()
	select {
	case <-ready:
	case <-ended:
		require.Fail(t, "the orphan did not start")
	}
	return ended
}

func TestStalePidFileOfAnotherProgram(t *testing.T) {
	t.Parallel()
	dir := seeded(t)

	// A program of the user who owns the cluster got the number: PostgreSQL alone would refuse to start.
	info, err := os.Stat(filepath.Join(dir, "cluster"))
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	other := exec.Command("sleep", "600")
	other.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		other.SysProcAttr.Credential = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	}
	require.NoError(t, other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	file := filepath.Join(dir, "cluster", "postmaster.pid")
	stale := fmt.Sprintf("%d\n%s\n1\n5432\n\n\n\n", other.Process.Pid, filepath.Join(dir, "cluster"))
	require.NoError(t, os.WriteFile(file, []byte(stale), 0o600))
	require.NoError(t, os.Chown(file, int(owner.Uid), int(owner.Gid)))

	again := start(t, dir)
	require.Equal(t, "1", query(t, again.URL(), "SELECT 1::text"))
	require.NoError(t, syscall.Kill(other.Process.Pid, 0), "the other program lives on")
}

func TestInterruptedInitdbIsDoneAgain(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // cut it as soon as initdb has begun to write
		defer cancel()
		for ctx.Err() == nil {
			if m, _ := filepath.Glob(filepath.Join(dir, "initdb-*", "base")); len(m) > 0 {
				return
			}
			runtime.Gosched()
		}
	}()
	_, err := embeddedpg.Start(ctx, embeddedpg.Config{Dir: dir})
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, filepath.Join(dir, "cluster"))

	left := filepath.Join(dir, "initdb-123", "base") // what a killed process leaves: nobody cleaned up
	require.NoError(t, os.MkdirAll(left, 0o700))
	srv := start(t, dir)
	require.Equal(t, "1", query(t, srv.URL(), "SELECT 1::text"))
	require.NoDirExists(t, left)
}

func TestFailedStartSaysWhy(t *testing.T) {
	t.Parallel()
	dir := seeded(t)
	require.NoError(t, os.Remove(filepath.Join(dir, "cluster", "global", "pg_control")))
	_, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir})
	require.ErrorContains(t, err, "pg_control")
	require.ErrorContains(t, err, filepath.Join(dir, "postgres.log"))
	_, err = embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir})
	require.NotErrorIs(t, err, embeddedpg.ErrInUse, "a failed start gives the folder back")
}

func TestDataOfAnotherMajorVersion(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "cluster"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cluster", "PG_VERSION"), []byte("9\n"), 0o600))
	_, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir})
	require.ErrorContains(t, err, "PostgreSQL 9")
}

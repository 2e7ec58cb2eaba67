// Package redistest runs a real redis-server for tests, and breaks it.
package redistest

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Server is a redis-server of one test, empty and on a port of its own. Its address stays when it is started again.
type Server struct {
	port string
	cmd  *exec.Cmd
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	s := &Server{port: port}
	s.Start(t)
	t.Cleanup(func() { s.Kill(t) })
	return s
}

// URL is the server's address for UMS_REDIS_URL.
func (s *Server) URL() string { return "redis://127.0.0.1:" + s.port + "/0" }

// Start starts the server again after Kill, empty.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.cmd = exec.CommandContext(context.Background(), binary(t), "--port", s.port, "--bind", "127.0.0.1", //nolint:gosec // the installed redis-server
		"--save", "", "--appendonly", "no", "--dir", t.TempDir())
	require.NoError(t, s.cmd.Start())
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + s.port})
	defer func() { _ = client.Close() }()
	require.Eventually(t, func() bool { return client.Ping(context.Background()).Err() == nil }, time.Minute, 10*time.Millisecond)
}

// Kill ends the server as kill -9 does: connections to it are refused from now on.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.cmd.ProcessState == nil {
		require.NoError(t, s.cmd.Process.Kill())
		_ = s.cmd.Wait() // it was killed
	}
}

// Hang stops the server: connections are made and nothing answers. Resume ends it.
func (s *Server) Hang(t testing.TB) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
}

// Resume lets a server go on that hangs.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
}

// Do sends one command, for what a test wants to break.
func (s *Server) Do(t testing.TB, args ...any) any {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + s.port})
	defer func() { _ = client.Close() }()
	got, err := client.Do(context.Background(), args...).Result()
	require.NoError(t, err)
	return got
}

// BlackHole returns the address of something that accepts connections and never answers, until the
// test ends.
func BlackHole(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var held []net.Conn
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			held = append(held, c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		for _, c := range held {
			_ = c.Close()
		}
	})
	return "redis://" + l.Addr().String()
}

// binary finds the installed server.
func binary(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path
	}
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..", "..", "..")
	path := filepath.Join(root, ".cache", "bin", "redis-server")
	if _, err := exec.LookPath(path); err != nil {
		t.Fatal("redis-server is not installed; scripts/install-redis installs it")
	}
	return path
}

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/user-management-service/ums/internal/platform/embeddedpg"
)

// connections serves all packages of one `go test ./...`, each with pools of its own.
const connections = 300

// Server is an ephemeral PostgreSQL in a temporary folder.
type Server struct {
	*embeddedpg.Server
	dir  string
	life *os.File // the watchdog's sign that we live
}

// StartServer starts an ephemeral server. Close ends it and removes its folder; so does a watchdog when this process
// ends in any other way, since a test binary has no last word.
func StartServer(ctx context.Context) (*Server, error) {
	// Below the temporary folder itself, and open to the user who runs PostgreSQL when we are root.
	dir, err := os.MkdirTemp("", "ums-pgtest-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the test database: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // that user passes through it
		return nil, fmt.Errorf("open the folder of the test database: %w", err)
	}
	life, err := watch(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	srv, err := embeddedpg.Start(ctx, embeddedpg.Config{
		Dir: filepath.Join(dir, "db"), Ephemeral: true, MaxConnections: connections,
	})
	if err != nil {
		return nil, errors.Join(err, life.Close()) // the watchdog removes the folder
	}
	return &Server{Server: srv, dir: dir, life: life}, nil
}

// Close ends the server and removes its folder.
func (s *Server) Close(ctx context.Context) error {
	return errors.Join(s.Stop(ctx), os.RemoveAll(s.dir), s.life.Close())
}

// watchdog waits for the end of its input, which is our end, then for the server's, and removes the folder.
const watchdog = `cat >/dev/null
pid=$(head -n 1 "$1/db/cluster/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
n=0
while [ -n "$pid" ] && [ "$n" -lt 50 ] && kill -0 "$pid" 2>/dev/null; do n=$((n + 1)); sleep 0.1; done
rm -rf -- "$1"`

// watch starts the watchdog over dir. The file that it returns is its input's other end, which no other child inherits.
func watch(dir string) (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the watchdog's pipe: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", watchdog, "sh", dir) //nolint:gosec,noctx // our own script; it outlives us: that is what it is for
	cmd.Stdin = read
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C in the terminal is not for it
	err = cmd.Start()
	_ = read.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the watchdog: %w", err), write.Close())
	}
	go func() {
		_ = cmd.Wait()           // takes its exit code, so that it leaves no zombie while we live
		runtime.KeepAlive(write) // the collector would close a file that nobody holds, and the watchdog would strike
	}()
	return write, nil
}

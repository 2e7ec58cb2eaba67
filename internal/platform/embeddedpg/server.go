// Package embeddedpg runs the PostgreSQL that is installed on this machine as a child of this process, for development
// and tests: it makes the data folder, starts the server on a Unix socket that nobody else can reach, recovers what an
// earlier process left when it was killed, and takes the server down with itself.
package embeddedpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// name is that of the superuser and of the database.
const name = "ums"

// defaultConnections serves a pool of four connections a core on a large machine, listeners and a person with psql.
const defaultConnections = 100

// ErrInUse says that another living process supervises the database in the same folder.
var ErrInUse = errors.New("the embedded database is already in use")

// Config says where a server keeps its data and how.
type Config struct {
	Dir            string       // the folder of the database, made when it is missing
	Log            *slog.Logger // nil logs nothing
	Ephemeral      bool         // for tests: fast, and a crash of the machine may lose everything
	MaxConnections int          // 0 = 100
}

// Server is a running PostgreSQL. Its methods may be called from several goroutines.
type Server struct {
	cfg          Config
	layout       layout
	socket       string
	removeSocket func()
	lock         *os.File
	process      *os.Process
	done         chan struct{} // closed when the process has ended
	stopping     chan struct{} // closed when the end is wanted
	stopOnce     sync.Once
	releaseOnce  sync.Once
}

// Start makes the database in cfg.Dir unless it is there and returns when it takes connections. ctx bounds the start
// only; the server runs until Stop, or until this process ends, in which way ever (outside Linux kill -9 leaves it to the
// next Start). As root it runs as the user postgres, else nobody, and its data goes below /var/lib/ums when that
// user cannot enter cfg.Dir. Errors: ErrInUse, ErrNoBinaries, and what PostgreSQL says.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = defaultConnections
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	l, err := place(cfg.Dir, who)
	if err != nil {
		return nil, err
	}
	if abs, err := filepath.Abs(cfg.Dir); err == nil && abs != l.base {
		cfg.Log.Warn("the database is kept elsewhere: the user who runs PostgreSQL cannot enter the data folder",
			"user", who.name, "data_folder", abs, "database_folder", l.base)
	}
	lock, err := takeLock(l)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, layout: l, lock: lock, removeSocket: func() {}}
	if err := s.start(ctx, who); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, who *identity) error {
	if err := reclaim(ctx, s.layout, s.cfg.Log); err != nil {
		return err
	}
	sweep(s.layout, s.cfg.Log)
	major, err := clusterMajor(s.layout)
	if err != nil {
		return err
	}
	bin, err := find(major)
	if err != nil {
		return err
	}
	if major == 0 {
		s.cfg.Log.Info("making a new database", "dir", s.layout.base, "postgres", bin.major)
		if err := create(ctx, s.layout, bin, who, s.cfg.Ephemeral); err != nil {
			return err
		}
	}
	if s.socket, s.removeSocket, err = socketFolder(s.layout, who); err != nil {
		return err
	}
	begun := time.Now()
	for {
		said, err := s.launch(ctx, bin, who)
		if err == nil {
			s.cfg.Log.Info("embedded PostgreSQL is ready", "dir", s.layout.base, "postgres", bin.major, "pid", s.process.Pid)
			return nil
		}
		// The backends of a postmaster that was killed end by themselves, but not at once; until then they hold its memory.
		if !strings.Contains(said, "shared memory block") || time.Since(begun) > fastWait {
			return err
		}
		if _, err := poll(ctx, 10*pollEvery, func() bool { return false }); err != nil {
			return err
		}
	}
}

// launch starts the postmaster and waits until it is ready. Of a failed one it returns what it said, too.
func (s *Server) launch(ctx context.Context, bin binaries, who *identity) (said string, err error) {
	logFile, err := s.openLog()
	if err != nil {
		return "", err
	}
	defer func() { _ = logFile.Close() }()                                    // the child has its own
	cmd := exec.Command(filepath.Join(bin.dir, "postgres"), s.arguments()...) //nolint:gosec,noctx // the operator's own binary; it outlives ctx
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = environment()
	cmd.Dir = "/"
	cmd.SysProcAttr = attributes(who, s.stopSignal())
	done, stopping := make(chan struct{}), make(chan struct{})
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // see attributes; never unlocked: the thread ends with this goroutine
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		select {
		case <-stopping:
		default:
			s.cfg.Log.Error("embedded PostgreSQL ended by itself", "error", err, "log", s.layout.log(), "last_lines", s.logTail())
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return "", fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.process, s.done, s.stopping = cmd.Process, done, stopping
	for {
		ready, err := poll(ctx, time.Second, func() bool {
			select {
			case <-done:
				return true
			default:
			}
			pid, status, ok := readPidFile(s.layout)
			return ok && pid == cmd.Process.Pid && status == "ready"
		})
		if err != nil {
			close(stopping)
			_ = cmd.Process.Signal(syscall.SIGQUIT)
			<-done
			return "", err
		}
		if !ready {
			continue // recovery after a crash takes what it takes; ctx is the bound
		}
		select {
		case <-done:
			said := s.logTail()
			return said, fmt.Errorf("PostgreSQL did not start: %s (all of it in %s)", said, s.layout.log())
		default:
			return "", nil
		}
	}
}

// arguments are the settings. They stand on the command line so that a new release's reach an old data folder.
func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        "", // the socket alone
		"port":                    port,
		"unix_socket_directories": s.socket,
		"unix_socket_permissions": "0700",
		"max_connections":         strconv.Itoa(s.cfg.MaxConnections),
		"shared_buffers":          "64MB",
		"maintenance_work_mem":    "32MB",
		"max_wal_size":            "256MB",
		"huge_pages":              "off",
		"jit":                     "off", // costs more than it gives on small statements
		"fsync":                   "on",
		"synchronous_commit":      "on",
		"full_page_writes":        "on",
		"autovacuum":              "on",
		"logging_collector":       "off",
		"log_destination":         "stderr",
		"log_line_prefix":         "%m [%p] ",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
	}
	if s.cfg.Ephemeral {
		settings["fsync"] = "off"
		settings["synchronous_commit"] = "off"
		settings["full_page_writes"] = "off"
		settings["wal_level"] = "minimal"
		settings["max_wal_senders"] = "0"
		settings["max_wal_size"] = "1GB"
		settings["shared_buffers"] = "128MB"
		settings["autovacuum"] = "off" // it would hold the template database that tests copy
	}
	args := []string{"-D", s.layout.cluster()}
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", k+"="+settings[k])
	}
	return args
}

// openLog opens a fresh log; the one of the start before stays beside it. A retry of the same start goes on in it.
func (s *Server) openLog() (*os.File, error) {
	if s.process == nil {
		if err := os.Rename(s.layout.log(), s.layout.log()+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("keep the last log of PostgreSQL: %w", err)
		}
	}
	f, err := os.OpenFile(s.layout.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of PostgreSQL: %w", err)
	}
	return f, nil
}

func (s *Server) logTail() string {
	b, err := os.ReadFile(s.layout.log())
	if err != nil {
		return err.Error()
	}
	return tail(b)
}

// stopSignal is SIGINT, a fast shutdown, or, where nothing is to be kept, SIGQUIT, an immediate one.
func (s *Server) stopSignal() syscall.Signal {
	if s.cfg.Ephemeral {
		return syscall.SIGQUIT
	}
	return syscall.SIGINT
}

// URL returns the DSN of the database as its superuser, through the socket. It holds no secret: the mode of the socket's
// folder is what keeps others out.
func (s *Server) URL() string {
	q := url.Values{"host": {s.socket}, "port": {port}, "user": {name}}
	return (&url.URL{Scheme: "postgres", Path: "/" + name, RawQuery: q.Encode()}).String()
}

// Dir returns the folder where the data really is, which as root need not be the one that was asked for.
func (s *Server) Dir() string { return s.layout.base }

// Done is closed when the server has ended, whether by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends the server: connections are cut, what was committed is on disk. When ctx or fifteen seconds end before
// that, it stops at once and the next start recovers. It returns when the server is gone and its folder is free.
func (s *Server) Stop(ctx context.Context) error {
	defer s.release()
	s.stopOnce.Do(func() { close(s.stopping) })
	limit := time.NewTimer(fastWait)
	defer limit.Stop()
	_ = s.process.Signal(s.stopSignal()) // the only error is that it has ended
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	case <-limit.C:
	}
	s.cfg.Log.Warn("PostgreSQL does not stop; ending it at once", "pid", s.process.Pid)
	for _, signal := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		_ = s.process.Signal(signal)
		select {
		case <-s.done:
			return nil
		case <-time.After(immediateWait):
		}
	}
	return fmt.Errorf("stop PostgreSQL: process %d outlives SIGKILL", s.process.Pid)
}

// release gives the folder back, once.
func (s *Server) release() {
	s.releaseOnce.Do(func() {
		s.removeSocket()
		_ = s.lock.Close()
	})
}

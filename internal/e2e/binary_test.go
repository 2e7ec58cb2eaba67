// Package e2e drives the built binary from outside, as its users do: over HTTP, with a real database and a real mail
// server, with signals, and on its command line.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ums-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "ums")
		build := exec.Command("go", "build", "-o", binary, "github.com/user-management-service/ums/cmd/ums")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// process is a running ums serve.
type process struct {
	*apptest.Client
	admin string // base of the admin listener
	mail  *mailtest.Server
	env   []string
	cmd   *exec.Cmd
	mu    sync.Mutex
	log   bytes.Buffer
	ended chan error
}

const masterKey = "UMS_MASTER_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// environment is what every run of the binary in these tests gets, and nothing of the machine's own configuration.
func environment(t *testing.T, dsn string, mail *mailtest.Server) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), masterKey,
		"UMS_HTTP_ADDR=127.0.0.1:0", "UMS_ADMIN_ADDR=127.0.0.1:0", "UMS_DATA_DIR=" + t.TempDir(), "UMS_LOG_FORMAT=json",
		"UMS_DATABASE_URL=" + dsn, "UMS_SMTP_URL=" + mail.URL() + "?tls=none", "UMS_DATABASE_MAX_CONNS=8",
		"UMS_ARGON2_MEMORY_KIB=64", "UMS_ARGON2_ITERATIONS=1",
		"UMS_BOOTSTRAP_ADMIN_EMAIL=" + apptest.AdminEmail, "UMS_BOOTSTRAP_ADMIN_PASSWORD=" + apptest.AdminPassword,
	}
}

// start runs ums serve on a database of its own and returns when it is ready. More variables override.
func start(t *testing.T, more ...string) *process {
	t.Helper()
	mail := mailtest.NewServer(t)
	p := launch(t, mail, append(environment(t, pgtest.URL(t), mail), more...))
	require.NoError(t, p.waitReady(), p.output())
	return p
}

// launch runs ums serve and returns when it listens.
func launch(t *testing.T, mail *mailtest.Server, env []string) *process {
	t.Helper()
	p := &process{mail: mail, env: env, ended: make(chan error, 1)}
	p.cmd = exec.Command(binary, "serve")
	p.cmd.Env = env
	p.cmd.Stderr = &locked{p: p}
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	listening := make(chan [2]string, 1)
	var read sync.WaitGroup
	read.Go(func() { p.scan(out, listening) })
	go func() {
		read.Wait() // Wait closes the pipe
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		select {
		case <-p.ended:
		default:
		}
	})
	select {
	case addrs := <-listening:
		p.Client, p.admin = apptest.NewClient("http://"+addrs[0]), "http://"+addrs[1]
	case err := <-p.ended:
		t.Fatalf("ums serve ended: %v\n%s", err, p.output())
	case <-time.After(30 * time.Second):
		t.Fatalf("ums serve does not listen\n%s", p.output())
	}
	return p
}

func (p *process) scan(out io.Reader, listening chan<- [2]string) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, _ = (&locked{p: p}).Write(append(lines.Bytes(), '\n'))
		var line struct{ Msg, Addr, AdminAddr string }
		if json.Unmarshal(bytes.ReplaceAll(lines.Bytes(), []byte("admin_addr"), []byte("adminaddr")), &line) == nil && line.Msg == "listening" {
			listening <- [2]string{line.Addr, line.AdminAddr}
		}
	}
}

// waitReady polls until the service says that it is ready.
func (p *process) waitReady() error {
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; time.Now().Before(deadline); <-tick.C {
		if a, _, err := p.Try(http.MethodGet, "/readyz", nil); err == nil && a.Status == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("not ready after 30 s")
}

// stop sends SIGTERM and returns how the process ended.
func (p *process) stop(t *testing.T) error {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.ended:
		return err
	case <-time.After(60 * time.Second):
		t.Fatalf("ums serve does not stop\n%s", p.output())
		return nil
	}
}

// output is everything that the process has written.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

type locked struct{ p *process }

func (l *locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.p.log.Write(b)
}

// run executes one command and returns its output and exit code.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errs
	_ = cmd.Run() // the exit code says it
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

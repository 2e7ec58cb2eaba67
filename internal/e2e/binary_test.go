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
	"slices"
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
	metrics string // base of the admin listener
	dsn     string // of the database's owner
	mail    *mailtest.Server
	env     []string
	cmd     *exec.Cmd

	mu      sync.Mutex
	log     bytes.Buffer
	secrets map[string]bool // what the log must not hold

	ended chan struct{} // closed when the process has ended and its output is complete
	err   error         // how it ended
}

const masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// environment is what every run of the binary in these tests gets, and nothing of the machine's own configuration.
func environment(t *testing.T, dsn string, mail *mailtest.Server) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "UMS_MASTER_KEY=" + masterKey,
		"UMS_HTTP_ADDR=127.0.0.1:0", "UMS_ADMIN_ADDR=127.0.0.1:0", "UMS_DATA_DIR=" + t.TempDir(), "UMS_LOG_FORMAT=json",
		"UMS_DATABASE_URL=" + dsn, "UMS_SMTP_URL=" + mail.URL() + "?tls=none", "UMS_DATABASE_MAX_CONNS=8",
		"UMS_ARGON2_MEMORY_KIB=64", "UMS_ARGON2_ITERATIONS=1", "UMS_RATE_LIMIT_ADDRESS=off", "UMS_RATE_LIMIT_CALLER=off",
		"UMS_BOOTSTRAP_ADMIN_EMAIL=" + apptest.AdminEmail, "UMS_BOOTSTRAP_ADMIN_PASSWORD=" + apptest.AdminPassword,
	}
}

// start runs ums serve on a database of its own and returns when it is ready. More variables override.
func start(t *testing.T, more ...string) *process {
	t.Helper()
	mail, dsn := mailtest.NewServer(t), pgtest.URL(t)
	p := launch(t, dsn, mail, append(environment(t, dsn, mail), more...))
	p.waitReady(t)
	return p
}

// beside starts another replica: the same database, mail server and keys.
func (p *process) beside(t *testing.T) *process {
	t.Helper()
	q := launch(t, p.dsn, p.mail, append(slices.Clone(p.env), "UMS_DATA_DIR="+t.TempDir()))
	q.waitReady(t)
	return q
}

// launch runs ums serve and returns when it listens. When the test ends the process is asked to stop, and must do so
// cleanly; its log must hold no secret.
func launch(t *testing.T, dsn string, mail *mailtest.Server, env []string) *process {
	t.Helper()
	return launchAs(t, binary, dsn, mail, env)
}

// launchAs is launch for another binary than this tree's.
func launchAs(t *testing.T, program, dsn string, mail *mailtest.Server, env []string) *process {
	t.Helper()
	p := &process{dsn: dsn, mail: mail, env: env, secrets: map[string]bool{}, ended: make(chan struct{})}
	p.secret(masterKey, apptest.AdminPassword, apptest.Password)
	p.cmd = exec.Command(program, "serve")
	p.cmd.Env = env
	p.cmd.Stderr = &locked{p: p}
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	listening := make(chan [2]string, 1)
	go func() {
		p.scan(out, listening) // to its end: Wait closes the pipe
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		select {
		case <-p.ended:
		default:
			require.NoError(t, p.stop(t), "%s", p.output())
		}
		p.keepsSecrets(t)
	})
	select {
	case addrs := <-listening:
		p.Client, p.metrics = apptest.NewClient("http://"+addrs[0]), "http://"+addrs[1]
	case <-p.ended:
		t.Fatalf("ums serve ended: %v\n%s", p.err, p.output())
	case <-time.After(patience):
		t.Fatalf("ums serve does not listen\n%s", p.output())
	}
	return p
}

// patience is how long a step may take on a machine that is busy with other tests.
const patience = time.Minute

func (p *process) scan(out io.Reader, listening chan<- [2]string) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, _ = (&locked{p: p}).Write(append(lines.Bytes(), '\n'))
		var line struct {
			Msg, Addr string
			AdminAddr string `json:"admin_addr"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			listening <- [2]string{line.Addr, line.AdminAddr}
		}
	}
}

// waitReady polls until the service says that it is ready.
func (p *process) waitReady(t testing.TB) {
	t.Helper()
	p.waitFor(t, "/readyz", http.StatusOK)
}

// waitFor polls until a path answers with this status.
func (p *process) waitFor(t testing.TB, path string, status int) {
	t.Helper()
	eventually(t, path, func() bool {
		a, _, err := p.Try(http.MethodGet, path, nil)
		return err == nil && a.Status == status
	})
}

// stop sends SIGTERM and returns how the process ended.
func (p *process) stop(t testing.TB) error {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		t.Errorf("ums serve does not stop\n%s", p.output())
	}
	return p.err
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(s))
}

// output is everything that the process has written.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// secret notes what must not come into the log.
func (p *process) secret(values ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range values {
		if v != "" {
			p.secrets[v] = true
		}
	}
}

// keepsSecrets is OTT-11 and KEY-07 for the log: of all that the test has seen nothing is in it.
func (p *process) keepsSecrets(t testing.TB) {
	t.Helper()
	log := p.output()
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.secrets {
		if i := strings.Index(log, s); i >= 0 {
			t.Errorf("the log holds a secret: …%s…", log[max(0, i-200):min(len(log), i+200)])
		}
	}
}

type locked struct{ p *process }

func (l *locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.p.log.Write(b)
}

// eventually polls until ok, and fails the test when that does not come.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		<-tick.C
	}
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

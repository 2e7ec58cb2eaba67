package docs_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/embeddedpg"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// binaries is a folder with the program, and with what else the pages call.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ums-docs-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binaries = dir
		return m.Run()
	}())
}

// tools builds the program once. make is called dry: its targets are there, and this very test is not begun again.
var tools = sync.OnceValue(func() error {
	build := exec.Command("go", "build", "-o", binaries, "github.com/user-management-service/ums/cmd/ums")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	dry := fmt.Sprintf("#!/bin/sh\nPATH=${PATH#*:}\nexec make -n -C '%s' \"$@\" >/dev/null\n", root)
	if err := os.WriteFile(filepath.Join(binaries, "make"), []byte(dry), 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("../scripts/install-jq").CombinedOutput(); err != nil {
		return fmt.Errorf("jq: %w\n%s", err, out)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		return fmt.Errorf("the pages call the service with curl (7.82 or later): install it (Debian: apt-get install curl): %w", err)
	}
	return nil
})

const (
	adminPassword = "lanterns drift over quiet water"
	patience      = time.Minute // for a step, on a machine that is busy with other tests
	masterKey     = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// call is a request that a block has made.
type call struct {
	method, path, body string
	status             int
}

// service is a running ums serve as make run starts it, but for its database, behind a proxy that sees every call.
type service struct {
	addr string // of the proxy
	env  []string
	db   *pgxpool.Pool

	mu    sync.Mutex
	calls []call
}

func serve(t *testing.T, more ...string) *service {
	t.Helper()
	require.NoError(t, tools())
	dsn := pgtest.URL(t)
	db, err := pgxpool.New(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	search := []string{binaries, filepath.Join(root(t), ".cache", "bin")}
	if _, err := exec.LookPath("pg_dump"); err != nil { // it and psql come with the server, else
		dir, err := embeddedpg.Find()
		require.NoError(t, err)
		search = append(search, dir)
	}
	s := &service{db: db, env: append([]string{
		"PATH=" + strings.Join(append(search, os.Getenv("PATH")), ":"), "HOME=" + t.TempDir(), "UMS_DATA_DIR=" + t.TempDir(),
		"UMS_DATABASE_URL=" + dsn, "UMS_DATABASE_DIRECT_URL=" + dsn, "UMS_DATABASE_MAX_CONNS=4", "UMS_MASTER_KEY=" + masterKey,
		"UMS_HTTP_ADDR=127.0.0.1:0", "UMS_ADMIN_ADDR=127.0.0.1:0", "UMS_LOG_FORMAT=json",
		"UMS_ARGON2_MEMORY_KIB=64", "UMS_ARGON2_ITERATIONS=1",
		"UMS_BOOTSTRAP_ADMIN_EMAIL=admin@localhost.test", "UMS_BOOTSTRAP_ADMIN_PASSWORD=" + adminPassword,
	}, more...)}
	cmd := exec.Command(filepath.Join(binaries, "ums"), "serve")
	cmd.Env = s.env
	var errs bytes.Buffer // read when the process has ended
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	addr := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var line struct{ Msg, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				addr <- line.Addr
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	select {
	case a := <-addr:
		s.addr = s.listen(t, a)
		require.Eventually(t, func() bool { return s.get(t, "/readyz") == http.StatusOK }, patience, 20*time.Millisecond, "ums serve is not ready")
	case <-ended:
		require.FailNow(t, "ums serve ended", "%s", errs.String())
	}
	return s
}

// listen stands between the pages and the service, and notes the calls.
func (s *service) listen(t *testing.T, addr string) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addr})
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(resp *http.Response) error {
			c := call{method: resp.Request.Method, path: resp.Request.URL.Path, status: resp.StatusCode}
			if resp.StatusCode >= http.StatusBadRequest {
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					return err
				}
				c.body, resp.Body = string(body), io.NopCloser(bytes.NewReader(body))
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.calls = append(s.calls, c)
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/dev/mail") { // a reader needs longer than a mail
			require.Eventually(t, func() bool {
				var queued int
				err := s.db.QueryRow(r.Context(), "SELECT count(*) FROM mail_messages WHERE state = 'queued'").Scan(&queued)
				return err == nil && queued == 0
			}, patience, 20*time.Millisecond, "mails wait")
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// made returns the calls since it was last asked.
func (s *service) made() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	require.NoError(t, err)
	return dir
}

// examples are the addresses under which pages have the service.
var examples = regexp.MustCompile(`https?://(localhost:8080|(id|ums)\.example\.com)\b`)

// here is a link to what a running service has.
var here = regexp.MustCompile(`http://localhost:8080(/[^\s>)"']*)`)

// get returns the status of a page that a reader is sent to.
func (s *service) get(t *testing.T, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+path, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// run runs the shell blocks of a page, and of those that it goes on from, in one shell and a folder of their own. A block
// fails when a command in it does (set -eu), when the page shows another answer, and when a call is refused and the page
// does not show that it is.
func run(t *testing.T, page string) {
	t.Helper()
	all := chain(t, page, nil)
	var more []string
	for _, b := range all {
		if b.lang == "service" {
			more = append(more, strings.Fields(b.text)...)
		}
	}
	s := serve(t, more...)
	for _, m := range here.FindAllStringSubmatch(withoutCode(read(t, page)), -1) {
		require.Less(t, s.get(t, m[1]), http.StatusBadRequest, "%s names %s", page, m[0])
	}
	s.made() // none of them a block's
	sh := open(t, s.env)
	for _, b := range all {
		if !b.shell() || b.skipped != "" {
			continue
		}
		text := strings.ReplaceAll(b.text, "ADMIN_PASSWORD='…'", "ADMIN_PASSWORD='"+adminPassword+"'")
		require.NotContains(t, text, "…", "%s: a block that is run has nothing to fill in: take a variable", b)
		out, err := sh.run(examples.ReplaceAllString(text, "http://"+s.addr))
		calls := s.made()
		said := func(what any) string {
			var b strings.Builder
			for _, c := range calls {
				fmt.Fprintf(&b, "  %s %s → %d %s\n", c.method, c.path, c.status, c.body)
			}
			return fmt.Sprintf("%v\n--- the block\n%s\n--- its calls\n%s--- it printed\n%s", what, text, b.String(), out)
		}
		require.NoError(t, err, "%s: %s", b, said("a command failed, or a variable is not set"))
		shown := ""
		if b.answer != nil {
			shown = b.answer.text
		}
		if b.page == page && b.answer != nil && b.answer.skipped == "" {
			out = strings.ReplaceAll(out, s.addr, "localhost:8080")
			err := differs(b.answer.lang, shown, out)
			if err != nil && *update {
				b.answer.rewrite(t, out)
				shown = b.answer.text
			} else if err != nil {
				require.FailNow(t, b.answer.String()+": the answer is another one", "%s", said(err))
			}
		}
		for _, c := range calls {
			if c.status >= http.StatusBadRequest && !regexp.MustCompile(fmt.Sprintf(`("status": ?|HTTP/1.1 |(?m)^)%d\b`, c.status)).MatchString(shown) {
				require.FailNow(t, b.String()+": a call is refused, and the page does not show it", "%s", said(""))
			}
		}
	}
}

// shell is a bash that runs one block after the other and keeps their variables.
type shell struct {
	dir  string
	in   io.Writer
	done *bufio.Reader // a line for each block that has ended well
	n    int
}

func open(t *testing.T, env []string) *shell {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*patience)
	t.Cleanup(cancel)
	bash := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	bash.Dir, bash.Env = t.TempDir(), env
	bash.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := bash.StdinPipe()
	require.NoError(t, err)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	bash.ExtraFiles = []*os.File{write}
	require.NoError(t, bash.Start())
	require.NoError(t, write.Close())
	sh := &shell{dir: t.TempDir(), in: in, done: bufio.NewReader(read)}
	t.Cleanup(func() {
		_ = in.Close()
		_ = syscall.Kill(-bash.Process.Pid, syscall.SIGKILL) // with what a block has left in the background
		_ = bash.Wait()
		_ = read.Close()
	})
	_, err = io.WriteString(in, "set -eu\n")
	require.NoError(t, err)
	return sh
}

// run returns what a block prints, errors and all. The shell is of no use after an error.
func (sh *shell) run(text string) (string, error) {
	sh.n++
	name := filepath.Join(sh.dir, fmt.Sprint(sh.n))
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		return "", err
	}
	_, err := fmt.Fprintf(sh.in, ". '%s' </dev/null >'%s.out' 2>&1 3>&-\necho done >&3\n", name, name)
	if err == nil {
		_, err = sh.done.ReadString('\n')
	}
	out, outErr := os.ReadFile(name + ".out")
	if err == nil {
		err = outErr
	}
	return string(out), err
}

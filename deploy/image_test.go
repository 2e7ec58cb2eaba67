//go:build packaging

package deploy_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// patience is how long a step may take on a machine that is busy with other tests.
const patience = time.Minute

// description is what of an image's configuration an engine follows.
type description struct {
	User        string
	Entrypoint  []string
	Cmd         []string
	Env         []string
	Labels      map[string]string
	Healthcheck struct{ Test []string }
}

// TestImageStartsWithNothingToWrite builds the image, unpacks it, and runs the service in it as an engine would: as the
// image's user, with the image's environment, and with a root that is read-only, temporary folder included.
func TestImageStartsWithNothingToWrite(t *testing.T) {
	t.Parallel()
	require.Zero(t, os.Geteuid(), "only root can give files to the image's user and enter the image: run this as root")
	tree := filepath.Join(t.TempDir(), "tree")
	image := "ums-test:" + strings.ToLower(filepath.Base(filepath.Dir(tree)))
	run(t, "..", "scripts/image", image, "v1.2.3-test", tree)
	t.Cleanup(func() { _ = exec.Command("buildah", "rmi", image).Run() })

	var d struct {
		Docker struct{ Config description }
	}
	require.NoError(t, json.Unmarshal(run(t, "..", "buildah", "inspect", "--type", "image", image), &d))
	c := d.Docker.Config
	require.Equal(t, "65532:65532", c.User)
	require.Equal(t, []string{"/ums"}, c.Entrypoint)
	require.Equal(t, []string{"serve"}, c.Cmd)
	require.Equal(t, []string{"CMD", "/ums", "healthcheck"}, c.Healthcheck.Test)
	require.Equal(t, "v1.2.3-test", c.Labels["org.opencontainers.image.version"])
	for _, label := range []string{"title", "description", "revision", "created", "source", "documentation", "licenses"} {
		require.NotEmpty(t, c.Labels["org.opencontainers.image."+label], label)
	}

	require.Equal(t, []string{
		"LICENSE", "data", "etc", "etc/group", "etc/passwd", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt", "ums",
	}, below(t, tree), "the image holds what it needs and no more")

	mail, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // never asked
	require.NoError(t, err)
	t.Cleanup(func() { _ = mail.Close() })
	env := append(slices.Clone(c.Env),
		"UMS_HTTP_ADDR=127.0.0.1:0", "UMS_ADMIN_ADDR=127.0.0.1:0", "UMS_LOG_FORMAT=json",
		"UMS_MASTER_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "UMS_DATABASE_URL="+overTCP(t, pgtest.URL(t)),
		"UMS_DATABASE_MAX_CONNS=4", "UMS_SMTP_URL=smtp://"+mail.Addr().String()+"?tls=none",
		"UMS_PUBLIC_URL=https://id.example.com", "UMS_ARGON2_MEMORY_KIB=64",
	)
	addr, _ := listening(t, inImage(tree, env, append(c.Entrypoint, c.Cmd...)))

	client := http.Client{Timeout: patience}
	res, err := client.Get("http://" + addr + "/livez")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 200, res.StatusCode)

	env = append(env, "UMS_HTTP_ADDR="+addr)
	require.Eventually(t, func() bool {
		return inImage(tree, env, c.Healthcheck.Test[1:]).Run() == nil
	}, patience, 200*time.Millisecond, "ums healthcheck says when the service is ready")

	out, err := inImage(tree, env, []string{"/ums", "version"}).Output()
	require.NoError(t, err)
	require.Equal(t, "v1.2.3-test\n", string(out))
	require.Empty(t, run(t, "..", "find", filepath.Join(tree, "data"), "-mindepth", "1"), "production writes no file")

	t.Run("docker-compose.yml", func(t *testing.T) { looksLikeMakeRun(t, tree, c) })
}

// looksLikeMakeRun starts the image as docker-compose.yml does, but for addresses: nothing has to be set, the log has the
// first administrator's invitation, and mails are at /dev/mail.
func looksLikeMakeRun(t *testing.T, tree string, c description) {
	env := slices.Clone(c.Env)
	for name, value := range composed(t, "docker-compose.yml") {
		switch name {
		case "UMS_DATABASE_URL":
			value = overTCP(t, pgtest.URL(t))
		case "UMS_DATABASE_DIRECT_URL", "UMS_SMTP_URL": // one URL here; no mail catcher is the default
			continue
		}
		env = append(env, name+"="+value)
	}
	// The volume takes over owner and mode of the folder in whose place it comes.
	env = append(env, "UMS_HTTP_ADDR=0.0.0.0:0", "UMS_ADMIN_ADDR=127.0.0.1:0", "VOLUME=mount -t tmpfs -o mode=0700,uid=65532,gid=65532 volume "+tree+"/data")
	addr, log := listening(t, inImage(tree, env, append(c.Entrypoint, c.Cmd...)))
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return strings.Contains(log.String(), `"msg":"ready"`)
	}, patience, 50*time.Millisecond)
	require.Contains(t, log.String(), "http://localhost:8080/accept-invitation#token=", "the first administrator's invitation")
	client := http.Client{Timeout: patience}
	for _, path := range []string{"/readyz", "/docs", "/dev/mail", "/dev/mail/pages.css"} {
		res, err := client.Get("http://localhost:" + port + path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 200, res.StatusCode, path)
	}
}

// inImage is a command in the tree of an image: in its own mount namespace, where that tree is the root and read-only.
func inImage(tree string, env, command []string) *exec.Cmd {
	script := `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && $VOLUME && exec chroot --userspec=65532:65532 "$0" "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, tree}, command...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "VOLUME=true"}, env...)
	return cmd
}

// listening starts the service and returns the address in its log, and the log. The process ends with the test.
func listening(t *testing.T, cmd *exec.Cmd) (addr string, log *apptest.Log) {
	t.Helper()
	log = &apptest.Log{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	found, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(io.TeeReader(out, log))
		for lines.Scan() {
			var line struct{ Msg, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				found <- line.Addr
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has become the service: unshare, sh and chroot each give way to the next
		<-ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	select {
	case addr = <-found:
	case <-ended:
		require.FailNow(t, "the service ended", "%s", log.String())
	case <-time.After(patience):
		require.FailNow(t, "the service does not listen")
	}
	return addr, log
}

// overTCP returns a DSN of the same database through a port of this machine: the server's socket may lie in a folder that
// only its owner enters.
func overTCP(t *testing.T, dsn string) string {
	t.Helper()
	cfg, err := pgconn.ParseConfig(dsn)
	require.NoError(t, err)
	network, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go relay(from, network, address)
		}
	}()
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: l.Addr().String(), Path: "/" + cfg.Database, RawQuery: "sslmode=disable"}
	return u.String()
}

func relay(from net.Conn, network, address string) {
	defer func() { _ = from.Close() }()
	to, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
}

// below lists what is in a folder, and that only root may write it, but for the folder of data.
func below(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		name, err := filepath.Rel(folder, path)
		names = append(names, name)
		info, statErr := d.Info()
		if err = errors.Join(err, statErr); err != nil {
			return err
		}
		if info.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("%s has mode %v: others may write it", name, info.Mode())
		}
		if owner := run(t, folder, "stat", "-c", "%u:%g", path); (string(owner) == "0:0\n") == (name == "data") {
			return fmt.Errorf("%s belongs to %s", name, owner)
		}
		return nil
	}))
	return names
}

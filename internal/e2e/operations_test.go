package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// TestWhatAnOperatorSees is health, metrics and log of one process.
func TestWhatAnOperatorSees(t *testing.T) {
	t.Parallel()
	mail, dsn := mailtest.NewServer(t), pgtest.URL(t)
	started := time.Now()
	p := launch(t, dsn, mail, environment(t, dsn, mail))
	p.waitReady(t)
	t.Logf("start to ready on a migrated database: %s", time.Since(started).Round(time.Millisecond))
	t.Logf("resident memory when idle: %s", residentMemory(t, p))

	require.Equal(t, "ok", p.GET(t, "/livez").Want(t, 200).String(t, "status"))
	ready := p.GET(t, "/readyz").Want(t, 200)
	for i, name := range []string{"serving", "migrations", "database"} {
		require.Equal(t, name, ready.String(t, fmt.Sprintf("checks.%d.name", i)))
	}

	s := p.admin(t)
	const mark = "log-line-"
	calls := []func(*apptest.Client) *apptest.Answer{
		func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users/me").Want(t, 200) },
		func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users?search=x").Want(t, 200) },
		func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/nothing/here").Want(t, 404) },
		func(c *apptest.Client) *apptest.Answer { return c.DELETE(t, "/auth/config").Want(t, 405) },
		func(c *apptest.Client) *apptest.Answer { return c.POST(t, "/users", "{").Want(t, 400) },
		func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/livez").Want(t, 200) },
		// OTT-11: a token at the wrong place is still a secret.
		func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users/me?token="+s.access).Want(t, 422) },
		func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users/"+s.refresh).Want(t, 404) },
		func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/"+s.refresh).Want(t, 404) },
	}
	for i, call := range calls {
		id := fmt.Sprint(mark, i)
		require.Equal(t, id, call(s.With("X-Request-Id", id)).Header.Get("X-Request-Id"))
	}

	t.Run("the admin listener stands apart", func(t *testing.T) {
		metrics, res := fetch(t, p.metrics+"/metrics")
		require.Equal(t, 200, res.StatusCode)
		require.Regexp(t, `(?m)^ums_http_request[a-z_]*\{[^}]*route="/api/v1/users/me"[^}]*\} `, metrics)
		for secret := range p.secrets {
			require.NotContains(t, metrics, secret)
		}
		_, res = fetch(t, p.metrics+"/debug/pprof/")
		require.Equal(t, 200, res.StatusCode)
		_, res = fetch(t, p.metrics+"/api/v1/auth/config")
		require.Equal(t, 404, res.StatusCode)
		for _, path := range []string{"/metrics", "/debug/pprof/"} {
			_, res = fetch(t, p.Base()+path)
			require.Equal(t, 404, res.StatusCode)
		}
	})

	t.Run("ums healthcheck", func(t *testing.T) {
		_, errs, code := run(t, []string{"UMS_HTTP_ADDR=" + strings.TrimPrefix(p.Base(), "http://")}, "healthcheck")
		require.Zero(t, code, errs)
		_, errs, code = run(t, []string{"UMS_HTTP_ADDR=127.0.0.1:1"}, "healthcheck")
		require.Equal(t, 1, code)
		require.Regexp(t, `^ums: the service does not answer: .*\n$`, errs)
	})

	require.NoError(t, p.stop(t))
	lines := map[string]doc{}
	for line := range strings.Lines(p.output()) {
		var entry doc
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		require.Contains(t, entry, "time")
		require.Contains(t, entry, "level")
		if id, _ := entry["request_id"].(string); strings.HasPrefix(id, mark) {
			require.NotContains(t, lines, id, "one line a request")
			lines[id] = entry
		}
	}
	require.Len(t, lines, len(calls))
	first := lines[mark+"0"]
	require.Equal(t, "request", first["msg"])
	require.Equal(t, "/api/v1/users/me", first["route"])
	require.Equal(t, s.session, first["session_id"])
	require.Equal(t, "127.0.0.1", first["ip"])
	require.EqualValues(t, 200, first["status"])
	require.Equal(t, "/api/v1/nothing/here", lines[mark+"2"]["path"])
	require.Equal(t, "malformed_request", lines[mark+"4"]["code"])
	for _, message := range []string{"listening", "ready", "stopping", "stopped"} {
		require.Contains(t, p.output(), `"msg":"`+message+`"`)
	}
}

// TestStopFinishesWhatItHasBegun sends SIGTERM while a request waits for a row.
func TestStopFinishesWhatItHasBegun(t *testing.T) {
	t.Parallel()
	p := start(t)
	s := p.admin(t)
	locker := p.db(t)
	tx, err := locker.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM users WHERE email_norm = $1 FOR UPDATE", apptest.AdminEmail)
	require.NoError(t, err)
	answered := make(chan *apptest.Answer, 1)
	go func() {
		a, _, err := s.Try("PATCH", "/users/me", doc{"display_name": "In flight"})
		if err != nil {
			a = &apptest.Answer{Body: []byte(err.Error())}
		}
		answered <- a
	}()
	watcher := p.db(t)
	eventually(t, "the request waits", func() bool {
		require.Empty(t, answered)
		var waiting bool
		require.NoError(t, watcher.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND usename = current_user)`).Scan(&waiting))
		return waiting
	})
	p.signal(t, syscall.SIGTERM)
	eventually(t, "nothing new is taken", func() bool {
		_, _, err := apptest.NewClient(p.Base()).Try("GET", "/livez", nil)
		return err != nil
	})
	require.NoError(t, tx.Rollback(t.Context()))
	(<-answered).Want(t, 200)
	<-p.ended
	require.NoError(t, p.err)
}

// TestProductionDrains is the stop of a replica behind a balancer, cut short by a second signal.
func TestProductionDrains(t *testing.T) {
	t.Parallel()
	p := start(t, "UMS_ENV=production", "UMS_BOOTSTRAP_ADMIN_EMAIL=", "UMS_BOOTSTRAP_ADMIN_PASSWORD=")
	require.Equal(t, 404, p.GET(t, "/dev/mail").Status)
	p.signal(t, syscall.SIGTERM)
	p.waitFor(t, "/readyz", 503)
	_, res := fetch(t, p.Base()+"/api/v1/auth/config") // balancers have not noticed yet
	require.Equal(t, 200, res.StatusCode)
	require.True(t, res.Close, "the connection is not kept")
	p.GET(t, "/livez").Want(t, 200)
	eventually(t, "the second signal", func() bool {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // once more when the handler of the first is not gone yet
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	state, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.Equal(t, syscall.SIGTERM, state.Signal())
	require.NotContains(t, p.output(), `"msg":"stopped"`)
}

// TestDatabaseComesLate is F-07: the service starts before its database.
func TestDatabaseComesLate(t *testing.T) {
	t.Parallel()
	mail, dsn := mailtest.NewServer(t), pgtest.EmptyURL(t)
	way := newGate(t, dsn)
	way.close()
	p := launch(t, way.dsn, mail, environment(t, way.dsn, mail))
	p.GET(t, "/livez").Want(t, 200)
	unavailable(t, p.GET(t, "/readyz"))
	unavailable(t, p.login(t, apptest.AdminEmail, apptest.AdminPassword))
	unavailable(t, p.Bearer("ums_live_x").GET(t, "/users/me"))
	p.GET(t, "/auth/config").Want(t, 200)
	way.open()
	p.waitReady(t)
	p.admin(t).GET(t, "/users/me").Want(t, 200)
	require.Less(t, strings.Count(p.output(), "waiting for the database"), 40)
}

// TestDatabaseGoesAway is the rule of F-03: while it is away every answer says so, and afterwards all is as before.
func TestDatabaseGoesAway(t *testing.T) {
	t.Parallel()
	mail, dsn := mailtest.NewServer(t), pgtest.URL(t)
	way := newGate(t, dsn)
	p := launch(t, way.dsn, mail, environment(t, way.dsn, mail))
	p.waitReady(t)
	s := p.admin(t)
	key := p.key(t, s)
	key.GET(t, "/users/me").Want(t, 200)
	calls := []func() *apptest.Answer{
		func() *apptest.Answer { return s.GET(t, "/users/me") },
		func() *apptest.Answer { return s.GET(t, "/users") },
		func() *apptest.Answer { return s.PATCH(t, "/users/me", doc{"display_name": "Never"}) },
		func() *apptest.Answer { return s.POST(t, "/users", doc{"email": "never@example.org"}) },
		func() *apptest.Answer { return key.GET(t, "/users/me") },
		func() *apptest.Answer { return p.login(t, apptest.AdminEmail, apptest.AdminPassword) },
		func() *apptest.Answer { return p.login(t, apptest.AdminEmail, "not the right words") },
		func() *apptest.Answer { return p.POST(t, "/auth/refresh", doc{"refresh_token": s.refresh}) },
		func() *apptest.Answer {
			return p.POST(t, "/auth/register", doc{"email": "never@example.org", "password": apptest.Password})
		},
	}
	for range 2 {
		way.close()
		for range 2 { // with connections that were good a moment ago, and without any
			for _, call := range calls {
				unavailable(t, call())
			}
		}
		unavailable(t, p.GET(t, "/readyz"))
		p.GET(t, "/livez").Want(t, 200)
		way.open()
		p.waitReady(t)
		require.Nil(t, s.GET(t, "/users/me").Want(t, 200).Get(t, "display_name"))
		key.GET(t, "/users/me").Want(t, 200)
	}
	p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": s.refresh}))
	require.Zero(t, p.count(t, "SELECT count(*) FROM users WHERE email_norm = 'never@example.org'"))
}

// TestThreeStartAtOnce is F-14: on an empty database.
func TestThreeStartAtOnce(t *testing.T) {
	t.Parallel()
	mail, dsn := mailtest.NewServer(t), pgtest.EmptyURL(t)
	var all [3]*process
	for i := range all {
		all[i] = launch(t, dsn, mail, environment(t, dsn, mail))
	}
	for _, p := range all {
		p.waitReady(t)
		p.admin(t).GET(t, "/users/me").Want(t, 200)
	}
	p := all[0]
	require.Zero(t, p.count(t, "SELECT count(*) FROM (SELECT version_id FROM goose_db_version GROUP BY 1 HAVING count(*) > 1) twice"))
	require.Equal(t, 1, p.count(t, "SELECT count(*) FROM users"))
	keys := p.GET(t, "/.well-known/jwks.json").Want(t, 200)
	require.JSONEq(t, string(keys.Body), string(all[2].GET(t, "/.well-known/jwks.json").Want(t, 200).Body))
}

// unavailable checks the answer of a service that cannot reach its database.
func unavailable(t *testing.T, a *apptest.Answer) {
	t.Helper()
	require.Equal(t, 503, a.Status, "%s", a.Body)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.NotRegexp(t, `(?i)postgres|sql|127\.0\.0\.1|dial`, string(a.Body))
}

// fetch is a call of no API's.
func fetch(t *testing.T, url string) (body string, res *http.Response) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err = (&http.Client{Timeout: patience}).Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(content), res
}

// residentMemory is what Linux says; elsewhere nothing.
func residentMemory(t *testing.T, p *process) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return "unknown"
	}
	return string(regexp.MustCompile(`VmRSS:\s*(.*)`).FindSubmatch(status)[1])
}

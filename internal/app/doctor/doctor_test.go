package doctor_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/app/doctor"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/ratelimit/redistest"
)

// hidden are the secrets of these tests: no report may hold one.
const hidden = "hidden-password"

// examine reports on a configuration, which more variables override.
func examine(t *testing.T, o doctor.Options, vars ...string) doctor.Report {
	t.Helper()
	cfg, unknown, err := config.Load(slices.Concat([]string{
		"UMS_DATA_DIR=" + t.TempDir(), "UMS_MASTER_KEY=" + apptest.MasterKey, "UMS_DATABASE_MAX_CONNS=8", "UMS_PUBLIC_URL=http://localhost:1",
	}, vars))
	require.NoError(t, err)
	o.Unknown = unknown
	r := doctor.Run(t.Context(), cfg, o)
	for _, f := range r.Findings {
		require.NotContains(t, f.Says+f.Do, hidden)
		require.NotContains(t, f.Says+f.Do, apptest.MasterKey)
		require.NotContains(t, f.Says+f.Do, "\n")
		if f.Status == doctor.Warn || f.Status == doctor.Fail {
			require.NotEmpty(t, f.Do, "%s: %s", f.Check, f.Says)
		}
	}
	require.Equal(t, r.Failed() == 0, r.OK)
	return r
}

// finds wants a finding of this kind that says something.
func finds(t *testing.T, r doctor.Report, check string, status doctor.Status, says string) doctor.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Check == check && f.Status == status && strings.Contains(f.Says, says) {
			return f
		}
	}
	t.Fatalf("no %s of %s that says %q in %+v", status, check, says, r.Findings)
	return doctor.Finding{}
}

func run(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	for _, sql := range statements {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
}

// A service at work has no finding that fails, and says where it sees its doctor.
func TestHealthy(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	s.Person(t, s.Admin(t), "ada@example.com")
	redis := redistest.Start(t)
	vars := []string{"UMS_DATABASE_URL=" + s.DSN, "UMS_SMTP_URL=" + s.Mail.URL() + "?tls=none", "UMS_PUBLIC_URL=" + s.Base(), "UMS_REDIS_URL=" + redis.URL()}
	r := examine(t, doctor.Options{Now: s.Clock.Now}, vars...)
	require.True(t, r.OK, "%+v", r.Findings)
	for check, says := range map[string]string{
		"database": "PostgreSQL ", "roles": "SET ROLE", "migrations": "are applied", "clock": "from this machine's", "connections": "there is room for",
		"master key": "opens what is stored", "mail": "lets us in", "redis": "decides in", "public URL": "answers",
		"client address": "I see your address as 127.0.0.1: the other end of the connection", "CORS": "only pages of", "files": "connections open", "configuration": "development",
	} {
		finds(t, r, check, doctor.OK, says)
	}
	require.Empty(t, s.Mail.Messages())
	finds(t, examine(t, doctor.Options{Now: s.Clock.Now}, append(vars, "UMS_MASTER_KEY=AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,"+apptest.MasterKey)...),
		"master key", doctor.Warn, "a key that is not the first one sealed")
	finds(t, examine(t, doctor.Options{Now: s.Clock.Now}, append(vars, "UMS_MASTER_KEY=AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")...),
		"master key", doctor.Fail, "does not list")
	finds(t, examine(t, doctor.Options{Now: func() time.Time { return s.Clock.Now().Add(time.Hour) }}, vars...), "client address", doctor.Skip, "does not know this doctor")
	run(t, s.DSN, `UPDATE signing_keys SET private_key = set_byte(private_key, 40, 1 - least(get_byte(private_key, 40), 1))`)
	finds(t, examine(t, doctor.Options{Now: s.Clock.Now}, vars...), "master key", doctor.Fail, "signing key")
}

// What a proxy has to do is seen from both of its ends.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trusted string
		forward string // what the proxy writes into X-Forwarded-For
		status  doctor.Status
		says    string
	}{
		"trusted":              {"127.0.0.1", "203.0.113.9", doctor.OK, "as 203.0.113.9: the right-most of 203.0.113.9 → 127.0.0.1"},
		"two hops":             {"127.0.0.1,10.0.0.0/8", "203.0.113.9, 10.1.2.3", doctor.OK, "as 203.0.113.9"},
		"not trusted":          {"", "203.0.113.9", doctor.Fail, "which is a proxy"},
		"another one trusted":  {"10.0.0.0/8", "", doctor.Warn, "none of UMS_TRUSTED_PROXIES"},
		"says nothing":         {"127.0.0.1", "", doctor.Fail, "sends no X-Forwarded-For"},
		"everybody is trusted": {"0.0.0.0/0", "203.0.113.9", doctor.Warn, "every address of"},
		"unreadable":           {"127.0.0.1", "nobody", doctor.Warn, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Env("UMS_TRUSTED_PROXIES="+c.trusted))
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				req, err := http.NewRequestWithContext(r.Context(), r.Method, s.Base()+r.URL.Path, http.NoBody)
				require.NoError(t, err)
				req.Header = r.Header.Clone()
				if c.forward != "" {
					req.Header.Set("X-Forwarded-For", c.forward)
				}
				res, err := http.DefaultTransport.RoundTrip(req)
				require.NoError(t, err)
				defer func() { _ = res.Body.Close() }()
				w.WriteHeader(res.StatusCode)
				_, _ = io.Copy(w, res.Body)
			}))
			t.Cleanup(proxy.Close)
			r := examine(t, doctor.Options{Now: s.Clock.Now}, "UMS_DATABASE_URL="+s.DSN, "UMS_PUBLIC_URL="+proxy.URL, "UMS_TRUSTED_PROXIES="+c.trusted)
			finds(t, r, "client address", c.status, c.says)
		})
	}
}

// Nobody but who has the master key is told, and nothing else is.
func TestProbesAreForTheDoctor(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	for _, probe := range []string{"", "x", strings.Repeat("A", 54)} {
		a := s.With("Ums-Probe", probe).GET(t, "/livez").Want(t, 200)
		require.JSONEq(t, `{"status":"ok"}`, string(a.Body))
	}
}

func TestDatabaseFaults(t *testing.T) {
	t.Parallel()
	none := "postgres://ums:" + hidden + "@127.0.0.1:1/ums"
	r := examine(t, doctor.Options{}, "UMS_DATABASE_URL="+none)
	finds(t, r, "database", doctor.Fail, "UMS_DATABASE_URL: connect")
	finds(t, r, "roles", doctor.Skip, "")
	finds(t, r, "master key", doctor.Skip, "cannot be read")
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+pgtest.URL(t), "UMS_DATABASE_DIRECT_URL="+none), "database", doctor.Fail, "UMS_DATABASE_DIRECT_URL")
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="), "database", doctor.Skip, "its own")

	dsn := pgtest.URL(t)
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+dsn, "UMS_DATABASE_DIRECT_URL="+pgtest.URL(t)), "database", doctor.Fail, "different databases")
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+with(dsn, "default_transaction_read_only", "on")), "database", doctor.Fail, "read-only")
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+dsn, "UMS_DATABASE_DIRECT_URL="+with(dsn, "application_name", "owner")), "roles", doctor.Fail, "not as ums_app")
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+dsn, "UMS_DATABASE_MAX_CONNS=9000"), "connections", doctor.Fail, "room for 0")
	run(t, dsn, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 15', current_database()); END $$`)
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+dsn), "connections", doctor.Warn, "the limit of the database")
	for status, skew := range map[doctor.Status]time.Duration{doctor.Warn: 10 * time.Second, doctor.Fail: -time.Minute} {
		r := examine(t, doctor.Options{Now: func() time.Time { return time.Now().Add(skew) }}, "UMS_DATABASE_URL="+dsn)
		finds(t, r, "clock", status, "from this machine's")
	}
}

func TestRoleAndSchemaFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken string
		status doctor.Status
		check  string
		says   string
		do     string
	}{
		"a right is missing":  {`REVOKE UPDATE, DELETE ON users FROM ums_app`, doctor.Fail, "roles", "lacks rights", "GRANT UPDATE, DELETE ON users TO ums_app"},
		"the log can change":  {`GRANT UPDATE ON audit_events TO ums_app`, doctor.Fail, "roles", "can change the audit log", "REVOKE UPDATE ON audit_events FROM ums_app"},
		"it owns a table":     {`ALTER TABLE roles OWNER TO ums_app`, doctor.Fail, "roles", "owns roles", "OWNER TO"},
		"one is pending":      {`DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)`, doctor.Warn, "migrations", "1 are pending", "ums migrate plan"},
		"a newer one was run": {`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`, doctor.Warn, "migrations", "a newer one has migrated it", "newer binary"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.URL(t)
			run(t, dsn, c.broken)
			f := finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+dsn), c.check, c.status, c.says)
			require.Contains(t, f.Do, c.do)
		})
	}
	// An empty database stays empty.
	dsn := pgtest.EmptyURL(t)
	finds(t, examine(t, doctor.Options{}, "UMS_DATABASE_URL="+dsn), "migrations", doctor.Warn, "are pending (00001_")
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var tables int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`).Scan(&tables))
	require.Zero(t, tables)
}

func TestMailFaults(t *testing.T) {
	t.Parallel()
	open := mailtest.NewServer(t)
	closed := mailtest.NewServer(t, mailtest.WithAuth("ums", "right"))
	for says, u := range map[string]string{
		"connection refused": "smtp://ums:" + hidden + "@127.0.0.1:1?tls=none",
		"STARTTLS":           open.URL() + "?tls=required",
		"AUTH":               strings.Replace(closed.URL(), ":right@", ":"+hidden+"@", 1) + "?tls=none",
	} {
		finds(t, examine(t, doctor.Options{}, "UMS_SMTP_URL="+u), "mail", doctor.Fail, says)
	}
	finds(t, examine(t, doctor.Options{}, "UMS_SMTP_URL="+closed.URL()+"?tls=none"), "mail", doctor.OK, "lets us in")
	open.Fail(mailtest.RefuseConnection, -1)
	finds(t, examine(t, doctor.Options{}, "UMS_SMTP_URL="+open.URL()+"?tls=none"), "mail", doctor.Fail, "421")
	finds(t, examine(t, doctor.Options{}), "mail", doctor.OK, "mailbox")
}

func TestRedisFaults(t *testing.T) {
	t.Parallel()
	finds(t, examine(t, doctor.Options{}, "UMS_REDIS_URL=redis://:"+hidden+"@127.0.0.1:1/0"), "redis", doctor.Fail, "refused")
	full := redistest.Start(t)
	full.Do(t, "CONFIG", "SET", "maxmemory", "100mb")
	full.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	finds(t, examine(t, doctor.Options{}, "UMS_REDIS_URL="+full.URL()), "redis", doctor.Warn, "refuses writes")
	finds(t, examine(t, doctor.Options{}, "UMS_REDIS_URL="+redistest.BlackHole(t)), "redis", doctor.Fail, "")
}

func TestConfigurationFaults(t *testing.T) {
	t.Parallel()
	production := []string{"UMS_ENV=production", "UMS_DATABASE_URL=postgres://ums:" + hidden + "@127.0.0.1:1/ums", "UMS_PUBLIC_URL=https://id.example.test"}
	for name, c := range map[string]struct {
		vars   []string
		check  string
		status doctor.Status
		says   string
	}{
		"a slip of the pen": {[]string{"UMS_PUBLIC_ULR=x"}, "configuration", doctor.Warn, "UMS_PUBLIC_ULR"},
		"weak hashes":       {[]string{"UMS_ARGON2_MEMORY_KIB=64"}, "configuration", doctor.Warn, "OWASP"},
		"guessing":          {[]string{"UMS_RATE_LIMIT_LOGIN=off"}, "configuration", doctor.Warn, "guessed"},
		"no mail":           {nil, "mail", doctor.Fail, "UMS_SMTP_URL is empty"},
		"no master key":     {[]string{"UMS_MASTER_KEY="}, "master key", doctor.Fail, "UMS_MASTER_KEY is not set"},
		"a short key":       {[]string{"UMS_MASTER_KEY=" + hidden}, "master key", doctor.Fail, "base64"},
		"plain HTTP":        {[]string{"UMS_PUBLIC_URL=http://id.example.test"}, "public URL", doctor.Fail, "plain HTTP"},
		"plain links":       {[]string{"UMS_LINK_BASE_URL=http://app.example.test"}, "public URL", doctor.Fail, "UMS_LINK_BASE_URL"},
		"this machine":      {[]string{"UMS_PUBLIC_URL=http://localhost:1"}, "public URL", doctor.Warn, "mailed links"},
		"another host":      {[]string{"UMS_ALLOWED_HOSTS=other.example.test"}, "public URL", doctor.Fail, "421"},
		"nobody there":      {nil, "public URL", doctor.Warn, "does not answer here"},
		"plain origins":     {[]string{"UMS_CORS_ORIGINS=http://app.example.test"}, "CORS", doctor.Warn, "plain HTTP"},
		"local origins":     {[]string{"UMS_CORS_ORIGINS=http://localhost:3000"}, "CORS", doctor.Warn, "any program"},
		"its own origin":    {[]string{"UMS_CORS_ORIGINS=https://id.example.test"}, "CORS", doctor.Warn, "itself"},
		"good origins":      {[]string{"UMS_CORS_ORIGINS=https://a.id.example.test"}, "CORS", doctor.OK, "https://a.id.example.test"},
		"passkeys":          {[]string{"UMS_CORS_ORIGINS=https://app.example.test"}, "passkeys", doctor.Warn, "not on https://app.example.test"},
		"no passkeys":       {[]string{"UMS_PUBLIC_URL=https://192.0.2.7"}, "passkeys", doctor.Warn, "not offered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			finds(t, examine(t, doctor.Options{}, slices.Concat(production, c.vars)...), c.check, c.status, c.says)
		})
	}
	finds(t, examine(t, doctor.Options{}, "UMS_HTTP_ADDR=0.0.0.0:0", "UMS_DEV_REMOTE=true"), "configuration", doctor.Warn, "reads every mail")
	for limit, status := range map[uint64]doctor.Status{100: doctor.Fail, 2000: doctor.Warn, 65536: doctor.OK} {
		finds(t, examine(t, doctor.Options{FileLimit: func() (uint64, error) { return limit, nil }}), "files", status, "")
	}
}

// Development's key is looked at and never made.
func TestDevelopmentKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	finds(t, examine(t, doctor.Options{}, "UMS_MASTER_KEY=", "UMS_DATA_DIR="+dir), "master key", doctor.Skip, "none yet")
	file := filepath.Join(dir, "master.key")
	require.NoFileExists(t, file)
	require.NoError(t, os.WriteFile(file, []byte(apptest.MasterKey), 0o644))
	finds(t, examine(t, doctor.Options{}, "UMS_MASTER_KEY=", "UMS_DATA_DIR="+dir), "master key", doctor.Fail, "chmod 600")
}

// What stands in front is asked as a client does.
func TestPublicURLFaults(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(elsewhere.Close)
	finds(t, examine(t, doctor.Options{}, "UMS_PUBLIC_URL="+elsewhere.URL), "public URL", doctor.Fail, "answers 502")
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	finds(t, examine(t, doctor.Options{}, "UMS_PUBLIC_URL="+untrusted.URL), "public URL", doctor.Fail, "certificate")
}

// with adds a parameter to a URL.
func with(dsn, name, value string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		panic(err) // pgtest made it
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

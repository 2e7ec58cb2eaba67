package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

func TestMigrateByHand(t *testing.T) {
	t.Parallel()
	env := []string{"UMS_DATABASE_URL=" + pgtest.EmptyURL(t)}
	type status struct {
		Pending    int
		Migrations []struct{ Name string }
	}
	read := func(wantCode int) (s status) {
		out, errs, code := run(t, env, "migrate", "status", "--json")
		require.Equal(t, wantCode, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &s), errs)
		return s
	}
	all := read(1)
	require.Greater(t, len(all.Migrations), 5)
	require.Equal(t, len(all.Migrations), all.Pending)

	out, errs, code := run(t, env, "migrate", "up")
	require.Zero(t, code, errs)
	require.Equal(t, all.Pending, strings.Count(out, "applied "))
	require.Zero(t, read(0).Pending)
	out, _, code = run(t, env, "migrate", "up")
	require.Zero(t, code)
	require.Equal(t, "nothing is pending\n", out)

	newest := all.Migrations[len(all.Migrations)-1].Name
	out, errs, code = run(t, env, "migrate", "down")
	require.Zero(t, code, errs)
	require.Equal(t, "took back "+newest+"\n", out)
	out, errs, code = run(t, env, "migrate", "status")
	require.Equal(t, 1, code)
	require.Contains(t, out, newest)
	require.Contains(t, out, "pending")
	require.Equal(t, "ums: 1 migrations are pending; run ums migrate up\n", errs)
	_, errs, code = run(t, env, "migrate", "up")
	require.Zero(t, code, errs)
}

// The plan names each statement and lock, of new tables and of those that are in use, and changes nothing.
func TestMigratePlan(t *testing.T) {
	t.Parallel()
	dsn := pgtest.URL(t)
	env := []string{"UMS_DATABASE_URL=" + dsn}
	out, errs, code := run(t, env, "migrate", "plan")
	require.Zero(t, code, errs)
	require.Equal(t, "nothing is pending\n", out)
	for { // down to where the migration about lists is pending: it has old and new tables, and blocks of code
		out, errs, code = run(t, env, "migrate", "down")
		require.Zero(t, code, errs)
		require.NotEqual(t, "took back nothing\n", out)
		if strings.Contains(out, "00022_finding_people") {
			break
		}
	}
	out, errs, code = run(t, env, "migrate", "plan")
	require.Zero(t, code, errs)
	require.Contains(t, out, "00022_finding_people.sql\n")
	require.Contains(t, out, "      user_search: new\n")
	require.Regexp(t, `(?m)^      ! users \(\d+ rows, \d+ kB\): SHARE, index; writers wait$`, out)
	require.Regexp(t, `(?m)^      ! user_roles \(.*: ACCESS EXCLUSIVE, instant; readers and writers wait, to the end of the migration: index$`, out)
	out, errs, code = run(t, env, "migrate", "plan", "--json")
	require.Zero(t, code, errs)
	var plan struct {
		Pending    int
		Migrations []struct {
			Name        string
			Transaction bool
			Statements  []struct {
				SQL     string
				Effects []struct {
					Table, Lock, Blocks, Takes, Held string
					New                              bool
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &plan), out)
	require.Len(t, plan.Migrations, plan.Pending)
	require.Equal(t, "00022_finding_people.sql", plan.Migrations[0].Name)
	require.True(t, plan.Migrations[0].Transaction)
	last := plan.Migrations[0].Statements[len(plan.Migrations[0].Statements)-1]
	require.Equal(t, "DROP INDEX user_roles_role_id_idx;", last.SQL)
	require.Equal(t, "user_roles", last.Effects[0].Table)
	require.Equal(t, "ACCESS EXCLUSIVE", last.Effects[0].Lock)
	_, _, code = run(t, env, "migrate", "status")
	require.Equal(t, 1, code, "they are pending still")
}

func TestCommands(t *testing.T) {
	t.Parallel()
	t.Run("version", func(t *testing.T) {
		t.Parallel()
		out, _, code := run(t, nil, "version", "--json")
		require.Zero(t, code)
		var v struct{ Version string }
		require.NoError(t, json.Unmarshal([]byte(out), &v))
		plain, _, _ := run(t, nil, "version")
		require.Equal(t, v.Version+"\n", plain)
		flag, _, code := run(t, nil, "--version")
		require.Zero(t, code)
		require.Contains(t, flag, v.Version)
	})
	t.Run("openapi", func(t *testing.T) {
		t.Parallel()
		out, _, code := run(t, nil, "openapi", "--json")
		require.Zero(t, code)
		var contract struct {
			OpenAPI string
			Paths   map[string]any
		}
		require.NoError(t, json.Unmarshal([]byte(out), &contract))
		require.Regexp(t, `^3\.1\.`, contract.OpenAPI)
		require.Contains(t, contract.Paths, "/api/v1/users/me")
		yaml, _, code := run(t, nil, "openapi")
		require.Zero(t, code)
		require.Contains(t, yaml, "\n  /api/v1/users/me:\n")
	})
	t.Run("every command helps by example", func(t *testing.T) {
		t.Parallel()
		for _, command := range []string{
			"", "serve", "migrate", "migrate up", "migrate down", "migrate status", "migrate plan", "admin", "admin create", "keys", "keys rotate", "openapi", "healthcheck", "version", "scan", "restore-finish", "doctor", "completion", "export", "import",
		} {
			out, errs, code := run(t, nil, append(strings.Fields(command), "--help")...)
			require.Zero(t, code, command)
			require.Empty(t, errs, command)
			require.Contains(t, out, "Examples:\n  ", command)
		}
	})
	t.Run("wrong calls", func(t *testing.T) {
		t.Parallel()
		nowhere := filepath.Join(t.TempDir(), "users.ndjson")
		for _, c := range []struct {
			call string
			code int
			says string
		}{
			{"nonsense", 2, "nonsense"},
			{"serve now", 2, "now"},
			{"--nope", 2, "--nope"},
			{"migrate sideways", 2, "sideways"},
			{"migrate up --json", 2, "--json"},
			{"admin create", 2, "--email"},
			{"scan", 2, "one path"},
			{"scan a b", 2, "one path"},
			{"scan /no/such/tree", 1, "/no/such/tree"},
			{"admin create --email", 2, "--email"},
			{"migrate up", 1, "UMS_DATABASE_URL"},
			{"admin create --email a@b.test", 1, "UMS_DATABASE_URL"},
			{"keys rotate", 1, "UMS_DATABASE_URL"},
			{"keys rotate soon", 2, "soon"},
			{"restore-finish", 1, "UMS_DATABASE_URL"},
			{"restore-finish now", 2, "now"},
			{"export", 2, "one file"},
			{"export a b", 2, "one file"},
			{"export --json -", 2, "--json"},
			{"export " + nowhere, 1, "UMS_DATABASE_URL"},
			{"import", 2, "one file"},
			{"import --from ldap x", 2, "--from"},
			{"import --on-conflict replace x", 2, "--on-conflict"},
			{"import --from csv --delimiter ;; x", 2, "--delimiter"},
			{"import --from csv --column mail=E-Mail x", 2, "--column"},
			{"import --column email=E-Mail x", 2, "--column"},
			{"import --superuser-role admin x", 2, "--superuser-role"},
			{"import --assume-verified x", 2, "--assume-verified"},
			{"import /no/such/file", 1, "/no/such/file"},
			{"doctor now", 2, "now"},
			{"completion", 2, "bash"},
			{"completion powershell", 2, "bash"},
		} {
			out, errs, code := run(t, nil, strings.Fields(c.call)...)
			require.Equal(t, c.code, code, c.call)
			require.Empty(t, out, c.call)
			oneLine(t, errs, c.says)
			if code == 2 {
				require.Contains(t, errs, "--help", c.call)
			}
		}
	})
	t.Run("a database that is not there", func(t *testing.T) {
		t.Parallel()
		env := []string{"UMS_DATABASE_URL=postgres://somebody:hidden-password@127.0.0.1:1/none", "UMS_MASTER_KEY=" + masterKey, "UMS_DATA_DIR=" + t.TempDir()}
		for _, call := range [][]string{{"migrate", "status"}, {"migrate", "up"}, {"admin", "create", "--email", "a@b.test"}} {
			_, errs, code := run(t, env, call...)
			require.Equal(t, 1, code, call)
			oneLine(t, errs, "")
			require.NotContains(t, errs, "hidden-password")
		}
	})
}

// TestServeRefuses is what the service does not start with: it says so in one line and shows no secret.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	mail := mailtest.NewServer(t)
	production := []string{
		"UMS_ENV=production", "UMS_HTTP_ADDR=127.0.0.1:0", "UMS_ADMIN_ADDR=127.0.0.1:0", "UMS_DATA_DIR=" + t.TempDir(),
		"UMS_DATABASE_URL=postgres://ums:hidden-password@127.0.0.1:1/ums", "UMS_MASTER_KEY=" + masterKey, "UMS_SMTP_URL=" + mail.URL(),
	}
	for name, c := range map[string]struct {
		more []string
		says []string
	}{
		"no database":        {[]string{"UMS_DATABASE_URL="}, []string{"UMS_DATABASE_URL"}},
		"no master key":      {[]string{"UMS_MASTER_KEY="}, []string{"UMS_MASTER_KEY"}},
		"no mail server":     {[]string{"UMS_SMTP_URL="}, []string{"UMS_SMTP_URL"}},
		"a known password":   {[]string{"UMS_BOOTSTRAP_ADMIN_EMAIL=a@b.test", "UMS_BOOTSTRAP_ADMIN_PASSWORD=hidden-password"}, []string{"UMS_BOOTSTRAP_ADMIN_PASSWORD"}},
		"several at once":    {[]string{"UMS_DATABASE_URL=", "UMS_REGISTRATION=maybe", "UMS_ACCESS_TOKEN_TTL=soon"}, []string{"UMS_REGISTRATION", "UMS_ACCESS_TOKEN_TTL"}},
		"no environment":     {[]string{"UMS_ENV=staging"}, []string{"UMS_ENV"}},
		"development abroad": {[]string{"UMS_ENV=development", "UMS_HTTP_ADDR=0.0.0.0:0"}, []string{"UMS_HTTP_ADDR", "UMS_DEV_REMOTE"}},
		"a short key":        {[]string{"UMS_MASTER_KEY=hidden-password"}, []string{"UMS_MASTER_KEY"}},
		"a path":             {[]string{"UMS_PUBLIC_URL=https://x.test/ums"}, []string{"UMS_PUBLIC_URL"}},
		"no URL":             {[]string{"UMS_DATABASE_URL=postgres://ums:hidden-password@[/x"}, []string{"UMS_DATABASE_URL"}},
		"a taken port":       {[]string{"UMS_HTTP_ADDR=" + strings.TrimPrefix(mail.URL(), "smtp://")}, []string{"UMS_HTTP_ADDR"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, errs, code := run(t, append(production, c.more...), "serve")
			require.Equal(t, 1, code, out)
			for _, says := range c.says {
				oneLine(t, errs, says)
			}
			require.NotContains(t, errs+out, "hidden-password")
		})
	}
}

func oneLine(t *testing.T, errs, says string) {
	t.Helper()
	require.Regexp(t, `^ums: [^\n]+\n$`, errs)
	require.Contains(t, errs, says)
}

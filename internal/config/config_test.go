package config

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table in docs/operations/configuration.md anew")

// variable is an entry of .env.example.
type variable struct{ group, meaning, name, value string }

// example reads .env.example: groups, and in each a line of meaning before every variable.
func example(t *testing.T) []variable {
	t.Helper()
	text, err := os.ReadFile("../../.env.example")
	require.NoError(t, err)
	var found []variable
	var group, meaning string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if name, value, ok := strings.Cut(strings.TrimPrefix(line, "#"), "="); ok && strings.HasPrefix(name, "UMS_") {
			found = append(found, variable{group, meaning, name, value})
			meaning = ""
		} else if title, ok := strings.CutPrefix(line, "## "); ok {
			group = title
		} else {
			meaning = strings.TrimPrefix(line, "# ")
		}
	}
	return found
}

// defaults returns the variables with the defaults that the code gives them.
func defaults(t reflect.Type, into map[string]string) {
	for f := range t.Fields() {
		if name := f.Tag.Get("env"); name != "" && name != "-" {
			into[name] = f.Tag.Get("envDefault")
		} else if f.Type.Kind() == reflect.Struct {
			defaults(f.Type, into)
		}
	}
}

func TestExampleAgreesWithTheCode(t *testing.T) {
	t.Parallel()
	code := map[string]string{}
	defaults(reflect.TypeFor[Config](), code)
	secrets := map[string]bool{}
	for _, section := range (&Config{}).sections() {
		maps.Copy(secrets, variables(reflect.TypeOf(section).Elem()))
	}
	var names, assignments []string
	for _, v := range example(t) {
		names = append(names, v.name)
		assignments = append(assignments, v.name+"="+v.value)
		require.NotEmpty(t, v.group, v.name)
		require.NotEmpty(t, v.meaning, "%s needs a line that says what it means", v.name)
		require.LessOrEqual(t, len([]rune(v.meaning)), 130, v.name)
		require.Equal(t, code[v.name], v.value, "default of %s", v.name)
		require.Equal(t, secrets[v.name], strings.HasSuffix(v.meaning, " Secret."), "%s is a secret or is not", v.name)
	}
	slices.Sort(names)
	require.Equal(t, Names(), names)

	// A copy with everything uncommented changes nothing.
	bare, _, err := Load(nil)
	require.NoError(t, err)
	full, unknown, err := Load(assignments)
	require.NoError(t, err)
	require.Empty(t, unknown)
	require.Equal(t, bare, full)
}

// TestReferencePage holds the operators' page against .env.example: go test ./internal/config -run ReferencePage -update
func TestReferencePage(t *testing.T) {
	t.Parallel()
	const (
		page  = "../../docs/operations/configuration.md"
		begin = "<!-- from .env.example: begin -->\n"
		end   = "<!-- end -->\n"
	)
	var b strings.Builder
	group := ""
	for _, v := range example(t) {
		if v.group != group {
			group = v.group
			fmt.Fprintf(&b, "\n### %s\n\n| variable | default | meaning |\n|---|---|---|\n", group)
		}
		value := ""
		if v.value != "" {
			value = "`" + v.value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.name, value, v.meaning)
	}
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok)
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(before+begin+b.String()+"\n"+end+after), 0o644))
		return
	}
	require.Equal(t, b.String()+"\n", table, "run: go test ./internal/config -run ReferencePage -update")
}

// production is an environment that production accepts.
func production(more ...string) []string {
	return append([]string{"UMS_ENV=production", "UMS_DATABASE_URL=postgres://ums@db/ums"}, more...)
}

func TestEveryFaultNamesItsVariable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environ []string
		says    string
	}{
		{[]string{"UMS_ENV=test"}, "UMS_ENV:"},
		{[]string{"UMS_DEV_REMOTE=perhaps"}, "UMS_DEV_REMOTE:"},
		{[]string{"UMS_DATABASE_MAX_CONNS=many"}, "UMS_DATABASE_MAX_CONNS:"},
		{[]string{"UMS_PUBLIC_URL=localhost:8080"}, "UMS_PUBLIC_URL must be"},
		{[]string{"UMS_PUBLIC_URL=ftp://localhost"}, "UMS_PUBLIC_URL must be"},
		{[]string{"UMS_PUBLIC_URL=https://id.example.com/auth"}, "UMS_PUBLIC_URL:"},
		{[]string{"UMS_PUBLIC_URL=https://id.example.com/?a=b"}, "UMS_PUBLIC_URL must be"},
		{[]string{"UMS_LINK_BASE_URL=javascript:alert(1)"}, "UMS_LINK_BASE_URL must be"},
		{[]string{"UMS_RATE_LIMIT_ADDRESS=600"}, "UMS_RATE_LIMIT_ADDRESS:"},
		{[]string{"UMS_RATE_LIMIT_CALLER=1/forever"}, "UMS_RATE_LIMIT_CALLER:"},
		{[]string{"UMS_RATE_LIMIT_LOGIN=0/0s"}, "UMS_RATE_LIMIT_LOGIN:"},
		{[]string{"UMS_TRUSTED_PROXIES=10.0.0.0/8,proxy"}, "UMS_TRUSTED_PROXIES:"},
		{[]string{"UMS_CORS_ORIGINS=https://*.example.com"}, "UMS_CORS_ORIGINS:"},
		{[]string{"UMS_ALLOWED_HOSTS=https://id.example.com"}, "UMS_ALLOWED_HOSTS:"},
		{[]string{"UMS_LOG_LEVEL=loud"}, "UMS_LOG_LEVEL:"},
		{[]string{"UMS_LOG_FORMAT=xml"}, "UMS_LOG_FORMAT:"},
		{[]string{"UMS_TOKEN_ALGORITHM=HS256"}, "UMS_TOKEN_ALGORITHM"},
		{[]string{"UMS_ACCESS_TOKEN_TTL=5"}, "UMS_ACCESS_TOKEN_TTL:"},
		{[]string{"UMS_REFRESH_IDLE_TTL=8760h"}, "UMS_REFRESH_IDLE_TTL"},
		{[]string{"UMS_API_KEY_DEFAULT_TTL=9000h"}, "UMS_API_KEY_DEFAULT_TTL"},
		{[]string{"UMS_PASSWORD_MIN_LENGTH=3"}, "UMS_PASSWORD_MIN_LENGTH"},
		{[]string{"UMS_ARGON2_MEMORY_KIB=1"}, "UMS_ARGON2_MEMORY_KIB"},
		{[]string{"UMS_REGISTRATION=perhaps"}, "UMS_REGISTRATION"},
		{[]string{"UMS_EMAIL_VERIFICATION=no"}, "UMS_EMAIL_VERIFICATION"},
		{[]string{"UMS_DELETION_GRACE=-1h"}, "UMS_DELETION_GRACE"},
		{[]string{"UMS_BOOTSTRAP_ADMIN_PASSWORD=x"}, "UMS_BOOTSTRAP_ADMIN_EMAIL"},
		{[]string{"UMS_MASTER_KEY_FILE=/does/not/exist"}, "UMS_MASTER_KEY_FILE:"},
		// The shortcuts of development are for this machine alone.
		{[]string{"UMS_HTTP_ADDR=0.0.0.0:8080"}, "UMS_HTTP_ADDR:"},
		{[]string{"UMS_HTTP_ADDR=:8080"}, "UMS_HTTP_ADDR:"},
		{[]string{"UMS_HTTP_ADDR=[::]:8080"}, "UMS_HTTP_ADDR:"},
		{[]string{"UMS_HTTP_ADDR=192.0.2.7:8080"}, "UMS_HTTP_ADDR:"},
		{[]string{"UMS_ENV=production"}, "UMS_DATABASE_URL is required in production"},
		{
			production("UMS_BOOTSTRAP_ADMIN_EMAIL=a@b.test", "UMS_BOOTSTRAP_ADMIN_PASSWORD=correct horse battery"),
			"UMS_BOOTSTRAP_ADMIN_PASSWORD works in development only",
		},
	} {
		t.Run(strings.Join(c.environ, " "), func(t *testing.T) {
			t.Parallel()
			_, _, err := Load(c.environ)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{
		nil,
		{"UMS_HTTP_ADDR=127.0.0.1:0"},
		{"UMS_HTTP_ADDR=[::1]:8080"},
		{"UMS_HTTP_ADDR=localhost:8080"},
		{"UMS_HTTP_ADDR=0.0.0.0:8080", "UMS_DEV_REMOTE=true"},
		{"UMS_LINK_BASE_URL=https://app.example.com/account/"},
		production("UMS_HTTP_ADDR=0.0.0.0:8080", "UMS_BOOTSTRAP_ADMIN_EMAIL=a@b.test"),
	} {
		_, unknown, err := Load(environ)
		require.NoError(t, err, environ)
		require.Empty(t, unknown)
	}
}

func TestValuesArrive(t *testing.T) {
	t.Parallel()
	c, unknown, err := Load([]string{
		"UMS_RATE_LIMIT_ADDRESS=off", "UMS_RATE_LIMIT_LOGIN=5/1h", "UMS_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.7",
		"UMS_TOKEN_AUDIENCES=a,b", "UMS_PUBLIC_URL=https://id.example.com/", "UMS_REFRESH_GRACE=3s", "UMS_ENV=",
		"UMS_DATABSE_URL=a slip of the pen", "UMS_TEST_DATABASE_URL=for tests", "UMS_POSTGRES_BIN=/usr/bin", "HOME=/root",
	})
	require.NoError(t, err)
	require.True(t, c.Edge.RateLimit.Address.Off())
	require.Equal(t, 5, c.Throttle.Login.Limit)
	require.Equal(t, time.Hour, c.Throttle.Login.Window)
	require.Len(t, c.Edge.TrustedProxies, 2)
	require.Equal(t, []string{"a", "b"}, c.Tokens.Audiences)
	require.Equal(t, "https://id.example.com", c.Service.PublicURL, "an issuer has one spelling")
	require.Equal(t, 3*time.Second, c.Sessions.Grace)
	require.True(t, c.Service.Development(), "an empty variable is an unset one")
	require.Positive(t, c.Database.MaxConns)
	require.Equal(t, []string{"UMS_DATABSE_URL"}, unknown)
}

func TestAllFaultsAreInOneError(t *testing.T) {
	t.Parallel()
	_, _, err := Load([]string{
		"UMS_RATE_LIMIT_LOGIN=often", "UMS_TRUSTED_PROXIES=proxy", "UMS_ARGON2_ITERATIONS=0", "UMS_REGISTRATION=x",
		"UMS_SMTP_URL_FILE=/does/not/exist", "UMS_ACCESS_TOKEN_TTL=soon",
	})
	for _, name := range []string{
		"UMS_RATE_LIMIT_LOGIN", "UMS_TRUSTED_PROXIES", "UMS_ARGON2_ITERATIONS", "UMS_REGISTRATION", "UMS_SMTP_URL_FILE", "UMS_ACCESS_TOKEN_TTL",
	} {
		require.ErrorContains(t, err, name)
	}
	_, _, err = Load([]string{"UMS_ENV=production", "UMS_BOOTSTRAP_ADMIN_PASSWORD=x", "UMS_PUBLIC_URL=x", "UMS_TOKEN_ALGORITHM=none"})
	for _, name := range []string{"UMS_DATABASE_URL", "UMS_BOOTSTRAP_ADMIN_EMAIL", "UMS_PUBLIC_URL", "UMS_TOKEN_ALGORITHM"} {
		require.ErrorContains(t, err, name)
	}
}

func TestSecretsComeFromFilesToo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("from a file, with = and space \r\n"), 0o600))
	secrets := 0
	for _, section := range (&Config{}).sections() {
		for name, isSecret := range variables(reflect.TypeOf(section).Elem()) {
			if !isSecret {
				_, unknown, err := Load([]string{name + "_FILE=" + file})
				require.NoError(t, err)
				require.Equal(t, []string{name + "_FILE"}, unknown, "only secrets are read from files")
				continue
			}
			secrets++
			_, _, err := Load([]string{"UMS_BOOTSTRAP_ADMIN_EMAIL=a@b.test", name + "_FILE=" + file})
			require.NoError(t, err, name)
			_, _, err = Load([]string{name + "=a", name + "_FILE=" + file})
			require.ErrorContains(t, err, name+" and "+name+"_FILE are both set")
		}
	}
	require.Equal(t, 7, secrets)
	c, _, err := Load([]string{"UMS_SMTP_URL_FILE=" + file})
	require.NoError(t, err)
	require.Equal(t, "from a file, with = and space ", c.Mail.SMTPURL.Reveal(), "only the end of the line is cut")
}

// TestNoSecretIsShown sets every secret, and breaks all else, so that each path to an error message is taken.
func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	const mark = "zvsecretzv"
	environ := []string{"UMS_ENV=production"}
	broken := []string{"UMS_PUBLIC_URL=https://user:" + mark + "@id.example.com", "UMS_LINK_BASE_URL=https://user:" + mark + "@id.example.com"}
	for _, section := range (&Config{}).sections() {
		for name, isSecret := range variables(reflect.TypeOf(section).Elem()) {
			switch {
			case isSecret:
				environ = append(environ, name+"="+mark)
			case !regexp.MustCompile(`UMS_(ENV|PUBLIC_URL|LINK_BASE_URL)$`).MatchString(name):
				broken = append(broken, name+"=\x00")
			}
		}
	}
	_, _, err := Load(slices.Concat(environ, broken))
	require.Error(t, err)
	require.NotContains(t, err.Error(), mark)
	_, _, err = Load(slices.Concat(environ, broken[:2]))
	require.ErrorContains(t, err, "UMS_PUBLIC_URL")
	require.NotContains(t, err.Error(), mark)

	c, _, err := Load([]string{"UMS_DATABASE_URL=" + mark, "UMS_MASTER_KEY=" + mark, "UMS_SMTP_URL=" + mark})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", c, *c, *c), mark)
}

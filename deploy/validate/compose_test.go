// Package validate_test reads the files of deployments with the programs that they are for: compose-go, kustomize, and the
// types of the Kubernetes API. `make check-deploy` runs it; the module is its own.
package validate_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// operators is what docker-compose.production.yml asks of its operator.
var operators = map[string]string{
	"UMS_PUBLIC_URL":        "https://id.example.com",
	"UMS_SMTP_URL":          "smtps://user:password@mail.example.com:465",
	"UMS_MAIL_FROM":         "Example <no-reply@example.com>",
	"UMS_MASTER_KEY":        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"POSTGRES_PASSWORD":     "owner",
	"POSTGRES_APP_PASSWORD": "app",
}

func environ(env map[string]string) []string {
	var vars []string
	for name, value := range env {
		vars = append(vars, name+"="+value)
	}
	return vars
}

// load reads a compose file, or several with colons between, as `docker compose` does: the schema, the variables, references between the parts.
func load(t *testing.T, file string, env map[string]string, profiles ...string) (*types.Project, error) {
	t.Helper()
	var files []string
	for name := range strings.SplitSeq(file, ":") {
		files = append(files, filepath.Join(root, name))
	}
	o, err := cli.NewProjectOptions(files, cli.WithEnv(environ(env)), cli.WithProfiles(profiles))
	require.NoError(t, err)
	return o.LoadProject(t.Context())
}

func TestComposeForProduction(t *testing.T) {
	t.Parallel()
	p, err := load(t, "docker-compose.production.yml", operators)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"ums", "postgres"}, p.ServiceNames(), "Redis is for several replicas")
	ums := p.Services["ums"]
	require.True(t, ums.ReadOnly)
	require.Equal(t, []string{"ALL"}, ums.CapDrop)
	require.Contains(t, ums.SecurityOpt, "no-new-privileges:true")
	require.Equal(t, "service_healthy", ums.DependsOn["postgres"].Condition)
	require.NotEqual(t, *ums.Environment["UMS_DATABASE_URL"], *ums.Environment["UMS_DATABASE_DIRECT_URL"], "the owner migrates, the service works as another")
	require.NotContains(t, ums.Environment, "UMS_ENV", "the image says production")
	loopbackOnly(t, p)

	gateway := netip.MustParsePrefix(p.Networks["default"].Ipam.Config[0].Subnet).Masked().Addr().Next()
	require.Equal(t, gateway.String(), *ums.Environment["UMS_TRUSTED_PROXIES"], "whom the service believes is from where a proxy on the machine calls")

	p, err = load(t, "docker-compose.production.yml", operators, "replicas")
	require.NoError(t, err)
	require.Contains(t, p.ServiceNames(), "redis")
	require.NotNil(t, p.Services["redis"].HealthCheck)
}

func TestComposeAsksForWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name := range operators {
		env := map[string]string{}
		for other, value := range operators {
			if other != name {
				env[other] = value
			}
		}
		_, err := load(t, "docker-compose.production.yml", env)
		require.ErrorContains(t, err, name, "an operator who forgets it must learn so before anything starts")
	}
}

func TestComposeForALookAsksForNothing(t *testing.T) {
	t.Parallel()
	p, err := load(t, "docker-compose.yml", nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"ums", "postgres"}, p.ServiceNames(), "what make run starts")
	require.Equal(t, "development", *p.Services["ums"].Environment["UMS_ENV"])
	loopbackOnly(t, p)

	p, err = load(t, "docker-compose.yml:docker-compose.dev.yml", nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"ums", "postgres", "mail", "redis"}, p.ServiceNames())
	require.Contains(t, p.Services["ums"].DependsOn, "postgres", "what docker-compose.yml says holds on")
	loopbackOnly(t, p)
}

// TestComposePassesOnWhatIsInDotEnv: compose reads .env for the references in the file alone, and a setting that nothing
// refers to would silently be none.
func TestComposePassesOnWhatIsInDotEnv(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"docker-compose.yml", "docker-compose.production.yml"} {
		folder := t.TempDir()
		file, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), file, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(folder, ".env"), []byte("UMS_REGISTRATION=closed\nUMS_PASSKEY_RP_ID=example.com\n"), 0o600))
		o, err := cli.NewProjectOptions([]string{filepath.Join(folder, name)}, cli.WithEnv(environ(operators)))
		require.NoError(t, err)
		p, err := o.LoadProject(t.Context())
		require.NoError(t, err)
		require.Equal(t, "closed", *p.Services["ums"].Environment["UMS_REGISTRATION"], name)
		require.Equal(t, "example.com", *p.Services["ums"].Environment["UMS_PASSKEY_RP_ID"], name)
	}
}

// loopbackOnly: a port that is published on all addresses passes by the host's firewall.
func loopbackOnly(t *testing.T, p *types.Project) {
	t.Helper()
	for name, s := range p.Services {
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, name)
		}
		require.False(t, strings.HasSuffix(s.Image, ":latest"), name)
		require.False(t, s.Privileged, name)
	}
}

// Package deploy_test holds the packaging against the program: no container engine is needed.
package deploy_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

type compose struct {
	Services map[string]struct {
		Image       string               `yaml:"image"`
		Build       map[string]string    `yaml:"build"`
		Environment map[string]string    `yaml:"environment"`
		Volumes     []string             `yaml:"volumes"`
		Ports       []string             `yaml:"ports"`
		DependsOn   map[string]yaml.Node `yaml:"depends_on"`
	} `yaml:"services"`
	Volumes map[string]yaml.Node `yaml:"volumes"`
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	require.NoError(t, err)
	return string(b)
}

// run runs a command in a folder and returns its standard output.
func run(t *testing.T, folder, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = folder
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s %s\n%s%s", name, strings.Join(args, " "), errs.String(), out.String())
	return out.Bytes()
}

// documented returns the variables of .env.example, set or commented out.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:# ?)?(UMS_[A-Z0-9_]+)=`).FindAllStringSubmatch(read(t, ".env.example"), -1) {
		known[m[1]] = true
	}
	require.NotEmpty(t, known)
	return known
}

func TestComposeFilesHoldTogether(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"docker-compose.yml", "docker-compose.production.yml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c compose
			require.NoError(t, yaml.Unmarshal([]byte(read(t, name)), &c))
			require.Contains(t, c.Services, "ums")
			for service, s := range c.Services {
				require.NotEmpty(t, s.Image, service)
				for other := range s.DependsOn {
					require.Contains(t, c.Services, other, service)
				}
				for _, v := range s.Volumes {
					source, _, _ := strings.Cut(v, ":")
					if strings.HasPrefix(source, "./") {
						require.DirExists(t, filepath.Join("..", source), service)
					} else {
						require.Contains(t, c.Volumes, source, service)
					}
				}
				for _, p := range s.Ports {
					require.Regexp(t, `^127\.0\.0\.1:`, p, "a published port would pass by the host's firewall: %s", service)
				}
			}
		})
	}
}

func TestPackagingNamesKnownVariablesOnly(t *testing.T) {
	t.Parallel()
	known := documented(t)
	for _, name := range []string{
		"docker-compose.yml", "docker-compose.dev.yml", "docker-compose.production.yml", "Dockerfile", "deploy/kubernetes/base/ums.env", "deploy/kubernetes/base/deployment.yaml",
		"deploy/kubernetes/autoscaling/kustomization.yaml", "deploy/kubernetes/example/kustomization.yaml",
		"deploy/systemd/ums.service", "deploy/systemd/ums.env", "deploy/nginx/ums.conf",
	} {
		for _, variable := range regexp.MustCompile(`\bUMS_[A-Z0-9_]+[A-Z0-9]`).FindAllString(read(t, name), -1) {
			require.True(t, known[strings.TrimSuffix(variable, "_FILE")], "%s names %s, which .env.example does not know", name, variable)
		}
	}
}

package deploy_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/user-management-service/ums/internal/config"
)

// secrets is what an operator gives to a deployment, by the names of the files that hold it.
var secrets = map[string]string{
	"database-url":        "postgres://ums_app:app@db.example.com/ums",
	"database-direct-url": "postgres://ums:owner@db.example.com/ums",
	"master-key":          "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"smtp-url":            "smtps://user:password@mail.example.com:465",
}

// operators is what an operator of the compose file gives.
var operators = map[string]string{
	"UMS_PUBLIC_URL": "https://id.example.com", "UMS_MASTER_KEY": secrets["master-key"], "UMS_SMTP_URL": secrets["smtp-url"],
	"UMS_MAIL_FROM": "Example <no-reply@example.com>", "POSTGRES_PASSWORD": "owner", "POSTGRES_APP_PASSWORD": "app",
}

// TestTheServiceTakesTheSettingsOfEachDeployment reads them as the service does: a value that it refuses, a secret whose
// file nothing mounts, or a variable that nothing reads stops a deployment, or silently does not do what it says.
func TestTheServiceTakesTheSettingsOfEachDeployment(t *testing.T) {
	t.Parallel()
	image := map[string]string{}
	for _, m := range regexp.MustCompile(`(UMS_[A-Z_]+)=(\S+)`).FindAllStringSubmatch(read(t, "Dockerfile"), -1) {
		image[m[1]] = m[2]
	}
	require.Equal(t, "production", image["UMS_ENV"])
	for name, settings := range map[string]map[string]string{
		"docker-compose.yml":            over(image, composed(t, "docker-compose.yml")),
		"docker-compose.production.yml": over(image, composed(t, "docker-compose.production.yml")),
		"kubernetes, migrate":           over(image, kubernetes(t, 0)),
		"kubernetes, serve":             over(image, kubernetes(t, 1)),
		"systemd":                       systemd(t),
		"systemd, umsctl":               umsctl(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var environ []string
			for variable, value := range settings {
				environ = append(environ, variable+"="+value)
			}
			cfg, unknown, err := config.Load(environ)
			require.NoError(t, err)
			require.Empty(t, unknown, "nothing reads these")
			require.True(t, cfg.Database.TwoURLs(), "the service works as a role that owns nothing")
			if name == "docker-compose.yml" {
				require.True(t, cfg.Service.Development())
				return
			}
			require.False(t, cfg.Service.Development())
			require.NotEqual(t, "no-reply@localhost", settings["UMS_MAIL_FROM"])
			require.True(t, strings.HasPrefix(cfg.Service.PublicURL, "https://"))
		})
	}
}

func over(below, above map[string]string) map[string]string {
	all := maps.Clone(below)
	maps.Copy(all, above)
	return all
}

// composed returns the variables of the service in a compose file, those of its operator filled in.
func composed(t *testing.T, name string) map[string]string {
	t.Helper()
	var c compose
	require.NoError(t, yaml.Unmarshal([]byte(read(t, name)), &c))
	env := c.Services["ums"].Environment
	require.NotEmpty(t, env)
	given := regexp.MustCompile(`\$\{([A-Z_]+)(?::[?-][^}]*)?\}`)
	for variable, value := range env {
		env[variable] = given.ReplaceAllStringFunc(value, func(reference string) string {
			return operators[given.FindStringSubmatch(reference)[1]]
		})
	}
	return env
}

type container struct {
	Env          []struct{ Name, Value string }
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

// kubernetes returns the variables of one of the pod's containers, with its secrets where the pod mounts them: in a folder
// of the test, under the same names.
func kubernetes(t *testing.T, which int) map[string]string {
	t.Helper()
	var d struct {
		Spec struct {
			Template struct {
				Spec struct {
					InitContainers []container `yaml:"initContainers"`
					Containers     []container
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy/kubernetes/base/deployment.yaml")), &d))
	all := slices.Concat(d.Spec.Template.Spec.InitContainers, d.Spec.Template.Spec.Containers)
	require.Len(t, all, 2)
	c := all[which]
	require.Equal(t, "secrets", c.VolumeMounts[0].Name)
	env, files := lines(t, "deploy/kubernetes/base/ums.env"), secretFiles(t)
	for _, e := range c.Env {
		if strings.HasPrefix(e.Name, "UMS_") {
			env[e.Name] = strings.Replace(e.Value, c.VolumeMounts[0].MountPath, files, 1)
		}
	}
	return env
}

// systemd returns the variables of the unit, with its credentials where systemd would put them.
func systemd(t *testing.T) map[string]string {
	t.Helper()
	unit := read(t, "deploy/systemd/ums.service")
	env, files := lines(t, "deploy/systemd/ums.env"), secretFiles(t)
	for _, m := range regexp.MustCompile(`(?m)^LoadCredential=([a-z-]+):/etc/ums/credentials/([a-z-]+)$`).FindAllStringSubmatch(unit, -1) {
		require.Equal(t, m[1], m[2])
		require.Contains(t, secrets, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^Environment=(.+)$`).FindAllStringSubmatch(unit, -1) {
		for assignment := range strings.FieldsSeq(m[1]) {
			name, value, _ := strings.Cut(assignment, "=")
			if file, ok := strings.CutPrefix(value, "%d/"); ok {
				require.Contains(t, unit, "LoadCredential="+file+":", "nothing loads it")
			}
			env[name] = strings.NewReplacer("%d", files, "%S", "/var/lib").Replace(value)
		}
	}
	return env
}

// umsctl returns the variables that the operator's commands get.
func umsctl(t *testing.T) map[string]string {
	t.Helper()
	folder := t.TempDir()
	script := strings.NewReplacer(
		"/etc/ums/ums.env", filepath.Join(folder, "ums.env"), "/etc/ums/credentials", secretFiles(t), "exec /usr/local/bin/ums", "exec",
	).Replace(read(t, "deploy/systemd/umsctl"))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ums.env"), []byte(read(t, "deploy/systemd/ums.env")), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "umsctl"), []byte(script), 0o600))
	env := map[string]string{}
	for line := range strings.Lines(string(run(t, folder, "sh", "umsctl", "env"))) {
		if name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); strings.HasPrefix(name, "UMS_") && !strings.HasPrefix(name, "UMS_TEST_") {
			env[name] = value
		}
	}
	return env
}

// lines reads a file of variables, as systemd and kustomize do: comments apart, quotes cut.
func lines(t *testing.T, name string) map[string]string {
	t.Helper()
	env := map[string]string{}
	for line := range strings.Lines(read(t, name)) {
		if variable, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(variable, "#") {
			env[variable] = strings.Trim(value, `"`)
		}
	}
	require.NotEmpty(t, env)
	return env
}

func secretFiles(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, value := range secrets {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(value+"\n"), 0o600))
	}
	return folder
}

// TestNginxStreamsWhatTheServiceStreams holds nginx's one list of paths against the contract: a stream that nginx collects
// stands still or is cut, and another path on the list would lose its limits.
func TestNginxStreamsWhatTheServiceStreams(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile(`location ~ (\S+) \{`).FindAllStringSubmatch(read(t, "deploy/nginx/ums.conf"), -1)
	require.Len(t, m, 1)
	listed := regexp.MustCompile(m[0][1])
	var contract struct {
		Paths map[string]map[string]struct {
			RequestBody struct {
				Content map[string]yaml.Node
			} `yaml:"requestBody"`
			OperationID string `yaml:"operationId"`
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "api/openapi.yaml")), &contract))
	require.NotEmpty(t, contract.Paths)
	for path, operations := range contract.Paths {
		streams := false
		for _, o := range operations {
			_, lines := o.RequestBody.Content["application/x-ndjson"]
			streams = streams || lines || strings.HasPrefix(o.OperationID, "export")
		}
		if !strings.HasPrefix(path, "/api/") {
			path = "/api/v1" + path
		}
		require.Equal(t, streams, listed.MatchString(regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(path, "01990000-0000-7000-8000-000000000000")), path)
	}
}

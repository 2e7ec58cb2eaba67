package deploy_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// TestWorkflowsTrustNoMoreThanTheyMust: an action is named by its commit, since a tag is moved by whoever takes it over, and
// no job writes anything but those that publish.
func TestWorkflowsTrustNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../.github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	uses := regexp.MustCompile(`(?m)^\s+(?:- )?uses: (.+)$`)
	pinned := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$|^\./\.github/workflows/\w+\.yml$`)
	publishing := map[string]bool{"publish": true, "image": true}
	for _, file := range files {
		text := read(t, filepath.Join(".github/workflows", filepath.Base(file)))
		for _, m := range uses.FindAllStringSubmatch(text, -1) {
			require.Regexp(t, pinned, m[1], file)
		}
		var w struct {
			Permissions map[string]string
			Jobs        map[string]struct {
				Permissions map[string]string
				Timeout     int    `yaml:"timeout-minutes"`
				Uses        string // another workflow, which has timeouts of its own
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(text), &w))
		require.Equal(t, map[string]string{"contents": "read"}, w.Permissions, file)
		for name, job := range w.Jobs {
			require.True(t, job.Timeout > 0 || job.Uses != "", "%s of %s may hang for six hours", name, file)
			for what, right := range job.Permissions {
				require.True(t, right == "read" || filepath.Base(file) == "release.yml" && publishing[name], "%s of %s may write %s", name, file, what)
			}
		}
	}
}

func TestTheReleaseHasNotes(t *testing.T) {
	t.Parallel()
	require.Contains(t, string(run(t, "..", "scripts/changelog", "v0.1.0-rc.1")), "### Added", "a prerelease tells what is unreleased")
	require.Error(t, exec.CommandContext(t.Context(), "../scripts/changelog", "v9999.0.0").Run(), "a release without a section in the changelog stops")
}

// TestTheImageIsBuiltByTheProjectsGo holds the Dockerfile's Go against go.mod's: an older one would fetch another, or fail.
func TestTheImageIsBuiltByTheProjectsGo(t *testing.T) {
	t.Parallel()
	minor := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	require.NotNil(t, minor)
	require.Contains(t, read(t, "Dockerfile"), " golang:"+minor[1]+" AS build")
}

package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArchitectureNamesEveryPackage holds the section on who owns what against the folders: a package without a place in
// it is one that nobody finds.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	_, section, ok := strings.Cut(read(t, "development/architecture.md"), "## Who owns what\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, layer := range []string{"domain", "platform"} {
		folders, err := os.ReadDir(filepath.Join("..", "internal", layer))
		require.NoError(t, err)
		for _, f := range folders {
			require.Contains(t, section, "`"+f.Name()+"`", "internal/%s/%s has no place in docs/development/architecture.md", layer, f.Name())
		}
	}
}

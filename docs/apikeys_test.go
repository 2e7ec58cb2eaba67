package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/token"
)

// TestPatternsForScanners runs the expressions of the manual: they find every key that the service makes, and nothing
// that cannot be one.
func TestPatternsForScanners(t *testing.T) {
	t.Parallel()
	page := read(t, filepath.Join("user", "api_keys.md"))
	gitleaks := regexp.MustCompile("regex = '''(.+)'''").FindStringSubmatch(page)
	github := regexp.MustCompile("(?s)```regex\n(.+?)\n```").FindStringSubmatch(page)
	require.NotNil(t, gitleaks)
	require.NotNil(t, github)
	// The conditions that GitHub puts around a pattern when nothing else is said.
	bounded := `(?:\A|[^0-9A-Za-z])(` + github[1] + `)(?:\z|[^0-9A-Za-z])`
	for name, pattern := range map[string]*regexp.Regexp{
		"gitleaks": regexp.MustCompile(`(` + gitleaks[1] + `)`), "github": regexp.MustCompile(bounded),
	} {
		for range 200 {
			for _, environment := range []token.Environment{token.Live, token.Test} {
				key := token.NewAPIKey(environment).Text.Reveal()
				for _, text := range []string{key, `"` + key + `"`, "KEY=" + key + "\n", "https://x.test/?key=" + key + "&a=1", key + "."} {
					m := pattern.FindStringSubmatch(text)
					require.NotNil(t, m, "%s does not find %s", name, text)
					require.Equal(t, key, m[1])
				}
				for _, text := range []string{
					key[:len(key)-1], key + "0", "ums_prod_" + key[9:], strings.ToUpper(key[:9]) + key[9:], key[:20] + "-" + key[21:],
					key[:31] + "-" + key[32:], key[:9] + key[10:], "sk_live_" + key[9:],
				} {
					require.False(t, pattern.MatchString(text), "%s finds %s", name, text)
				}
			}
		}
	}
}

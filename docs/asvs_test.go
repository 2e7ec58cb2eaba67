package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sections are the chapters of ASVS 5.0.0 that the table must cover: how many requirements each section has.
var sections = map[string]int{
	"6.1": 3, "6.2": 12, "6.3": 8, "6.4": 6, "6.5": 8, "6.6": 4, "6.7": 2, "6.8": 4,
	"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2,
	"8.1": 4, "8.2": 4, "8.3": 3, "8.4": 2,
	"9.1": 3, "9.2": 4,
	"16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 4,
}

// TestASVSTableHolds reads the table of requirements as an auditor does: each has a row, and each row names tests that
// are there. A case id such as MFA-01 is a test whose name begins with TestMFA01.
func TestASVSTableHolds(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	row := regexp.MustCompile(`(?m)^\| (\d+\.\d+\.\d+) \| ([123]) \| ([^|]+) \| ([^|]+) \|$`)
	held := regexp.MustCompile("^(?:([A-Z]+)-([0-9]{2})|`(Test[A-Za-z0-9_]+)`)$")
	var seen []string
	for _, m := range row.FindAllStringSubmatch(read(t, "operations/security.md"), -1) {
		seen = append(seen, m[1])
		for name := range strings.SplitSeq(m[4], ", ") {
			h := held.FindStringSubmatch(name)
			require.NotNil(t, h, "%s: %q is neither a case id nor a test", m[1], name)
			there := slices.Contains(tests, h[3])
			if h[1] != "" {
				there = slices.ContainsFunc(tests, func(n string) bool { return strings.HasPrefix(n, "Test"+h[1]+h[2]) })
			}
			require.True(t, there, "%s is held by %s, which does not exist", m[1], name)
		}
	}
	for section, n := range sections {
		for i := range n {
			id := fmt.Sprintf("%s.%d", section, i+1)
			require.Equal(t, 1, count(seen, id), "%s stands in the table", id)
		}
	}
}

func count(all []string, s string) (n int) {
	for _, a := range all {
		if a == s {
			n++
		}
	}
	return n
}

// testNames lists the test functions of the whole tree.
func testNames(t *testing.T) []string {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	var names []string
	require.NoError(t, filepath.WalkDir("../internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range function.FindAllStringSubmatch(string(source), -1) {
			names = append(names, m[1])
		}
		return nil
	}))
	require.NotEmpty(t, names)
	return names
}

package docs_test

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/migrations"
)

// These tables are what the code says: go test ./docs -run Tables -update writes them anew, and so does make generate.

const end = "<!-- end -->\n"

// table holds the part of a page between two marks against what it should be.
func table(t *testing.T, page, begin, want string) {
	t.Helper()
	begin = "<!-- from " + begin + ": begin -->\n"
	text := read(t, page)
	before, rest, ok := strings.Cut(text, begin)
	require.True(t, ok, "%s lacks %s", page, begin)
	is, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "%s lacks %s", page, end)
	want = "\n" + want + "\n"
	if *update && is != want {
		require.NoError(t, os.WriteFile(page, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Equal(t, want, is, "%s is not fresh: run make generate", page)
}

func TestTablesOfErrors(t *testing.T) {
	var b strings.Builder
	status := 0
	for _, e := range problem.Catalogue() {
		if e.Status != status {
			if status != 0 {
				b.WriteString("\n")
			}
			status = e.Status
			fmt.Fprintf(&b, "### %d %s\n\n| code | means | do |\n|---|---|---|\n", status, http.StatusText(status))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Code, e.Meaning, e.Action)
	}
	table(t, "api/errors.md", "internal/httpapi/problem/catalogue.go", b.String())
}

func TestTablesOfRoutes(t *testing.T) {
	routes, err := httpapi.Surface()
	require.NoError(t, err)
	groups := map[string]string{
		"auth": "Signing in", "users": "Users", "profiles": "Profiles", "roles": "Roles", "permissions": "Permissions", "authz": "Decisions",
		"api-keys": "API keys", "audit-events": "Audit log",
	}
	var b strings.Builder
	for _, group := range order(routes) {
		title := groups[group]
		if title == "" {
			title = strings.ToUpper(group[:1]) + strings.ReplaceAll(group[1:], "-", " ")
		}
		fmt.Fprintf(&b, "### %s\n\n| call | | needs | refusals recorded as | limits |\n|---|---|---|---|---|\n", title)
		for _, r := range routes {
			if first(r.Path) != group {
				continue
			}
			about := r.Summary
			if r.Idempotent {
				about += " ↻"
			}
			action := ""
			if r.Action != "" {
				action = "`" + r.Action + "`"
			}
			fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s | %s |\n", r.Method, r.Path, about, r.Policy, action, strings.Join(r.Limits(), ", "))
		}
		b.WriteString("\n")
	}
	table(t, "api/routes.md", "internal/httpapi/routes.go", strings.TrimSuffix(b.String(), "\n"))
}

func first(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return name
}

// order is that of the code.
func order(routes []*httpapi.Route) (groups []string) {
	for _, r := range routes {
		if g := first(r.Path); !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}

func TestTablesOfPermissions(t *testing.T) {
	routes, err := httpapi.Surface()
	require.NoError(t, err)
	used := map[string][]string{}
	for _, r := range routes {
		for _, m := range regexp.MustCompile("`([a-z_]+:[a-z_]+)`").FindAllStringSubmatch(r.Policy.String(), -1) {
			used[m[1]] = append(used[m[1]], "`"+r.Method+" "+r.Path+"`")
		}
	}
	var b strings.Builder
	b.WriteString("| permission | allows to | calls that ask for it |\n|---|---|---|\n")
	names := map[string]bool{}
	for _, p := range builtin(t) {
		names[p[0]] = true
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p[0], strings.ToLower(p[1][:1])+p[1][1:], strings.Join(used[p[0]], ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		require.True(t, names[name], "a route asks for %s, which no migration registers", name)
	}
	table(t, "api/roles.md", "migrations", b.String())
}

// builtin reads the permissions that the migrations register, in their order.
func builtin(t *testing.T) (found [][2]string) {
	t.Helper()
	files, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	row := regexp.MustCompile(`\('([a-z_]+:[a-z_]+)', '((?:[^']|'')*)', true\)`)
	for _, name := range files {
		text, err := fs.ReadFile(migrations.FS, name)
		require.NoError(t, err)
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		for _, m := range row.FindAllStringSubmatch(up, -1) {
			found = append(found, [2]string{m[1], strings.ReplaceAll(m[2], "''", "'")})
		}
	}
	require.NotEmpty(t, found)
	return found
}

// Package internal_test holds the tree against the house rules that a compiler does not know: which way imports point,
// where HTTP and SQL may be spoken, how long a file is and what it must not be called.
package internal_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const module = "github.com/user-management-service/ums/"

const (
	maxLines     = 500
	maxTestLines = 800
)

// layers from the top. A folder may import what stands below its own line.
var layers = [][]string{
	{"cmd", "internal/e2e", "internal", "deploy", "docs"}, // of the last three tests, and of docs examples
	{"internal/app"},
	{"internal/config"},
	{"internal/httpapi"},
	{"internal/domain"},
	{"internal/platform"},
	{"migrations", "api"}, // files to embed, and below api what other programs import
}

// nouns is the order inside domain: each imports only earlier lines. Two that need each other tell that a flow is
// missing, which goes into account or auth.
var nouns = [][]string{
	{"actor"},
	{"audit"},
	{"throttle"},
	{"signing"},
	{"notify"},
	{"role"},
	{"user"},
	{"profile", "session", "mfa", "passkey", "onetime", "apikey"},
	{"access"},
	{"account"},
	{"auth", "bulk", "transfer", "upkeep"},
}

// nameless names say that nobody knows what the file is about.
var nameless = []string{"utils", "util", "common", "helpers", "helper", "models", "types"}

func TestTreeKeepsTheHouseRules(t *testing.T) {
	t.Parallel()
	require.Empty(t, faults(t, os.DirFS("..")))
}

// TestEachRuleCanFail shows for every rule a tree that breaks it and, beside it, one that does not.
func TestEachRuleCanFail(t *testing.T) {
	t.Parallel()
	lines := func(n int) string { return "package p\n" + strings.Repeat("\n", n-1) }
	for _, c := range []struct{ name, file, source, fault string }{
		{"httpapi above domain", "internal/domain/user/service.go", ours("internal/httpapi"), "imports internal/httpapi, which is not below it"},
		{"domain below httpapi", "internal/httpapi/users.go", ours("internal/domain/user"), ""},
		{"domain above platform", "internal/platform/page/page.go", ours("internal/domain/actor"), "imports internal/domain/actor"},
		{"config above httpapi", "internal/httpapi/server.go", ours("internal/config"), "imports internal/config"},
		{"app above config", "internal/config/config.go", ours("internal/app"), "imports internal/app"},
		{"cmd above app", "internal/app/app.go", ours("cmd/ums"), "imports cmd/ums"},
		{"platform imports platform", "internal/platform/mail/mail.go", ours("internal/platform/id"), ""},
		{"later noun", "internal/domain/role/service.go", ours("internal/domain/user"), "imports internal/domain/user, which is not before it"},
		{"noun beside", "internal/domain/session/service.go", ours("internal/domain/onetime"), "imports internal/domain/onetime"},
		{"earlier noun", "internal/domain/user/service.go", ours("internal/domain/role"), ""},
		{"noun without a place", "internal/domain/team/team.go", ours(), "has no place among the nouns"},
		{"folder without a layer", "pkg/thing/thing.go", ours(), "is in no layer"},
		{"tests start the whole service", "internal/httpapi/users_test.go", ours("internal/app/apptest"), ""},
		{"migrations on a database", "migrations/migrations_test.go", ours("internal/platform/postgres"), ""},
		{"migrations stand alone", "migrations/embed.go", ours("internal/platform/postgres"), "imports internal/platform/postgres"},
		{"only tests do", "internal/httpapi/users.go", ours("internal/app/apptest"), "imports internal/app/apptest"},

		{"HTTP in domain", "internal/domain/auth/login.go", std("net/http"), "speaks HTTP (net/http)"},
		{"HTTP in platform", "internal/platform/mail/http.go", std("net/http/httptrace"), "speaks HTTP"},
		{"huma in domain", "internal/domain/user/user.go", std("github.com/danielgtaylor/huma/v2"), "speaks HTTP"},
		{"HTTP in what others import", "api/client/verify/key.go", std("net/http"), ""},
		{"what others import stands alone", "api/client/verify/key.go", ours("internal/platform/token"), "imports internal/platform/token"},
		{"and is light", "api/client/verify/key.go", std("github.com/golang-jwt/jwt/v5"), "is no part of the standard library"},
		{"an example of it", "docs/examples/thing/main.go", ours("api/client/verify"), ""},
		{"HTTP in app", "internal/app/run.go", std("net/http"), ""},
		{"HTTP in a test", "internal/platform/mail/mail_test.go", std("net/http"), ""},

		{"pgx in a service", "internal/domain/user/service.go", std("github.com/jackc/pgx/v5"), "speaks SQL"},
		{"pgx in a handler", "internal/httpapi/repository.go", std("github.com/jackc/pgx/v5"), "speaks SQL"},
		{"pgx in a repository", "internal/domain/user/repository_list.go", std("github.com/jackc/pgx/v5"), ""},
		{"pgx below postgres", "internal/platform/postgres/pgtest/pgtest.go", std("github.com/jackc/pgx/v5/pgconn"), ""},

		{"long file", "internal/domain/user/user.go", lines(maxLines + 1), "has 501 lines"},
		{"not too long", "internal/domain/user/user.go", lines(maxLines), ""},
		{"long test", "internal/domain/user/user_test.go", lines(maxTestLines + 1), "has 801 lines"},
		{"generated", "internal/domain/user/names.go", "// Code generated by a tool. DO NOT EDIT.\n" + lines(maxLines+1), ""},
		{"file without a subject", "internal/domain/user/types.go", ours(), "is called types"},
		{"test without a subject", "internal/domain/user/helpers_test.go", ours(), "is called helpers"},
		{"package without a subject", "internal/platform/utils/time.go", ours(), "is called utils"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := faults(t, fstest.MapFS{c.file: {Data: []byte(c.source)}})
			if c.fault == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Contains(t, got[0], c.fault)
		})
	}
}

// ours is the source of a file that imports packages of this module; std one that imports any others.
func ours(paths ...string) string {
	for i := range paths {
		paths[i] = module + paths[i]
	}
	return std(paths...)
}

func std(paths ...string) string {
	var b strings.Builder
	b.WriteString("package p\n")
	for _, p := range paths {
		fmt.Fprintf(&b, "import _ %q\n", p)
	}
	return b.String()
}

// faults lists what breaks a rule, in the order of the files.
func faults(t *testing.T, tree fs.FS) []string {
	t.Helper()
	var found []string
	require.NoError(t, fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(tree, name, d.Name()):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		for _, fault := range check(name, f, bytes.Count(source, []byte("\n"))) {
			found = append(found, name+" "+fault)
		}
		return nil
	}))
	return found
}

// skipped folders hold no code of this module: what git ignores, and modules of their own.
func skipped(tree fs.FS, name, base string) bool {
	if name == "." {
		return false
	}
	if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil {
		return true
	}
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || slices.Contains([]string{"tmp", "bin", "dist", "node_modules", "testdata"}, base)
}

func check(name string, f *ast.File, lines int) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	folder, base := path.Dir(name), strings.TrimSuffix(path.Base(name), ".go")
	isTest := strings.HasSuffix(base, "_test")
	base = strings.TrimSuffix(base, "_test")

	limit := maxLines
	if isTest {
		limit = maxTestLines
	}
	if lines > limit && !ast.IsGenerated(f) {
		say("has %d lines; at %d split it by use case", lines, limit)
	}
	for _, part := range append(strings.Split(folder, "/"), base) {
		if slices.Contains(nameless, part) {
			say("is called %s, which says nothing; name what it is about", part)
		}
	}

	own := layer(folder)
	if own < 0 {
		say("is in no layer; see docs/development/architecture.md")
		return found
	}
	if noun(folder) < 0 && strings.HasPrefix(folder, "internal/domain/") {
		say("has no place among the nouns; give it one in internal/layers_test.go")
		return found
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			say("has an import that is no string: %s", spec.Path.Value)
			continue
		}
		switch target, mine := strings.CutPrefix(imported, module); {
		case mine && isTest && target == "internal/app/apptest":
			// The whole service, for any test.
		case mine && isTest && own == len(layers)-1:
			// What is only embedded is tried by what embeds it.
		case mine && layer(target) < own:
			say("imports %s, which is not below it", target)
		case mine && layer(target) == own && noun(target) >= noun(folder) && noun(target) >= 0 && target != folder:
			say("imports %s, which is not before it", target)
		case within(folder, "api/client") && !isTest:
			if !mine && within(folder, "api/client/verify") && strings.Contains(imported, ".") {
				say("imports %s, which is no part of the standard library; it is a burden to those who import this", imported)
			}
		case speaksHTTP(imported) && !isTest && own > layer("internal/httpapi"):
			say("speaks HTTP (%s); that is for httpapi, app and cmd", imported)
		case strings.HasPrefix(imported, "github.com/jackc/pgx/") && !isTest && !mayUsePgx(folder, base):
			say("speaks SQL (%s); that is for repository*.go, platform/postgres and platform/jobs", imported)
		}
	}
	return found
}

// layer is the line of the layers that a folder belongs to, or -1. The folder internal stands for itself alone.
func layer(folder string) int {
	return slices.IndexFunc(layers, func(line []string) bool {
		return slices.ContainsFunc(line, func(top string) bool {
			return folder == top || top != "internal" && within(folder, top)
		})
	})
}

// noun is the line of the nouns that a folder belongs to, or -1.
func noun(folder string) int {
	rest, ok := strings.CutPrefix(folder, "internal/domain/")
	if !ok {
		return -1
	}
	name, _, _ := strings.Cut(rest, "/")
	return slices.IndexFunc(nouns, func(line []string) bool { return slices.Contains(line, name) })
}

func speaksHTTP(imported string) bool {
	return slices.ContainsFunc([]string{"net/http", "github.com/go-chi/chi", "github.com/danielgtaylor/huma"}, func(p string) bool {
		return within(imported, p)
	})
}

// within says whether a path is that folder, or below it.
func within(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

func mayUsePgx(folder, base string) bool {
	if within(folder, "internal/platform/postgres") || within(folder, "internal/platform/jobs") {
		return true
	}
	below := layer(folder) >= layer("internal/domain")
	return below && strings.HasPrefix(base, "repository")
}

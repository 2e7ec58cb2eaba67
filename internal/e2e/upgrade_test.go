//go:build rehearsal

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// F-16: the version before works on the new schema, with the new version beside it, and alone again after a step back. No request
// fails meanwhile. The version before is the newest tag; until there is one, the newest commit with an earlier schema.
func TestRehearsal_F16_Upgrade(t *testing.T) {
	t.Parallel()
	commit := versionBefore(t)
	if commit == "" {
		t.Log("no tag and no commit with an earlier schema is in this copy of the history: there is nothing to upgrade from")
		return
	}
	program := built(t, commit)
	mail, dsn := mailtest.NewServer(t), pgtest.EmptyURL(t)
	env := environment(t, dsn, mail)
	before := launchAs(t, program, dsn, mail, env)
	before.Client = before.Foreign()
	before.waitReady(t)
	schema := func() string { return before.text(t, `SELECT max(version_id)::text FROM goose_db_version`) }
	old := schema()
	admin := before.admin(t)
	_, ada := before.person(t, admin, "ada@example.com")
	key := ada.POST(t, "/api-keys", doc{"name": "build", "environment": "live", "scopes": []string{"me:read"}}).Want(t, 201).String(t, "key")
	before.secret(key)

	work := traffic(before, admin, "ada@example.com")
	after := launch(t, dsn, mail, append(env, "UMS_DATA_DIR="+t.TempDir()))
	after.waitReady(t)
	t.Logf("schema %s of %s, then %s", old, commit, schema())
	require.NotEqual(t, old, schema())

	// What one issues the other takes, in both directions.
	ada.at(after).GET(t, "/users/me").Want(t, 200)
	ada = after.tokens(t, after.POST(t, "/auth/refresh", doc{"refresh_token": ada.refresh}))
	ada.at(before).GET(t, "/users/me").Want(t, 200)
	ada = before.tokens(t, before.POST(t, "/auth/refresh", doc{"refresh_token": ada.refresh}))
	after.Bearer(key).GET(t, "/users/me").Want(t, 200)
	bobID, bob := after.person(t, after.admin(t), "bob@example.com")
	bob.at(before).PATCH(t, "/users/me", doc{"display_name": "Bob"}).Want(t, 200)
	before.signIn(t, "bob@example.com", apptest.Password).GET(t, "/users/me").Want(t, 200)
	before.register(t, "cyd@example.com", apptest.Password)
	token := mail.WaitFor(t, "cyd@example.com", 1).Token()
	after.POST(t, "/auth/email/verify", doc{"token": token, "password": apptest.Password}).Want(t, 204)
	before.signIn(t, "cyd@example.com", apptest.Password).at(after).GET(t, "/users/me").Want(t, 200)
	admin.at(after).POST(t, "/users/"+bobID+"/suspend", doc{"reason": "rehearsal"}).Want(t, 200)
	before.login(t, "bob@example.com", apptest.Password).Want(t, 403)

	both := traffic(after, after.admin(t), "ada@example.com")
	eventually(t, "both have worked for a while", func() bool { return both.count() > 100 && work.count() > 100 })
	both.end(t)
	require.NoError(t, after.stop(t)) // the step back
	ada.at(before).GET(t, "/users/me").Want(t, 200)
	again := launchAs(t, program, dsn, mail, append(env, "UMS_DATA_DIR="+t.TempDir())) // it starts anew, too
	again.Client = again.Foreign()
	again.waitReady(t)
	ada.at(again).GET(t, "/users/me").Want(t, 200)
	work.end(t)
}

func git(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err == nil
}

// versionBefore names the commit to upgrade from, "" when this copy of the history has none.
func versionBefore(t *testing.T) string {
	t.Helper()
	here, _ := git(t, "tag", "--points-at", "HEAD")
	tags, _ := git(t, "tag", "--merged", "HEAD", "--list", "v*", "--sort=-version:refname")
	for tag := range strings.Lines(tags) {
		if tag = strings.TrimSpace(tag); !strings.Contains(here, tag) {
			return tag
		}
	}
	changed, _ := git(t, "log", "--format=%H", "--", "migrations/*.sql")
	current, _ := git(t, "ls-tree", "HEAD", "migrations/")
	for commit := range strings.Lines(changed) {
		commit = strings.TrimSpace(commit) + "^"
		files, ok := git(t, "ls-tree", commit, "migrations/")
		if ok && earlier(files, current) {
			return commit
		}
	}
	return ""
}

// earlier says whether the migrations of one tree are the first ones of the other, unchanged.
func earlier(files, current string) bool {
	sql := func(list string) (lines []string) {
		for line := range strings.Lines(list) {
			if strings.HasSuffix(strings.TrimSpace(line), ".sql") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	a, b := sql(files), sql(current)
	return len(a) > 0 && len(a) < len(b) && strings.Join(a, "\n") == strings.Join(b[:len(a)], "\n")
}

// built compiles the tree of a commit.
func built(t *testing.T, commit string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir := t.TempDir()
	archive := exec.CommandContext(ctx, "git", "archive", "--format=tar", commit)
	archive.Dir = "../.."
	tree, err := archive.Output()
	require.NoError(t, err)
	unpack := exec.CommandContext(ctx, "tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(tree)
	require.NoError(t, unpack.Run())
	program := filepath.Join(dir, "ums-before")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./cmd/ums")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=-buildvcs=false")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// load is people at work until it ends.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	good   int
	failed []string
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good + len(l.failed)
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.done.Wait()
	t.Logf("%d requests at work", l.count())
	require.Empty(t, l.failed)
}

// traffic signs in, reads, lists and writes at p, from two connections.
func traffic(p *process, admin *signedIn, email string) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	calls := []func() (*apptest.Answer, error){
		func() (*apptest.Answer, error) { a, _, err := admin.Try("GET", "/users/me", nil); return a, err },
		func() (*apptest.Answer, error) { a, _, err := admin.Try("GET", "/users?limit=5", nil); return a, err },
		func() (*apptest.Answer, error) {
			a, _, err := p.Try("POST", "/auth/login", doc{"email": email, "password": apptest.Password})
			return a, err
		},
		func() (*apptest.Answer, error) {
			a, _, err := admin.Try("PATCH", "/users/me", doc{"display_name": fmt.Sprint("Admin ", time.Now().UnixNano())})
			return a, err
		},
	}
	for range 2 {
		l.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				a, err := calls[i%len(calls)]()
				l.mu.Lock()
				switch {
				case err != nil:
					l.failed = append(l.failed, err.Error())
				case a.Status != 200:
					l.failed = append(l.failed, fmt.Sprintf("%d %s", a.Status, a.Body))
				default:
					l.good++
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

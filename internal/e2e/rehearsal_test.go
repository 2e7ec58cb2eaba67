//go:build rehearsal

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/embeddedpg"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// What docs/operations/backup.md says, done: a backup is made of a service at work, more happens, the database is restored
// beside it, and ums restore-finish decides what may live. They need PostgreSQL's client programs: make test-rehearsal.

// tool finds one of PostgreSQL's client programs, beside the server's if it can.
func tool(t *testing.T, name string) string {
	t.Helper()
	if dir, err := embeddedpg.Find(); err == nil {
		if path := filepath.Join(dir, name); exec.Command(path, "--version").Run() == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	require.NoError(t, err, "%s is needed (Debian: apt install postgresql-client)", name)
	return path
}

func execute(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool(t, name), args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}

// life is who was there when the backup was made, and what has happened since.
type life struct {
	stayed, left, late *signedIn // signed in and still so; signed out after the backup; signed in after it
	mailed             string    // a link of before
	key, keyLeft       string    // API keys: one that stayed, one that was revoked after the backup
	keyLeftID          string
	fingerprint        string // of the log at the moment of the backup
}

const logFingerprint = `SELECT count(*) || ' ' || coalesce(md5(string_agg(e::text || coalesce(p::text, ''), '' ORDER BY e.id, p.subject_role)), '')
	FROM audit_events e LEFT JOIN audit_personal p ON p.event_id = e.id AND p.event_time = e.time`

func (p *process) text(t *testing.T, sql string) (s string) {
	t.Helper()
	require.NoError(t, p.db(t).QueryRow(t.Context(), sql).Scan(&s))
	return s
}

func (p *process) liveBefore(t *testing.T) *life {
	t.Helper()
	l := &life{}
	_, l.stayed = p.person(t, p.admin(t), "ada@example.com")
	l.left = p.signIn(t, "ada@example.com", apptest.Password)
	p.POST(t, "/auth/password/forgot", doc{"email": "ada@example.com"}).Want(t, 202)
	l.mailed = p.mail.WaitFor(t, "ada@example.com", 1).Token()
	for _, key := range []*string{&l.key, &l.keyLeft} {
		a := l.stayed.POST(t, "/api-keys", doc{"name": "build", "environment": "live", "scopes": []string{"me:read"}}).Want(t, 201)
		*key, l.keyLeftID = a.String(t, "key"), a.String(t, "id")
		p.secret(*key)
	}
	l.fingerprint = p.text(t, logFingerprint)
	return l
}

func (p *process) liveAfter(t *testing.T, l *life) {
	t.Helper()
	l.left.POST(t, "/auth/logout", nil).Want(t, 204)
	l.late = p.signIn(t, "ada@example.com", apptest.Password)
	l.stayed.DELETE(t, "/api-keys/"+l.keyLeftID).Want(t, 204)
	p.POST(t, "/auth/password/reset", doc{"token": l.mailed, "new_password": "another harbour keeps quiet"}).Want(t, 204)
	refused(t, 401, func() *apptest.Answer { return l.left.GET(t, "/users/me") })
}

// restored is the life after a restore: first without restore-finish, to show what it is for; then with it.
func restored(t *testing.T, dsn string, mail *mailtest.Server, l *life) {
	t.Helper()
	env := environment(t, dsn, mail)
	p := launch(t, dsn, mail, env)
	p.waitReady(t)
	require.Equal(t, l.fingerprint, p.text(t, logFingerprint+` WHERE e.time <= (SELECT max(time) FROM audit_events WHERE action = 'api_key.create')`),
		"the log is there up to the backup")
	l.left.at(p).GET(t, "/users/me").Want(t, 200)        // it was signed out, and lives again
	p.Bearer(l.keyLeft).GET(t, "/users/me").Want(t, 200) // it was revoked
	l.late.at(p).GET(t, "/users/me").Want(t, 401)        // it is of a session that the backup does not know
	require.NoError(t, p.stop(t))

	began := time.Now()
	out, errs, code := run(t, env, "restore-finish", "--json")
	require.Zero(t, code, errs)
	t.Logf("restore-finish: %s", time.Since(began).Round(time.Millisecond))
	var report struct {
		Accounts, Sessions int
		APIKeys            struct{ Alive, Revoked int } `json:"api_keys"`
		SigningKeys        struct{ Replaced []string }  `json:"signing_keys"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report), out)
	require.Equal(t, 2, report.Accounts)
	require.GreaterOrEqual(t, report.Sessions, 3)
	require.Equal(t, 2, report.APIKeys.Alive)
	require.Len(t, report.SigningKeys.Replaced, 1)
	require.Contains(t, ask(t, dsn, `SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
		WHERE datname = current_database() AND setrole = 'ums_app'::regrole`), "statement_timeout=5s", "a dump does not carry it")
	out, errs, code = run(t, env, "restore-finish")
	require.Zero(t, code, errs)
	require.Contains(t, out, "2 are alive")

	q := launch(t, dsn, mail, env)
	q.waitReady(t)
	for name, who := range map[string]*signedIn{"before": l.stayed, "revoked": l.left, "after": l.late} {
		who.at(q).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		q.POST(t, "/auth/refresh", doc{"refresh_token": who.refresh}).Want(t, 401)
		t.Log("refused:", name)
	}
	q.POST(t, "/auth/password/reset", doc{"token": l.mailed, "new_password": "another harbour keeps quiet"}).Want(t, 400, "invalid_token")
	q.Bearer(l.key).GET(t, "/users/me").Want(t, 200)
	q.signIn(t, "ada@example.com", apptest.Password).GET(t, "/users/me").Want(t, 200)
	require.Len(t, q.admin(t).events(t, "action", "restore.finish"), 2)

	_, errs, code = run(t, env, "restore-finish", "--revoke-api-keys")
	require.Zero(t, code, errs)
	refused(t, 401, func() *apptest.Answer { return q.Bearer(l.key).GET(t, "/users/me") })
}

// A dump is made of a service at work and comes back in another database.
func TestRehearsal_F25_Dump(t *testing.T) {
	t.Parallel()
	p := start(t)
	l := p.liveBefore(t)
	file := filepath.Join(t.TempDir(), "ums.dump")
	execute(t, "pg_dump", "--format=custom", "--file="+file, p.dsn)
	p.liveAfter(t, l)
	target := pgtest.EmptyURL(t)
	execute(t, "pg_restore", "--exit-on-error", "--single-transaction", "--dbname="+target, file)
	restored(t, target, p.mail, l)
}

// A base backup and the archived log bring the database to a moment that is named afterwards: before a mistake.
func TestRehearsal_F25_PointInTime(t *testing.T) {
	t.Parallel()
	base := spacious(t)
	server, dsn := cluster(t, filepath.Join(base, "server"), nil)
	archive := filepath.Join(base, "archive")
	owner := ownerOf(t, filepath.Join(server.Dir(), "cluster"))
	require.NoError(t, os.Mkdir(archive, 0o755))
	require.NoError(t, os.Lchown(archive, int(owner.Uid), int(owner.Gid)))
	ask(t, dsn, `ALTER SYSTEM SET archive_mode = on`)
	ask(t, dsn, fmt.Sprintf(`ALTER SYSTEM SET archive_command = 'cp %%p %s/%%f'`, archive))
	require.NoError(t, server.Stop(t.Context()))
	server, dsn = cluster(t, filepath.Join(base, "server"), nil)

	mail := mailtest.NewServer(t)
	p := launch(t, dsn, mail, environment(t, dsn, mail))
	p.waitReady(t)
	backup := filepath.Join(base, "restored", "cluster")
	require.NoError(t, os.MkdirAll(filepath.Dir(backup), 0o711))
	u, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	execute(t, "pg_basebackup", "--host="+u.Host, fmt.Sprintf("--port=%d", u.Port), "--username="+u.User, "--checkpoint=fast", "--wal-method=none", "--no-sync", "--pgdata="+backup)
	l := p.liveBefore(t) // after the base backup: it is in the archive alone
	ask(t, dsn, `SELECT pg_create_restore_point('before the mistake')`)
	p.liveAfter(t, l)
	ask(t, dsn, `DELETE FROM users`) // the mistake
	last := ask(t, dsn, `SELECT pg_walfile_name(pg_switch_wal())`)
	eventually(t, "the log is archived", func() bool {
		return ask(t, dsn, `SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver`) >= last
	})
	require.NoError(t, p.stop(t))
	require.NoError(t, server.Stop(t.Context()))

	began := time.Now()
	settings := fmt.Sprintf("restore_command = 'cp %s/%%f %%p'\nrecovery_target_name = 'before the mistake'\nrecovery_target_action = promote\narchive_mode = off\n", archive)
	conf, err := os.OpenFile(filepath.Join(backup, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = conf.WriteString(settings)
	require.NoError(t, err)
	require.NoError(t, conf.Close())
	require.NoError(t, os.WriteFile(filepath.Join(backup, "recovery.signal"), nil, 0o600))
	_, dsn = cluster(t, filepath.Join(base, "restored"), owner)
	eventually(t, "the recovery has ended", func() bool { return ask(t, dsn, `SELECT pg_is_in_recovery()`) == "false" })
	t.Logf("base backup and log to a running database: %s", time.Since(began).Round(time.Millisecond))
	restored(t, dsn, mail, l)
}

// spacious is a folder that the user who runs PostgreSQL can enter, when that is not this one.
func spacious(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ums-rehearsal-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// cluster starts a server in dir until the test ends. What is there already comes to belong to owner, if there is one.
func cluster(t *testing.T, dir string, owner *syscall.Stat_t) (s *embeddedpg.Server, dsn string) {
	t.Helper()
	if owner != nil {
		require.NoError(t, filepath.Walk(filepath.Join(dir, "cluster"), func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, int(owner.Uid), int(owner.Gid))
		}))
	}
	s, err := embeddedpg.Start(t.Context(), embeddedpg.Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Stop(context.Background()) }) // it may have been stopped
	return s, s.URL()
}

func ownerOf(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t)
}

// ask runs one statement and returns the first value of its answer, as text.
func ask(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	defer rows.Close()
	var first string
	if rows.Next() {
		values, err := rows.Values()
		require.NoError(t, err)
		first = strings.TrimSpace(fmt.Sprint(values[0]))
	}
	rows.Close()
	require.NoError(t, rows.Err())
	return first
}

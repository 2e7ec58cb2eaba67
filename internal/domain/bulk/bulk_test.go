package bulk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/bulk"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

type bench struct {
	*bulk.Service
	t  testing.TB
	db *postgres.Pool

	asked asked
}

// asked counts statements and copies.
type asked struct{ atomic.Int64 }

func (a *asked) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	a.Add(1)
	return ctx
}

func (*asked) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (a *asked) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	a.Add(1)
	return ctx
}

func (*asked) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}

func start(t testing.TB, limits ...bulk.Limits) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b := &bench{t: t}
	db, err := postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 8, Tracer: &b.asked,
	}, log)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	ring, err := keyring.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(t, err)
	queue, err := jobs.New(db, jobs.Config{}, log, nil)
	require.NoError(t, err)
	now := clock.NewFake(time.Now())
	accounts := account.NewService(account.Deps{
		DB: db, Changes: actor.NewChanges(postgres.NewBus(log)), Policy: password.NewPolicy(password.Config{MinLength: 12}),
		Product: "UMS", Clock: now, Profiles: profile.NewService(db, role.Authorizer{}, now, nil),
	})
	b.Service, b.db = bulk.NewService(bulk.Deps{DB: db, Ring: ring, Accounts: accounts, Jobs: queue, Limits: append(limits, bulk.Limits{Lines: 2000, Batch: batchLines})[0]}), db
	return b
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// caller makes an active account that holds these permissions, in a session.
func (b *bench) caller(email string, may ...string) actor.Actor {
	b.t.Helper()
	by := actor.Actor{Kind: actor.User, UserID: id.New(), Label: email, Permissions: may}
	b.exec(`INSERT INTO users (id, email, email_norm, email_verified, status) VALUES ($1, $2, $2, true, 'active')`, by.UserID, email)
	b.exec(`WITH r AS (INSERT INTO roles (name) VALUES ('r' || replace(gen_random_uuid()::text, '-', '')) RETURNING id),
			p AS (INSERT INTO role_permissions (role_id, permission) SELECT id, unnest($2::text[]) FROM r)
		INSERT INTO user_roles (user_id, role_id) SELECT $1, id FROM r`, by.UserID, may)
	return by
}

// begin receives lines and gives them to the jobs, which nobody works here.
func (b *bench) begin(by actor.Actor, o bulk.Options, lines string) id.ID {
	b.t.Helper()
	of, err := b.Stage(b.t.Context(), by, o, strings.NewReader(lines))
	require.NoError(b.t, err)
	_, err = b.Begin(b.t.Context(), by, of, nil)
	require.NoError(b.t, err)
	return of
}

// work works an import to its end.
func (b *bench) work(by actor.Actor, of id.ID) *bulk.Import {
	b.t.Helper()
	for ended := false; !ended; {
		var err error
		ended, err = bulk.Batch(b.Service, b.t.Context(), of)
		require.NoError(b.t, err)
	}
	i, err := b.Get(b.t.Context(), by, of)
	require.NoError(b.t, err)
	return i
}

func (b *bench) run(by actor.Actor, o bulk.Options, lines string) *bulk.Import {
	b.t.Helper()
	return b.work(by, b.begin(by, o, lines))
}

func people(from, to int) string {
	var lines strings.Builder
	for n := from; n <= to; n++ {
		_, _ = fmt.Fprintf(&lines, `{"email": "P%d@example.org", "email_verified": true, "external_id": "crm-%d"}`+"\n", n, n)
	}
	return lines.String()
}

const batchLines = 30 // of the tests

var skip = bulk.Options{OnConflict: bulk.Skip}

// An import that comes again makes nobody twice, whether by address or by external id, and takes nothing from anybody.
func TestImportsAreIdempotent(t *testing.T) {
	t.Parallel()
	b := start(t)
	by := b.caller("importer@example.com", "users:import")
	first := b.run(by, skip, people(1, 450))
	require.Equal(t, []any{bulk.Done, int64(450), int64(450), int64(450), int64(0)},
		[]any{first.Status, first.Total, first.Processed, first.Created, first.Rejected})
	again := b.run(by, skip, people(1, 451))
	require.Equal(t, []int64{1, 450}, []int64{again.Created, again.Skipped})

	update := bulk.Options{OnConflict: bulk.Update}
	i := b.run(by, update, `{"email": "p1@EXAMPLE.org", "display_name": "One"}
{"email": "other@example.org", "external_id": "crm-2", "display_name": "Two"}

{"email": "p3@example.org", "external_id": "crm-3"}
{"email": "p4@example.org", "external_id": "crm-5", "display_name": "Whose"}`)
	require.Equal(t, []int64{4, 2, 1, 1}, []int64{i.Total, i.Updated, i.Skipped, i.Rejected})
	require.Equal(t, 1, b.count(`SELECT count(*) FROM users WHERE email_norm = 'p2@example.org' AND display_name = 'Two'`))
	require.Equal(t, 452, b.count(`SELECT count(*) FROM users`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM import_errors WHERE code = 'ambiguous_account' AND line = 4`))
	require.Equal(t, 451, b.count(`SELECT count(*) FROM audit_events WHERE action = 'user.create'`))
}

// REG-08, AZ-03: what only the service may set is refused on each line, and nobody gives by an import what he could not
// give by hand; the rest of the import goes on.
func TestREG08_AZ03_LinesAreNoWayAround(t *testing.T) {
	t.Parallel()
	b := start(t)
	by := b.caller("importer@example.com", "users:import", "roles:assign")
	lines := []string{`{"email": "good@example.org", "email_verified": true, "created_at": "2020-02-03T04:05:06Z"}`}
	for _, member := range []string{
		`"id": "x"`, `"suspended": true`, `"status": "active"`, `"mfa_enabled": true`, `"role": "admin"`, `"tenant": 1`, `"password": "seven unrelated llamas"`, `"Email": "x"`,
		`"roles": ["admin"]`, `"roles": ["nobody\u0000"]`, `"email": "twice@example.org"`, `"created_at": "2999-01-01T00:00:00Z"`,
		`"password_hash": "secret-and-plain", "email_verified": true`, `"display_name": 7`, `"metadata": ` + strings.Repeat("[", 40) + strings.Repeat("]", 40),
	} {
		lines = append(lines, `{"email": "bad@example.org", `+member+`}`)
	}
	lines = append(lines, `[]`, `null`, `{`, `{"email": "long@example.org", "display_name": "`+strings.Repeat("x", bulk.MaxLine)+`"}`, "{\"email\": \"\xff\"}")
	i := b.run(by, skip, strings.Join(lines, "\n"))
	require.Equal(t, []int64{1, int64(len(lines) - 1)}, []int64{i.Created, i.Rejected})
	require.Equal(t, 1, b.count(`SELECT count(*) FROM users WHERE email_norm = 'good@example.org' AND status = 'active' AND created_at = '2020-02-03T04:05:06Z'`))
	require.Equal(t, 2, b.count(`SELECT count(*) FROM users`))
	require.Equal(t, 0, b.count(`SELECT count(*) FROM import_errors WHERE errors::text LIKE ANY ('{%bad@%,%secret-and%,%llamas%,%tenant%}')`))

	admin := b.caller("admin@example.com", "*")
	i = b.run(admin, skip, `{"email": "boss@example.org", "email_verified": true, "roles": ["admin"]}`)
	require.EqualValues(t, 1, i.Created)
	i = b.run(by, bulk.Options{OnConflict: bulk.Update}, `{"email": "boss@example.org", "display_name": "Fooled"}`)
	require.EqualValues(t, 1, i.Rejected)
}

// Rights are those of the moment at which a line is worked.
func TestImportEndsWithItsCallersRights(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]string{
		"rights lost": `DELETE FROM user_roles WHERE user_id = $1`,
		"suspended":   `UPDATE users SET status = 'suspended' WHERE id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			by := b.caller("importer@example.com", "users:import")
			b.endsWhen(by, cut, by.UserID)
		})
	}
}

// endsWhen begins an import of two batches, cuts between them, and expects that the second is not worked.
func (b *bench) endsWhen(by actor.Actor, cut string, of id.ID) {
	b.t.Helper()
	begun := b.begin(by, skip, people(1, batchLines+1))
	ended, err := bulk.Batch(b.Service, b.t.Context(), begun)
	require.NoError(b.t, err)
	require.False(b.t, ended)
	b.exec(cut, of)
	i := b.work(by, begun)
	require.Equal(b.t, bulk.Failed, i.Status)
	require.Equal(b.t, []int64{batchLines, batchLines}, []int64{i.Processed, i.Created})
	require.Zero(b.t, b.count(`SELECT count(*) FROM import_lines`), "nothing of them stays")
}

// A key that may not be used any more has no rights left: what its thief has begun ends with it.
func TestImportEndsWithTheKeyThatBeganIt(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]string{
		"revoked":     `UPDATE api_keys SET revoked_at = now() WHERE id = $1`,
		"quarantined": `UPDATE api_keys SET quarantined_at = now() WHERE id = $1`,
		"expired":     `UPDATE api_keys SET expires_at = now(), created_at = now() - interval '1 day' WHERE id = $1`,
		"gone":        `DELETE FROM api_keys WHERE id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			by := b.caller("importer@example.com", "users:import")
			by.Kind, by.KeyID = actor.APIKey, id.New()
			b.exec(`INSERT INTO api_keys (id, user_id, name, environment, scopes, created_by) VALUES ($1, $2, 'key', 'live', '{users:import}', $2)`, by.KeyID, by.UserID)
			b.endsWhen(by, cut, by.KeyID)
		})
	}
}

// A batch that another worker has begun before the rights were lost is counted, and does not bring the import back.
func TestImportThatFailedStaysSo(t *testing.T) {
	t.Parallel()
	b := start(t)
	by := b.caller("importer@example.com", "users:import")
	of := b.begin(by, skip, people(1, 2))
	advance := func() *bulk.Import {
		require.NoError(t, b.db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error { return bulk.Advance(ctx, tx, of) }))
		i, err := b.Get(t.Context(), by, of)
		require.NoError(t, err)
		return i
	}
	require.Equal(t, bulk.Running, advance().Status)
	b.exec("UPDATE imports SET status = 'failed', reason = 'permission_denied', finished_at = now() WHERE id = $1", of)
	i := advance()
	require.Equal(t, []any{bulk.Failed, int64(2)}, []any{i.Status, i.Processed})
	ended, err := bulk.Run(b.Service, t.Context(), of)
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, bulk.Failed, b.work(by, of).Status)
}

// Whatever dies in between, and whoever works at the same time: each line has its effect once.
func TestLinesAreWorkedOnce(t *testing.T) {
	t.Parallel()
	b := start(t)
	by := b.caller("importer@example.com", "users:import")
	const n = 3*batchLines + 7
	of := b.begin(by, skip, people(1, n))
	for range 3 { // dies before its commit
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Millisecond, cancel)
		_, _ = bulk.Batch(b.Service, ctx, of)
		cancel()
	}
	var workers sync.WaitGroup
	errs := make([]error, 3)
	for w := range errs {
		workers.Go(func() {
			for ended := false; !ended && errs[w] == nil; {
				ended, errs[w] = bulk.Batch(b.Service, t.Context(), of)
			}
		})
	}
	workers.Wait()
	require.NoError(t, errors.Join(errs...))
	i := b.work(by, of)
	require.Equal(t, []any{bulk.Done, int64(n), int64(n), int64(0)}, []any{i.Status, i.Processed, i.Created, i.Skipped})
	require.Zero(t, b.count(`SELECT count(*) FROM import_lines`))
}

// A dry run says what would become of each line and leaves no account; what waits is readable by nobody, and an upload
// that breaks off leaves nothing.
func TestImportsLeaveNothingThatTheyShouldNot(t *testing.T) {
	t.Parallel()
	b := start(t)
	by := b.caller("importer@example.com", "users:import")
	i := b.run(by, bulk.Options{OnConflict: bulk.Skip, DryRun: true}, people(1, 3)+"{}\n")
	require.Equal(t, []int64{3, 1}, []int64{i.Created, i.Rejected})
	require.Equal(t, 1, b.count(`SELECT count(*) FROM users`))
	require.Zero(t, b.count(`SELECT count(*) FROM audit_events WHERE action = 'user.create'`))

	b.begin(by, skip, people(1, 3))
	require.Zero(t, b.count(`SELECT count(*) FROM import_lines WHERE position('example' in encode(sealed, 'escape')) > 0`))
	imports := b.count(`SELECT count(*) FROM imports`)
	broken := io.MultiReader(strings.NewReader(people(1, 1500)), iotest.ErrReader(io.ErrUnexpectedEOF))
	_, err := b.Stage(t.Context(), by, skip, broken)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = b.Stage(t.Context(), by, skip, strings.NewReader("\n \n"))
	require.Equal(t, "validation_failed", fault.As(err).Code)
	_, err = b.Stage(t.Context(), actor.Actor{Kind: actor.User, Permissions: actor.Permissions{"users:write"}}, skip, strings.NewReader(people(1, 1)))
	require.ErrorIs(t, err, actor.Denied("users:import"))
	require.Equal(t, imports, b.count(`SELECT count(*) FROM imports`))
	require.Equal(t, 3, b.count(`SELECT count(*) FROM import_lines`))
	b.exec(`UPDATE imports SET finished_at = now() - interval '31 days' WHERE finished_at IS NOT NULL`)
	require.NoError(t, b.Sweep(t.Context()))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM imports`))
}

// An import is as long as it may be, and not a line longer; of one that is too long nothing stays.
func TestImportsHaveALongestLength(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1_000_000, bulk.MaxLines)
	require.EqualValues(t, bulk.MaxLines, bulk.NewService(bulk.Deps{}).Limits.Lines)
	b := start(t, bulk.Limits{Lines: 1003})
	by := b.caller("importer@example.com", "users:import")
	_, err := b.Stage(t.Context(), by, skip, strings.NewReader(people(1, 1004)))
	require.ErrorContains(t, err, "payload_too_large")
	require.Zero(t, b.count("SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_lines)"))
	of, err := b.Stage(t.Context(), by, skip, strings.NewReader("\n"+people(1, 1003)+"\n \n"))
	require.NoError(t, err)
	i, err := b.Get(t.Context(), by, of)
	require.NoError(t, err)
	require.EqualValues(t, 1003, i.Total)
}

// A profile is part of a line for callers with profiles:write alone, as by hand; a key gives one within its scopes.
func TestProfilesOfLinesNeedTheirPermission(t *testing.T) {
	t.Parallel()
	b := start(t)
	line := `{"email": "ada@example.org", "email_verified": true, "profile": {"given_name": "Ada", "address": {"country": "AT"}}}`
	i := b.run(b.caller("importer@example.com", "users:import"), skip, line)
	require.EqualValues(t, 1, i.Rejected)
	require.Equal(t, 1, b.count("SELECT count(*) FROM import_errors WHERE code = 'permission_denied'"))
	by := b.caller("both@example.com", "users:import", "profiles:write")
	i = b.run(by, skip, line+"\n"+`{"email": "bad@example.org", "profile": {"nickname": "", "shoe": 42}}`+"\n"+`{"email": "bad@example.org", "profile": {"nickname": "", "phone": "0"}}`)
	require.Equal(t, []int64{1, 2}, []int64{i.Created, i.Rejected})
	require.Equal(t, []string{`["/profile/nickname", "/profile/phone"]`},
		b.texts("SELECT jsonb_path_query_array(errors, '$[*].pointer')::text FROM import_errors WHERE line = 3"))
	require.Equal(t, 1, b.count("SELECT count(*) FROM profiles WHERE given_name = 'Ada' AND address->>'country' = 'AT' AND visibility = 'private'"))
	require.Equal(t, 1, b.count("SELECT count(*) FROM audit_events WHERE action = 'profile.update'"))
	// What is given is merged into one that is there; the import that comes again changes nothing.
	for _, want := range []int64{1, 0} {
		i = b.run(by, bulk.Options{OnConflict: bulk.Update}, `{"email": "ada@example.org", "profile": {"family_name": "King", "address": {"locality": "Wien"}}}`)
		require.Equal(t, []int64{want, 1 - want}, []int64{i.Updated, i.Skipped})
	}
	require.Equal(t, 1, b.count("SELECT count(*) FROM profiles WHERE given_name = 'Ada' AND family_name = 'King' AND address->>'country' = 'AT' AND address->>'locality' = 'Wien'"))
}

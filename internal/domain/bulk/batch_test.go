package bulk_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/bulk"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// entangled makes lines that meet each other, and accounts that are there, in every way.
func entangled(r *rand.Rand, n int) string {
	var lines strings.Builder
	for range n {
		line := map[string]any{}
		maybe := func(share int, name string, value any) {
			if r.IntN(100) < share {
				line[name] = value
			}
		}
		if line["email"] = fmt.Sprintf("P%d@example.org", r.IntN(n)); r.IntN(8) == 0 {
			line = map[string]any{"kind": "service", "display_name": fmt.Sprint("Robot ", r.IntN(3))}
		} else if r.IntN(10) < 7 {
			line["email_verified"], line["password_hash"] = true, hash
		}
		maybe(50, "display_name", fmt.Sprint("Name ", r.IntN(3)))
		maybe(60, "external_id", fmt.Sprint("x", r.IntN(n)))
		maybe(20, "roles", []string{"small"})
		maybe(5, "roles", []string{"user", "small", "user"})
		maybe(5, "roles", []string{"nobody"})
		maybe(5, "roles", []string{"admin"})
		maybe(20, "metadata", jsontext.Value(`{"a": {"b": 1.50}, "c": null}`))
		maybe(20, "profile", jsontext.Value(`{"given_name": "Ada", "birth_date": "1815-12-10", "address": {"country": "AT"},
			"social_links": {"x": "https://x.example"}, "visibility": "public", "attributes": {"n": 1}}`))
		maybe(5, "profile", jsontext.Value(`{}`))
		maybe(5, "profile", jsontext.Value(`{"nickname": null, "bio": "Two\nlines"}`))
		maybe(5, "profile", jsontext.Value(`{"phone": "1"}`))
		maybe(10, "locale", "de-at")
		maybe(5, "created_at", "2020-02-03T04:05:06Z")
		doc, _ := json.Marshal(line)
		lines.Write(append(doc, '\n'))
	}
	return lines.String()
}

const hash = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG3kZ0NWVHc0E"

// one by one is what an import means; batches, however many work them at once, come to the same.
func TestBatchesEndAsLinesOneByOne(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]bulk.Options{
		"skip": {OnConflict: bulk.Skip}, "update": {OnConflict: bulk.Update}, "dry run": {OnConflict: bulk.Update, DryRun: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			var said [2][]string
			for way, run := range []func(*bench, actor.Actor, bulk.Options, string) []string{together, oneByOne} {
				r := rand.New(rand.NewPCG(seed, 1))
				b := start(t)
				by := b.caller("importer@example.com", "users:import", "roles:assign", "profiles:write")
				b.exec("INSERT INTO roles (name) VALUES ('small')")
				for range 2 {
					said[way] = append(said[way], run(b, by, o, entangled(r, 150))...)
				}
				said[way] = append(said[way], b.contents()...)
			}
			require.Empty(t, different(said[1], said[0]))
		})
	}
}

func together(b *bench, by actor.Actor, o bulk.Options, lines string) []string {
	of := b.begin(by, o, lines)
	ended, err := bulk.Run(b.Service, b.t.Context(), of)
	require.NoError(b.t, err)
	require.True(b.t, ended)
	i, err := b.Get(b.t.Context(), by, of)
	require.NoError(b.t, err)
	require.Equal(b.t, i.Total, i.Processed)
	said := b.texts(`SELECT line || ' ' || code FROM import_errors WHERE import_id = $1 ORDER BY line`, of)
	return append(said, fmt.Sprint(i.Created, i.Updated, i.Skipped, i.Rejected))
}

func oneByOne(b *bench, by actor.Actor, o bulk.Options, lines string) (said []string) {
	log, err := audit.NewAuthor(by)
	require.NoError(b.t, err)
	did := map[account.Outcome]int{}
	for at, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		n, err := bulk.Parse([]byte(line))
		require.NoError(b.t, err)
		c, err := b.Accounts.Candidate(log, n)
		require.NoError(b.t, err)
		var outcome account.Outcome
		err = b.db.InTx(b.t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			return tx.Try(ctx, !o.DryRun, func(ctx context.Context, tx postgres.Tx) (err error) {
				outcome, err = b.Accounts.Import(ctx, tx, by, c, o.OnConflict == bulk.Update)
				return err
			})
		})
		if f := fault.As(err); f != nil {
			outcome = ""
			said = append(said, fmt.Sprintf("%d %s", at+1, f.Code))
			continue
		}
		require.NoError(b.t, err)
		did[outcome]++
	}
	return append(said, fmt.Sprint(did[account.Created], did[account.Updated], did[account.Skipped], len(said)))
}

func (b *bench) texts(sql string, args ...any) []string {
	b.t.Helper()
	rows, err := b.db.Query(context.Background(), sql, args...)
	require.NoError(b.t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return found
}

// contents is what the tables hold of accounts, but for ids, times and versions.
func (b *bench) contents() []string {
	all := b.texts(`
		SELECT format('%s %s %s %s %s %s %s %s %s %s %s', kind, email, email_norm, email_verified, display_name, locale, status, password_hash, external_id,
			metadata || app_metadata, (SELECT array_agg(r.name ORDER BY r.name) FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id AND r.name NOT LIKE 'r%'))
		FROM users u ORDER BY 1`)
	all = append(all, b.texts(`
		SELECT format('%s %s', u.email, to_jsonb(p) - '{user_id,created_at,updated_at,user_created_at}'::text[])
		FROM profiles p JOIN users u ON u.id = p.user_id ORDER BY 1`)...)
	return append(all, b.texts(`
		SELECT format('%s %s %s %s %s %s %s %s', e.action, e.outcome, e.actor_type, e.target_type, a.label, t.label, t.changes, t.subject_id = coalesce(e.target_id, t.subject_id))
		FROM audit_events e
		LEFT JOIN audit_personal a ON a.event_id = e.id AND a.subject_role = 'actor'
		LEFT JOIN audit_personal t ON t.event_id = e.id AND t.subject_role = 'target'
		WHERE e.action <> 'user.import' ORDER BY 1`)...)
}

// What a batch asks of the database does not grow with its lines, whether their accounts are new or there.
func TestStatementsPerBatch(t *testing.T) {
	t.Parallel()
	b := start(t)
	by := b.caller("importer@example.com", "users:import", "roles:assign", "profiles:write")
	b.exec("INSERT INTO roles (name) VALUES ('small')")
	lines := func(from, to int) string {
		return strings.ReplaceAll(people(from, to), `, "external_id"`, `, "roles": ["small"], "profile": {"given_name": "Ada"}, "external_id"`)
	}
	ask := func(lines string) int64 {
		of := b.begin(by, skip, lines)
		before := b.asked.Load()
		_, err := bulk.Batch(b.Service, t.Context(), of)
		require.NoError(t, err)
		return b.asked.Load() - before
	}
	ask(lines(1, 2))
	few, many := ask(lines(3, 4)), ask(lines(5, 4+batchLines))
	require.Equal(t, few, many)
	require.LessOrEqual(t, many, int64(28), "with begin, commit and savepoints")
	require.Equal(t, ask(lines(1, 2)), ask(lines(1, batchLines)))
	require.Equal(t, batchLines+4, b.count("SELECT count(*) FROM profiles"))
}

// different are the first few places where two lists differ.
func different(want, have []string) (found []string) {
	for i := range max(len(want), len(have)) {
		var w, h string
		if i < len(want) {
			w = want[i]
		}
		if i < len(have) {
			h = have[i]
		}
		if w != h {
			found = append(found, "want "+w, "have "+h)
		}
		if len(found) == 10 {
			break
		}
	}
	return found
}

package audit_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

func open(t *testing.T) *postgres.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 4,
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func caller(permissions ...string) actor.Actor {
	return actor.Actor{
		Kind: actor.User, UserID: id.New(), Label: "ada@example.com", Permissions: permissions,
		Origin: actor.Origin{IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "curl/8", RequestID: "request-1"},
	}
}

var auditor = actor.Actor{Kind: actor.User, UserID: id.New(), Permissions: actor.Permissions{audit.ReadPermission}}

// AUD-02: what is recorded can be read back, whole.
func TestAUD02RecordedIsReadBack(t *testing.T) {
	t.Parallel()
	pool := open(t)
	log := audit.NewService(pool)
	by, target := caller(), id.New()
	before := time.Now()
	require.NoError(t, audit.Record(t.Context(), pool, by, audit.Event{
		Action: "user.suspend", Outcome: audit.Success, Reason: "spam",
		Target:  audit.Target{Type: "user", ID: target, Label: "eve@example.com", Owner: target},
		Changes: map[string]audit.Change{"status": {From: "active", To: "suspended"}},
	}))
	events, err := log.List(t.Context(), auditor, audit.Filter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, events, 1)
	e := events[0]
	require.Equal(t, "user.suspend", e.Action)
	require.Equal(t, audit.Success, e.Outcome)
	require.Equal(t, actor.User, e.ActorType)
	require.Equal(t, by.UserID, *e.ActorID)
	require.Equal(t, "ada@example.com", *e.Label)
	require.Equal(t, target, *e.TargetID)
	require.Equal(t, "user", e.Target.Type)
	require.Equal(t, "eve@example.com", e.Target.Label)
	require.JSONEq(t, `{"status":{"from":"active","to":"suspended"}}`, string(e.Changes))
	require.Equal(t, []string{"spam", "192.0.2.1", "curl/8", "request-1"}, []string{*e.Reason, *e.IP, *e.UserAgent, *e.RequestID})
	require.WithinDuration(t, before, e.Time, time.Minute)
	require.EqualValues(t, 1, e.Version)
	got, err := log.Get(t.Context(), auditor, e.ID)
	require.NoError(t, err)
	require.Equal(t, e, got)

	_, err = log.Get(t.Context(), auditor, id.New())
	require.ErrorIs(t, err, fault.ErrNotFound)
	_, err = log.Get(t.Context(), by, e.ID)
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
	_, err = log.List(t.Context(), by, audit.Filter{Limit: 10})
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
}

// Each person's data can be emptied by itself, and what stays still verifies.
func TestErasingOnePerson(t *testing.T) {
	t.Parallel()
	pool := open(t)
	log := audit.NewService(pool)
	by, target := caller(), id.New()
	record := func(e audit.Event) {
		t.Helper()
		require.NoError(t, audit.Record(t.Context(), pool, by, e))
	}
	record(audit.Event{
		Action: "user.update", Outcome: audit.Success, Target: audit.Target{Type: "user", ID: target, Label: "eve", Owner: target},
		Changes: map[string]audit.Change{"display_name": {From: "E", To: "Eve"}},
	})
	record(audit.Event{ // of himself: two rows, both his
		Action: "user.update", Outcome: audit.Success, Target: audit.Target{Type: "user", ID: by.UserID, Label: "ada", Owner: by.UserID},
	})
	require.Equal(t, 4, verified(t, pool))
	of := func(target id.ID) audit.Recorded {
		t.Helper()
		events, err := log.List(t.Context(), auditor, audit.Filter{TargetID: target, Limit: 2})
		require.NoError(t, err)
		require.Len(t, events, 1)
		return events[0]
	}

	var erased int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT audit_erase($1)`, target).Scan(&erased))
	require.Equal(t, 1, erased)
	e := of(target)
	require.Equal(t, target, *e.TargetID, "the id stays, as a pseudonym")
	require.Empty(t, e.Target.Label)
	require.Nil(t, e.Changes)
	require.Equal(t, "ada@example.com", *e.Label, "the actor is somebody else")
	require.Equal(t, "192.0.2.1", *e.IP)
	require.EqualValues(t, 2, e.Version)
	require.Equal(t, 3, verified(t, pool))

	require.NoError(t, pool.QueryRow(t.Context(), `SELECT audit_erase($1)`, by.UserID).Scan(&erased))
	require.Equal(t, 3, erased)
	e = of(by.UserID)
	require.Nil(t, e.Label)
	require.Nil(t, e.IP)
	require.Nil(t, e.UserAgent)
	require.EqualValues(t, 3, e.Version)
	require.Zero(t, verified(t, pool))
}

// verified recomputes every commitment from what is stored, by the rule as security needs it and not by our code:
// SHA-256(salt || RFC 8785 of label, ip, user_agent, reason, changes, absent = null). It returns how many there were.
func verified(t *testing.T, pool *postgres.Pool) (n int) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT CASE p.subject_role WHEN 'actor' THEN e.actor_commitment ELSE e.target_commitment END, p.salt,
			json_build_object('label', label, 'ip', ip, 'user_agent', user_agent, 'reason', reason, 'changes', changes)::text
		FROM audit_personal p JOIN audit_events e ON e.id = p.event_id WHERE p.salt IS NOT NULL`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var commitment, salt []byte
		var doc string
		require.NoError(t, rows.Scan(&commitment, &salt, &doc))
		canonical := jsontext.Value(doc)
		require.NoError(t, canonical.Canonicalize())
		sum := sha256.Sum256(append(salt, canonical...))
		require.Equal(t, sum[:], commitment)
		require.Len(t, salt, 32)
		n++
	}
	require.NoError(t, rows.Err())
	return n
}

// AUD-01: the service appends and reads; it can neither change nor remove.
func TestAUD01TheServiceCanOnlyAppend(t *testing.T) {
	t.Parallel()
	pool := open(t)
	for _, table := range []string{"audit_events", "audit_personal"} {
		for _, sql := range []string{
			"UPDATE " + table + " SET ctid = ctid", "DELETE FROM " + table, "TRUNCATE " + table, "DROP TABLE " + table,
			"ALTER TABLE " + table + " ADD COLUMN x int",
			"DELETE FROM " + table + "_" + time.Now().UTC().Format("2006_01"),
			"INSERT INTO " + table + "_" + time.Now().UTC().Format("2006_01") + " DEFAULT VALUES",
		} {
			_, err := pool.Exec(t.Context(), sql)
			require.Error(t, err, sql)
			require.Contains(t, []string{"42501", "0A000"}, postgres.Code(err), "%s: %v", sql, err)
		}
	}
	_, err := pool.Exec(t.Context(), `UPDATE audit_events SET action = 'x'`)
	require.Equal(t, "42501", postgres.Code(err))
}

// AUD-03: what cannot be recorded does not happen.
func TestAUD03FailedRecordFailsTheTransaction(t *testing.T) {
	t.Parallel()
	pool := open(t)
	err := pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO permissions (name) VALUES ('a:b')`); err != nil {
			return err
		}
		return audit.Record(ctx, tx, caller(), audit.Event{Action: "permission.create", Outcome: "no such outcome"})
	})
	require.Error(t, err)
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM permissions WHERE name = 'a:b'`).Scan(&n))
	require.Zero(t, n)
}

// AUD-05: hostile text is stored as text, bounded, and comes back in one JSON value.
func TestAUD05HostileText(t *testing.T) {
	t.Parallel()
	pool := open(t)
	for name, text := range map[string]string{
		"lines":    "a\r\nINFO forged",
		"escapes":  "\x1b[31mred",
		"formula":  `=cmd|' /C calc'!A0`,
		"NUL":      "a\x00b",
		"not UTF8": "a\xff\xfeb",
		"1 MB":     strings.Repeat("ä", 1<<19),
	} {
		by := caller()
		by.Label, by.Origin.UserAgent = text, text
		require.NoError(t, audit.Record(t.Context(), pool, by, audit.Event{
			Action: "user.update", Outcome: audit.Success, Reason: text,
			Target:  audit.Target{Type: "user", ID: by.UserID, Label: text, Owner: by.UserID},
			Changes: map[string]audit.Change{"display_name": {To: strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "?")}},
		}), name)
		events, err := audit.NewService(pool).List(t.Context(), auditor, audit.Filter{ActorID: by.UserID, Limit: 2})
		require.NoError(t, err)
		require.Len(t, events, 1, name)
		require.LessOrEqual(t, len([]rune(*events[0].UserAgent)), 512, name)
		doc, err := json.Marshal(events[0])
		require.NoError(t, err)
		require.NotContains(t, string(doc), "\n", name)
		require.NotContains(t, string(doc), "\x1b", name)
	}
	require.Equal(t, 12, verified(t, pool))
}

func TestFiltersAndWalk(t *testing.T) {
	t.Parallel()
	pool := open(t)
	log := audit.NewService(pool)
	first, second := caller(), caller()
	second.Origin.IP = netip.MustParseAddr("::ffff:198.51.100.7")
	for _, by := range []actor.Actor{first, second} {
		for _, action := range []string{"role.create", "user.suspend"} {
			require.NoError(t, audit.Record(t.Context(), pool, by, audit.Event{
				Action: action, Outcome: audit.Success, Target: audit.Target{Type: strings.SplitN(action, ".", 2)[0], ID: id.New()},
			}))
		}
	}
	require.NoError(t, audit.Record(t.Context(), pool, actor.Nobody(actor.Origin{}), audit.Event{Action: "auth.login", Outcome: audit.Failure}))
	now := time.Now()
	for name, c := range map[string]struct {
		f    audit.Filter
		want int
	}{
		"none":        {audit.Filter{}, 5},
		"actor":       {audit.Filter{ActorID: first.UserID}, 2},
		"action":      {audit.Filter{Action: "role.create"}, 2},
		"target type": {audit.Filter{TargetType: "user"}, 2},
		"outcome":     {audit.Filter{Outcome: audit.Failure}, 1},
		"address":     {audit.Filter{IP: netip.MustParseAddr("198.51.100.7")}, 2},
		"together":    {audit.Filter{IP: netip.MustParseAddr("::ffff:198.51.100.7"), Action: "role.create"}, 1},
		"from":        {audit.Filter{From: now.Add(time.Hour)}, 0},
		"to":          {audit.Filter{To: now.Add(-time.Hour)}, 0},
		"between":     {audit.Filter{From: now.Add(-time.Hour), To: now.Add(time.Hour)}, 5},
		"limit":       {audit.Filter{Limit: 3}, 3},
	} {
		if c.f.Limit == 0 {
			c.f.Limit = 10
		}
		events, err := log.List(t.Context(), auditor, c.f)
		require.NoError(t, err, name)
		require.Len(t, events, c.want, name)
	}
	for _, ascending := range []bool{false, true} {
		var seen []id.ID
		var last *page.Position
		for {
			events, err := log.List(t.Context(), auditor, audit.Filter{Limit: 2, Ascending: ascending, After: last})
			require.NoError(t, err)
			if len(events) == 0 {
				break
			}
			for _, e := range events {
				if last != nil && e.Time.Equal(last.Time) {
					require.Equal(t, ascending, last.ID.String() < e.ID.String())
				} else if last != nil {
					require.Equal(t, ascending, e.Time.After(last.Time))
				}
				seen = append(seen, e.ID)
				last = &page.Position{Time: e.Time, ID: e.ID}
			}
		}
		require.Len(t, seen, 5)
	}
}

// Requests that were under way at an erasure may record of the person after it: that goes too, once no such request is
// left, and the person is forgotten with it.
func TestErasingWhatIsRecordedLate(t *testing.T) {
	t.Parallel()
	pool := open(t)
	by, other := caller(), caller()
	record := func(by actor.Actor) {
		t.Helper()
		require.NoError(t, audit.Record(t.Context(), pool, by, audit.Event{Action: "user.read", Outcome: audit.Denied}))
	}
	held := func() (n int) {
		t.Helper()
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_personal WHERE label IS NOT NULL`).Scan(&n))
		return n
	}
	record(by)
	record(other)
	for range 2 { // who is erased twice is erased
		require.NoError(t, pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error { return audit.Erase(ctx, tx, by.UserID) }))
	}
	record(by)
	require.NoError(t, audit.EraseLate(t.Context(), pool))
	require.Equal(t, 2, held(), "not yet: more may come")
	_, err := pool.Exec(t.Context(), `UPDATE recent_erasures SET erased_at = now() - interval '61 seconds'`)
	require.NoError(t, err)
	require.NoError(t, audit.EraseLate(t.Context(), pool))
	require.Equal(t, 1, held())
	var noted int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM recent_erasures`).Scan(&noted))
	require.Zero(t, noted)
}

package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// recorded is an event of the audit log with what its person's part holds.
type recorded struct {
	Action, Outcome, ActorType, TargetType, RequestID string
	ActorID, TargetID, IP, UserAgent, Reason          *string
}

// eventsOf reads the events of requests whose ids begin so, by request, as the database's owner, so that what is missing
// is seen as well.
func eventsOf(t *testing.T, s *apptest.Service, requests string) map[string][]recorded {
	t.Helper()
	conn := connect(t, s)
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), `
		SELECT e.action, e.outcome, e.actor_type, coalesce(e.target_type, '') AS target_type, e.request_id,
		       e.actor_id::text, e.target_id::text, a.ip, a.user_agent, o.reason
		FROM audit_events e
		LEFT JOIN audit_personal a ON a.event_id = e.id AND a.subject_role = 'actor'
		LEFT JOIN audit_personal o ON o.event_id = e.id AND o.subject_role = 'target'
		WHERE e.request_id LIKE $1 || '%'`, requests)
	require.NoError(t, err)
	events, err := pgx.CollectRows(rows, pgx.RowToStructByName[recorded])
	require.NoError(t, err)
	by := map[string][]recorded{}
	for _, e := range events {
		by[e.RequestID] = append(by[e.RequestID], e)
	}
	return by
}

// AUD-02: every route that changes something records exactly one event, with everything that an auditor asks for and no
// secret; every refusal of somebody who is known is one event too.
func TestAUD02_EveryEffectAndEveryRefusalIsOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	successes := map[string]row{}
	for _, r := range w.success {
		successes[r.route] = r
	}
	var done []row
	var answers []*apptest.Answer
	run := func(r row) {
		sent := r
		sent.by = r.by.With("User-Agent", fmt.Sprintf("auditee/%d", len(done)))
		a := sent.run(t, fmt.Sprintf("audited-%08d", len(done)))
		done, answers = append(done, r), append(answers, a)
		if r.success() && a.Header.Get("Content-Type") == "application/json" {
			for _, field := range []string{"key", "access_token", "refresh_token", "registration_id"} {
				if text := a.String(t, field); text != "" {
					w.secrets = append(w.secrets, text)
				}
			}
		}
	}
	for _, route := range surface(t) {
		for _, r := range w.everywhere(route, successes[route.Method+" "+route.Path]) {
			run(r)
		}
	}
	for _, r := range w.success {
		run(r)
	}
	recorded := eventsOf(t, w.s, "audited-")
	for i, r := range done {
		events := recorded[fmt.Sprintf("audited-%08d", i)]
		if r.status != http.StatusForbidden && r.event == "" {
			require.Empty(t, events, "%s: %d", r.route, r.status)
			continue
		}
		require.Len(t, events, 1, "%s: %s", r.route, answers[i].Body)
		e := events[0]
		if e.Action != "user.delete" || !r.success() { // a purge erases the person's part of its own event too
			require.Equal(t, []any{"127.0.0.1", fmt.Sprintf("auditee/%d", i)}, []any{*e.IP, *e.UserAgent}, r.route)
		}
		if r.success() {
			e.succeeded(t, r, answers[i])
			continue
		}
		if r.code != "ip_denied" { // there the key is the target: who holds it is not known
			require.Equal(t, "api_key", e.ActorType, r.route)
		}
		require.NotEqual(t, "success", e.Outcome, r.route)
		require.Equal(t, r.code, *e.Reason)
	}
	var log string
	scan(t, w.s, &log, `SELECT string_agg(e::text, ' ') || string_agg(p::text, ' ')
		FROM audit_events e LEFT JOIN audit_personal p ON p.event_id = e.id`)
	w.s.Stop() // the access log is written to its end
	for _, text := range []string{log, w.s.Log.String()} {
		for _, secret := range w.secrets {
			require.NotContains(t, text, secret)
		}
		require.NotContains(t, text, "$argon2")
	}
}

// succeeded checks the event of an effect.
func (e recorded) succeeded(t *testing.T, r row, a *apptest.Answer) {
	t.Helper()
	require.Equal(t, r.event, e.Action+" "+e.TargetType, r.route)
	require.Equal(t, "success", e.Outcome, r.route)
	if slices.Contains([]string{"auth.resend_verification", "auth.password_forgot", "auth.magic_link", "api_key.quarantine"}, e.Action) { // whoever asks has not proven who he is
		require.Equal(t, "anonymous", e.ActorType)
	} else {
		require.Equal(t, "user", e.ActorType, r.route)
		require.NotNil(t, e.ActorID, r.route)
	}
	if !slices.Contains([]string{"permission", "audit_event"}, e.TargetType) && e.Action != "user.bulk_export" { // it has a name and no id, or there are many
		require.NotNil(t, e.TargetID, r.route)
	}
	if id := a.Header.Get("Location"); id != "" && e.TargetID != nil {
		require.True(t, strings.HasSuffix(id, *e.TargetID), "%s: %s", r.route, *e.TargetID)
	}
}

// state digests everything that an effect could touch, counters of attempts apart.
const state = `
	SELECT md5(string_agg(part, '|' ORDER BY part)) FROM (
		SELECT 'users' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM users x UNION ALL
		SELECT 'attempts' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM registration_attempts x UNION ALL
		SELECT 'tokens' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM one_time_tokens x UNION ALL
		SELECT 'profiles' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM profiles x UNION ALL
		SELECT 'sessions' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM sessions x UNION ALL
		SELECT 'passkeys' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM passkeys x UNION ALL
		SELECT 'permissions' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM permissions x UNION ALL
		SELECT 'roles' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM roles x UNION ALL
		SELECT 'grants' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM role_permissions x UNION ALL
		SELECT 'inherits' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM role_inherits x UNION ALL
		SELECT 'holders' || coalesce(string_agg(x::text, ',' ORDER BY x::text), '') FROM user_roles x UNION ALL
		SELECT 'keys' || coalesce(string_agg(to_jsonb(x) - 'last_used_at' #>> '{}', ',' ORDER BY id), '') FROM api_keys x UNION ALL
		SELECT 'mails' || coalesce(string_agg(id::text, ',' ORDER BY id), '') FROM mail_messages x UNION ALL
		SELECT 'answers' || count(answer) FROM idempotency_keys x UNION ALL
		SELECT 'events' || count(*) FROM audit_events x
	) AS parts (part)`

// AUD-03: what cannot be recorded does not happen.
func TestAUD03_NothingHappensThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	execute(t, w.s, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no space left in audit_events'; END $$`)
	execute(t, w.s, `CREATE TRIGGER full_disk BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION full_disk()`)
	conn := connect(t, w.s)
	defer func() { _ = conn.Close(t.Context()) }()
	now := func() (digest string) {
		require.NoError(t, conn.QueryRow(t.Context(), state).Scan(&digest))
		return digest
	}
	before := now()
	for _, r := range w.success {
		if r.event == "" {
			continue
		}
		a := r.by.With("Idempotency-Key", "k-"+strings.ReplaceAll(r.route, " ", "")).Do(t, r.method(), r.url(), r.payload())
		require.Contains(t, []int{500, 503}, a.Status, "%s: %s", r.route, a.Body)
		checkProblem(t, a)
		require.Equal(t, before, now(), "%s left something behind", r.route)
	}
	// A refusal that cannot be recorded is none either; reading goes on.
	require.Contains(t, []int{500, 503}, w.plain.GET(t, "/users").Status)
	w.root.GET(t, "/users").Want(t, 200)

	execute(t, w.s, `DROP TRIGGER full_disk ON audit_events`)
	for _, r := range w.success { // and nothing was in its way
		a := r.by.With("Idempotency-Key", "k-"+strings.ReplaceAll(r.route, " ", "")).Do(t, r.method(), r.url(), r.payload())
		require.Equal(t, r.status, a.Status, "%s: %s", r.route, a.Body)
		require.Empty(t, a.Header.Get("Idempotency-Replayed"))
	}
}

// AUD-01: what the service works as can append and read, and the API offers no verb that changes an event.
func TestAUD01_NobodyChangesEvents(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	event := root.GET(t, "/audit-events?limit=1").Want(t, 200).String(t, "data.0.id")
	for _, path := range []string{"/audit-events", "/audit-events/" + event} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			a := root.Do(t, method, path, doc{}).Want(t, 405, "method_not_allowed")
			require.Equal(t, "GET, HEAD", a.Header.Get("Allow"))
		}
	}
	conn := connect(t, s)
	defer func() { _ = conn.Close(t.Context()) }()
	_, err := conn.Exec(t.Context(), "SET ROLE ums_app")
	require.NoError(t, err)
	var tables []string
	rows, err := conn.Query(t.Context(), "SELECT relname FROM pg_class WHERE relname LIKE 'audit\\_%' AND relkind IN ('r', 'p')")
	require.NoError(t, err)
	tables, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Greater(t, len(tables), 4, "the partitions as well")
	for _, table := range tables {
		var column string
		err := conn.QueryRow(t.Context(), "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum = 1", table).Scan(&column)
		require.NoError(t, err)
		for _, sql := range []string{
			"UPDATE %s SET " + column + " = " + column, "DELETE FROM %s", "TRUNCATE %s", "DROP TABLE %s", "ALTER TABLE %s DISABLE TRIGGER ALL",
			"ALTER TABLE %s ADD COLUMN x int", "ALTER TABLE %s OWNER TO ums_app", "CREATE RULE r AS ON INSERT TO %s DO INSTEAD NOTHING",
		} {
			_, err := conn.Exec(t.Context(), fmt.Sprintf(sql, pgx.Identifier{table}.Sanitize()))
			require.ErrorContains(t, err, "42501", "%s: %s", table, sql)
		}
	}
}

// AUD-05: text from outside is kept as it is, bounded, and cannot forge a line.
func TestAUD05_HostileText(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	agent := `=cmd|' /C calc'!A0 "},{"forged":true} ` + "\u202e" + strings.Repeat("x", 8000)
	formula := "=HYPERLINK(\"http://evil.test\",\"x\")"
	id := root.With("User-Agent", agent).With("X-Request-Id", "x\u2028y{\"a\":1}").POST(t, "/users", doc{"kind": "service", "display_name": formula}).Want(t, 201).String(t, "id")
	e := root.GET(t, "/audit-events?target_id="+id).Want(t, 200)
	require.Equal(t, formula, e.String(t, "data.0.target.label"))
	kept := e.String(t, "data.0.user_agent")
	require.Len(t, []rune(kept), 512)
	require.True(t, strings.HasPrefix(agent, kept))
	require.Regexp(t, `^[0-9a-f-]{36}$`, e.String(t, "data.0.request_id"), "a request id of another form is replaced")
	root.POST(t, "/users", doc{"kind": "service", "display_name": "a\r\nlevel=ERROR"}).Want(t, 422)
	root.GET(t, "/%1b[31m%0d%0a{}/x").Want(t, 404)
	s.Stop()
	for line := range strings.Lines(s.Log.String()) {
		require.True(t, strings.HasPrefix(line, `{"time":"`), line)
		require.NotContains(t, line, "\x1b")
		require.NotContains(t, line, "forged")
	}
}

package httpapi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// tables is every row of every table, as text, with what byte columns hold in both forms, by table. The jobs of the
// sender and its counters are tables like others.
func tables(t *testing.T, s *apptest.Service) map[string]string {
	t.Helper()
	conn := connect(t, s)
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname = 'public'`)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	all := map[string]string{}
	for _, table := range names {
		var text string
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT coalesce(string_agg(x::text, E'\n'), '') FROM `+table+` x`).Scan(&text))
		all[table] = text
	}
	return all
}

// holders are the tables in which a value stands: as it is, in any case, or as bytes.
func holders(all map[string]string, value string) (found []string) {
	for table, text := range all {
		text := strings.ToLower(text)
		if strings.Contains(text, strings.ToLower(value)) || strings.Contains(text, hex.EncodeToString([]byte(value))) {
			found = append(found, table)
		}
	}
	slices.Sort(found)
	return found
}

func count(t *testing.T, s *apptest.Service, sql string) (n int) {
	t.Helper()
	scan(t, s, &n, sql)
	return n
}

// verifyCommitments recomputes what every event commits to, as an auditor would from a dump, and returns how many parts
// there still are, and how many have been emptied.
func verifyCommitments(t *testing.T, s *apptest.Service) (whole, emptied int) {
	t.Helper()
	conn := connect(t, s)
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), `
		SELECT coalesce(CASE p.subject_role WHEN 'actor' THEN e.actor_commitment ELSE e.target_commitment END, ''::bytea), p.salt,
			json_build_object('label', p.label, 'ip', p.ip, 'user_agent', p.user_agent, 'reason', p.reason, 'changes', p.changes)::text
		FROM audit_personal p JOIN audit_events e ON e.id = p.event_id AND e.time = p.event_time`)
	require.NoError(t, err)
	var commitment, salt []byte
	var data string
	_, err = pgx.ForEachRow(rows, []any{&commitment, &salt, &data}, func() error {
		if salt == nil {
			emptied++
			require.JSONEq(t, `{"label":null,"ip":null,"user_agent":null,"reason":null,"changes":null}`, data)
			require.Len(t, commitment, 32, "the commitment stays")
			return nil
		}
		canonical := jsontext.Value(data)
		require.NoError(t, canonical.Canonicalize())
		sum := sha256.Sum256(append(slices.Clone(salt), canonical...))
		require.Equal(t, sum[:], commitment, data)
		whole++
		return nil
	})
	require.NoError(t, err)
	return whole, emptied
}

// Erasure leaves nothing of a person in the database: every value that was his, wherever it went, is found before and not
// after. Others' data stays, and what the log commits to still verifies.
func TestErasureLeavesNothingOfThePerson(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_TRUSTED_PROXIES=127.0.0.0/8", "UMS_MAGIC_LINK=true"))
	root := s.Admin(t).With("User-Agent", "agent of root").With("X-Forwarded-For", "198.51.100.1")
	const email, password = "adele.distinct@example.com", apptest.Password
	anyone := s.With("User-Agent", "Distinct/7.0 (Adele)").With("X-Forwarded-For", "203.0.113.77")

	// Everything that an account can have.
	id := root.With("Idempotency-Key", "make-adele").POST(t, "/users", doc{
		"email": email, "password": password, "email_verified": true, "display_name": "Adele Distinct", "external_id": "crm-distinct-9",
		"metadata": doc{"nick": "metavalue-distinct"}, "app_metadata": doc{"plan": "appvalue-distinct"}, "locale": "de-AT",
	}).Want(t, 201).String(t, "id")
	enter := func(device string) *apptest.Client {
		a := anyone.POST(t, "/auth/login", doc{"email": email, "password": password, "device_name": device}).Want(t, 200)
		return anyone.Bearer(a.String(t, "access_token"))
	}
	anyone.POST(t, "/auth/login", doc{"email": email, "password": "mistyped by herself"}).Want(t, 401)
	ada := enter("distinct telephone")
	ada.PUT(t, "/profiles/me", doc{
		"given_name": "Adelheid", "family_name": "Distinctfamily", "bio": "biography-distinct", "phone": "+4366012345678",
		"website": "https://distinct.example/adele", "birth_date": "1981-02-03", "visibility": "public", "nickname": "Distinctnick",
		"address": doc{"street": "Distinctgasse 1", "locality": "Wien", "country": "AT"}, "social_links": doc{"git": "https://git.example/distinct"},
		"attributes": doc{"shoe": "attribute-distinct"},
	}).Want(t, 200)
	ada.PATCH(t, "/users/me", doc{"display_name": "Adele D. Distinct", "metadata": doc{"nick": "metavalue-distinct-2"}}).Want(t, 200)
	key := ada.With("Idempotency-Key", "key-of-adele").POST(t, "/api-keys", newKey(doc{
		"name": "key-name-distinct", "scopes": []string{"me:read"}, "metadata": doc{"on": "host-distinct"},
	})).Want(t, 201)
	anyone.Bearer(key.String(t, "key")).GET(t, "/users/me").Want(t, 200)
	ada.POST(t, "/auth/email/change", doc{"new_email": "adele.new-distinct@example.com"}).Want(t, 202)
	anyone.POST(t, "/auth/password/forgot", doc{"email": email}).Want(t, 202)
	anyone.POST(t, "/auth/magic-link", doc{"email": email}).Want(t, 202)
	s.Mail.WaitFor(t, email, 3)
	s.Enrol(t, ada)
	// She brings people in: one import is worked, with a line that is wrong, and the process that received another has died.
	root.PUT(t, "/users/"+id+"/roles/"+root.POST(t, "/roles", doc{"name": "importer", "permissions": []string{"users:import"}}).Want(t, 201).String(t, "id"), doc{}).Want(t, 204)
	sent := asLines(ada).POST(t, "/users/import", `{"email": "carla@example.com", "email_verified": true}`+"\n"+`{"email": "no address"}`).Want(t, 202)
	finished(t, ada, sent.Header.Get("Location"))
	execute(t, s, `WITH i AS (INSERT INTO imports (id, actor_type, actor_id, actor_label, on_conflict, dry_run)
		SELECT gen_random_uuid(), 'user', id, email, 'skip', false FROM users WHERE email_norm = '`+email+`' RETURNING id)
		INSERT INTO import_lines (import_id, line, sealed) SELECT id, 1, 'sealed-line-distinct' FROM i`)
	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "reason-distinct for Adele"}).Want(t, 200)
	root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)
	ada.GET(t, "/audit-events").Want(t, http.StatusUnauthorized)

	// Somebody else, who has to do with her and stays.
	bob, other := s.Person(t, root, "bob@example.com")
	other.PATCH(t, "/users/me", doc{"display_name": "Bob"}).Want(t, 200)
	s.With("User-Agent", "agent of a stranger").With("X-Forwarded-For", "192.0.2.200").
		POST(t, "/auth/login", doc{"email": email, "password": "guessed by a stranger"}).Want(t, 401)

	theirs := []string{
		email, "Adele Distinct", "Adele D. Distinct", "crm-distinct-9", "metavalue-distinct", "appvalue-distinct", "distinct telephone", "Distinct/7.0 (Adele)",
		"203.0.113.77", "Adelheid", "Distinctfamily", "Distinctnick", "biography-distinct", "+4366012345678", "https://distinct.example/adele",
		"1981-02-03", "Distinctgasse 1", "https://git.example/distinct", "attribute-distinct", "key-name-distinct", "host-distinct",
		"adele.new-distinct@example.com", "reason-distinct for Adele", "sealed-line-distinct",
	}
	before := tables(t, s)
	for _, value := range theirs {
		require.NotEmpty(t, holders(before, value), "the scan must find %q while it is there", value)
	}
	require.Equal(t, 2, count(t, s, `SELECT count(*) FROM idempotency_keys WHERE answer IS NOT NULL`))
	whole, emptied := verifyCommitments(t, s)
	require.Zero(t, emptied)

	root.DELETE(t, "/users/"+id).Want(t, 204)
	s.Mail.WaitFor(t, email, 4) // the last word to her; what it said and to whom is emptied with its job
	require.Eventually(t, func() bool {
		return count(t, s, `SELECT count(*) FROM mail_messages WHERE recipient IS NOT NULL OR payload IS NOT NULL`) == 0
	}, 20*time.Second, 20*time.Millisecond)
	after := tables(t, s)
	for _, value := range append(theirs, "distinct") {
		require.Empty(t, holders(after, value), "%q is left", value)
	}
	require.Zero(t, count(t, s, `SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_lines) + (SELECT count(*) FROM import_errors)`), "her imports")
	require.Equal(t, 1, count(t, s, `SELECT count(*) FROM users WHERE email = 'carla@example.com'`), "whom she brought in")
	require.Zero(t, count(t, s, `SELECT count(*) FROM idempotency_keys`), "sealed answers of hers and about her")
	for table, text := range after { // the id stays as a pseudonym, and in the log alone
		if strings.Contains(text, id) {
			require.Regexp(t, `^(audit_(events|personal)|recent_erasures)`, table)
		}
	}

	left, gone := verifyCommitments(t, s)
	require.Equal(t, whole+1, left+gone, "no part went; the deletion added the administrator's")
	require.Positive(t, gone)
	for value, tables := range map[string]string{
		"bob@example.com": "users", "agent of root": "audit_personal_", "198.51.100.1": "audit_personal_", "agent of a stranger": "audit_personal_", "192.0.2.200": "audit_personal_",
	} {
		require.Contains(t, fmt.Sprint(holders(after, value)), tables)
	}
	events := root.GET(t, "/audit-events?target_id="+id+"&action=user.delete").Want(t, 200)
	require.Equal(t, "success", events.String(t, "data.0.outcome"))
	require.Equal(t, "admin@example.com", events.String(t, "data.0.actor.label"))
	require.Nil(t, events.Get(t, "data.0.target.label"))
	require.NotEmpty(t, root.GET(t, "/audit-events?target_id="+id+"&action=user.suspend").Want(t, 200).String(t, "data.0.actor.label"), "who did it stays known")
	require.NotEmpty(t, bob)

	// AZ-13: the key of her first creation is no way back to her, and the address belongs to whoever comes next.
	again := root.With("Idempotency-Key", "make-adele").POST(t, "/users", doc{"email": email}).Want(t, 201)
	require.NotEqual(t, id, again.String(t, "id"))
	require.Empty(t, again.Header.Get("Idempotency-Replayed"))
}

// What a person is given of himself is one document of everything, with no secret and nothing of others.
func TestExportOfOneself(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t).With("User-Agent", "agent of root")
	id, ada := s.Person(t, root, "ada@example.com")
	ada.PATCH(t, "/profiles/me", doc{"given_name": "Ada", "phone": "+431234567"}).Want(t, 200)
	key := ada.POST(t, "/api-keys", newKey(doc{"name": "mine", "scopes": []string{"me:read"}})).Want(t, 201)
	app := s.Enrol(t, ada)
	s.Person(t, root, "eve@example.com")
	execute(t, s, fmt.Sprintf(`INSERT INTO audit_events (id, time, action, outcome, actor_type, actor_id)
		SELECT gen_random_uuid(), now() - make_interval(secs => n), 'test.fill', 'success', 'user', '%s' FROM generate_series(1, 1100) n`, id))

	a := ada.GET(t, "/users/me/export").Want(t, 200)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="personal-data.json"`, a.Header.Get("Content-Disposition"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(t, id, a.String(t, "account.id"))
	require.Equal(t, "ada@example.com", a.String(t, "account.email"))
	require.Equal(t, "+431234567", a.String(t, "profile.phone"))
	require.Equal(t, "user", a.String(t, "roles.0.name"))
	require.Equal(t, "me:read", a.String(t, "permissions.0.permission"))
	require.Equal(t, app.FactorID, a.String(t, "factors.data.0.id"))
	require.Equal(t, "mine", a.String(t, "api_keys.0.name"))
	require.Equal(t, "127.0.0.1", a.String(t, "sessions.0.ip"))
	require.Equal(t, "127.0.0.1/32", a.String(t, "sign_ins.0.network"))
	require.NotEmpty(t, a.Get(t, "sign_ins.0.programs"))
	require.Empty(t, a.Get(t, "passkeys"))
	require.Greater(t, len(a.Get(t, "audit_events").([]any)), 1100)
	require.Equal(t, "user.export", a.String(t, "audit_events.0.action"), "taking it along is an event too")
	for _, secret := range append(app.RecoveryCodes, key.String(t, "key"), key.String(t, "key")[9+22:], "$argon2", "eve@example.com", "admin@example.com", "agent of root", "password_hash", "secret_hash") {
		require.NotContains(t, string(a.Body), secret)
	}
	require.True(t, json.Valid(a.Body))
	ada.GET(t, "/users/me/export?format=csv").Want(t, 422, "validation_failed")
	s.Bearer(key.String(t, "key")).GET(t, "/users/me/export").Want(t, 403, "session_required")
	s.GET(t, "/users/me/export").Want(t, 401, "unauthenticated")
}

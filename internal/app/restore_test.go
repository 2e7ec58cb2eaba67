package app_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/config"
)

// What was issued before is refused afterwards, by a service that runs beside it too; people sign in anew and programs
// keep their keys. Once more changes nothing for who has signed in nowhere.
func TestFinishRestore(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	cfg, _, err := config.Load([]string{"UMS_DATABASE_URL=" + s.DSN, "UMS_MASTER_KEY=" + apptest.MasterKey, "UMS_DATA_DIR=" + t.TempDir()})
	require.NoError(t, err)
	db, err := pgx.Connect(t.Context(), s.DSN)
	require.NoError(t, err)
	defer func() { _ = db.Close(t.Context()) }()
	count := func(sql string) (n int64) {
		t.Helper()
		require.NoError(t, db.QueryRow(t.Context(), sql).Scan(&n))
		return n
	}

	void := func(c *apptest.Client) {
		t.Helper()
		require.Eventually(t, func() bool { // within the second that another process may take to hear of it
			a, _, err := c.Try("GET", "/users/me", nil)
			return err == nil && a.Status == 401
		}, 30*time.Second, 10*time.Millisecond)
	}

	admin := s.Admin(t)
	id, _ := s.Person(t, admin, "ada@example.com")
	tokens := s.POST(t, "/auth/login", map[string]any{"email": "ada@example.com", "password": apptest.Password}).Want(t, 200)
	ada := s.Bearer(tokens.String(t, "access_token"))
	s.POST(t, "/auth/password/forgot", map[string]any{"email": "ada@example.com"}).Want(t, 202)
	link := s.Mail.WaitFor(t, "ada@example.com", 1).Token()
	made := ada.With("Idempotency-Key", "once").POST(t, "/api-keys", map[string]any{"name": "build", "environment": "live", "scopes": []string{"me:read"}}).Want(t, 201)
	key := s.With("X-API-Key", made.String(t, "key"))
	key.GET(t, "/users/me").Want(t, 200)
	ada.GET(t, "/users/me").Want(t, 200)
	_, err = db.Exec(t.Context(), `INSERT INTO mfa_challenges (token_hash, user_id, auth_epoch, amr, expires_at) VALUES ('x', $1, 1, '{pwd}', now() + interval '1 hour')`, id)
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), `INSERT INTO mail_messages (id, user_id, template, locale, recipient, payload, message_id)
		VALUES (gen_random_uuid(), $1, 'reset', 'en', 'ada@example.com', 'x', 'm@x')`, id)
	require.NoError(t, err)
	accounts := count(`SELECT count(*) FROM users`)
	epochs := count(`SELECT sum(auth_epoch) FROM users`)

	r, err := app.FinishRestore(t.Context(), cfg, false)
	require.NoError(t, err)
	require.Equal(t, accounts, r.Accounts)
	require.EqualValues(t, 3, r.Sessions)
	require.EqualValues(t, 1, r.OneTimeTokens)
	require.EqualValues(t, 1, r.PendingSignIns)
	require.EqualValues(t, 1, r.Answers)
	require.EqualValues(t, 1, r.Mails)
	require.EqualValues(t, 1, r.KeysAlive)
	require.Zero(t, r.KeysRevoked)
	require.Len(t, r.Key.Replaced, 1)
	require.Equal(t, epochs+accounts, count(`SELECT sum(auth_epoch) FROM users`))
	require.Zero(t, count(`SELECT count(*) FROM sessions`)+count(`SELECT count(*) FROM mail_messages WHERE payload IS NOT NULL`))

	void(ada)
	s.POST(t, "/auth/refresh", map[string]any{"refresh_token": tokens.String(t, "refresh_token")}).Want(t, 401)
	s.POST(t, "/auth/password/reset", map[string]any{"token": link, "new_password": "another harbour keeps quiet"}).Want(t, 400, "invalid_token")
	key.GET(t, "/users/me").Want(t, 200)
	s.SignIn(t, "ada@example.com", apptest.Password).GET(t, "/users/me").Want(t, 200)

	page := s.Admin(t).GET(t, "/audit-events?action=restore.finish").Want(t, 200)
	require.Equal(t, "ums restore-finish", page.String(t, "data.0.actor.label"), "%s", page.Body)
	require.EqualValues(t, 3, page.Get(t, "data.0.changes.sessions.from"), "%s", page.Body)

	r, err = app.FinishRestore(t.Context(), cfg, true)
	require.NoError(t, err)
	require.EqualValues(t, 2, r.Sessions)
	require.EqualValues(t, 1, r.KeysRevoked)
	require.Zero(t, r.KeysAlive+r.OneTimeTokens+r.Mails)
	void(key)
	r, err = app.FinishRestore(t.Context(), cfg, true)
	require.NoError(t, err)
	require.Zero(t, r.Sessions+r.KeysRevoked+r.Answers)
	require.EqualValues(t, 3, count(`SELECT count(*) FROM audit_events WHERE action = 'restore.finish'`))
	require.EqualValues(t, 1, count(`SELECT count(*) FROM signing_keys WHERE retires_at IS NULL OR retires_at > now()`))
}

// Whatever is kept by an epoch or by the hash of a secret is a credential: a new table of that kind has to say what a restore does to it.
func TestFinishRestore_everyCredentialIsDecided(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	db, err := pgx.Connect(t.Context(), s.DSN)
	require.NoError(t, err)
	defer func() { _ = db.Close(t.Context()) }()
	rows, err := db.Query(t.Context(), `
		SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT LIKE 'river%'
			AND a.attname ~ '(auth_epoch|(token|secret|challenge|code|registration_id|answer)(_hash)?|payload|private_key)$'
		ORDER BY 1`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	decided := []string{
		"users", "sessions", "one_time_tokens", "mfa_challenges", "webauthn_challenges", "idempotency_keys", "mail_messages", "signing_keys", // void
		"api_key_secrets",       // live on unless --revoke-api-keys, and are told
		"mfa_recovery_codes",    // a used one is good again; documented in backup.md
		"registration_attempts", // claims that nobody has proven; their links and codes are void
		"import_errors",         // codes of faults
	}
	for _, table := range found {
		require.Contains(t, decided, table, "%s: void it in upkeep, or say here why it may outlive a restore", table)
	}
}

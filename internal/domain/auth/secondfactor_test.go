package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// A password that is right opens no session where there is a second factor. The ticket stands for this account, this
// password and this epoch alone; a hash of other parameters is renewed all the same.
func TestLoginAsksForTheSecondFactor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.active("alice@x.test")
	b.exec("INSERT INTO mfa_factors (id, user_id, secret_sealed, activated_at) VALUES (gen_random_uuid(), $1, '', now())", u)
	b.exec("INSERT INTO mfa_recovery_codes (user_id, code_hash) VALUES ($1, '\\x00')", u)
	b.exec("UPDATE users SET mfa_enabled = true")
	factors := mfa.NewService(b.pool, nil, nil, "")
	demand := func() string {
		t.Helper()
		_, err := b.login("alice@x.test", good)
		require.ErrorIs(t, err, mfa.ErrRequired)
		f := fault.As(err)
		require.Equal(t, []string{"totp", "recovery_code"}, f.Extra["factors"])
		text, ok := f.Extra["mfa_token"].(string)
		require.True(t, ok)
		_, err = factors.Peek(t.Context(), text)
		require.NoError(t, err)
		return text
	}
	dead := func(text string) {
		t.Helper()
		_, err := factors.Peek(t.Context(), text)
		require.ErrorIs(t, err, mfa.ErrTicket)
		_, err = factors.Try(t.Context(), text)
		require.ErrorIs(t, err, mfa.ErrTicket)
	}
	text := demand()
	require.Zero(t, b.rows("SELECT count(*) FROM sessions"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_events e JOIN audit_personal p ON p.event_id = e.id WHERE e.action = 'auth.login' AND e.outcome = 'failure' AND p.reason = 'mfa_required'"))
	for range 5 {
		ticket, err := factors.Try(t.Context(), text)
		require.NoError(t, err)
		require.Equal(t, u, ticket.UserID)
	}
	dead(text)
	dead("x")

	dear, err := password.NewHasher(password.Config{Argon2MemoryKiB: 128, Argon2Iterations: 2, Argon2Parallelism: 1})
	require.NoError(t, err)
	old, err := dear.Hash(t.Context(), secret.New(good))
	require.NoError(t, err)
	b.exec("UPDATE users SET password_hash = $1", old)
	demand()
	require.Equal(t, 1, b.rows("SELECT count(*) FROM users WHERE password_hash LIKE '%m=64,t=1%'"), "renewed")

	for _, change := range []string{
		"UPDATE users SET auth_epoch = auth_epoch + 1",
		"UPDATE users SET password_hash = password_hash || '!'",
		"UPDATE users SET status = 'suspended'",
		"UPDATE mfa_challenges SET expires_at = now() - interval '1 second'",
	} {
		b.exec("UPDATE users SET status = 'active', password_hash = rtrim(password_hash, '!')")
		text = demand()
		b.exec(change)
		dead(text)
	}
}

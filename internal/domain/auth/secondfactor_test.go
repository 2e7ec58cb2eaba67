package auth_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/keyring"
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

// A hundred wrong codes from anywhere, one after the other, close the account to strange networks, although the right
// password stands before each. Whoever comes from a network of his own with both factors opens it.
func TestMFA04_WrongCodesLockTheAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.active("alice@x.test")
	_, by := b.mustLogin("alice@x.test")
	ring, err := keyring.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(t, err)
	factors := mfa.NewService(b.pool, ring, clock.System{}, "UMS")
	by.Label = "alice@x.test"
	e, err := factors.Start(t.Context(), by, nil)
	require.NoError(t, err)
	code := func(steps int) mfa.Code {
		text, err := totp.GenerateCode(e.Secret.Reveal(), time.Now().Add(time.Duration(steps)*30*time.Second))
		require.NoError(t, err)
		return mfa.Code{Method: mfa.TOTP, Text: secret.New(text)}
	}
	recovery, err := b.ActivateTOTP(t.Context(), by, e.ID, code(0).Text)
	require.NoError(t, err)

	from := func(n byte) actor.Actor {
		return actor.Nobody(actor.Origin{IP: netip.AddrFrom4([4]byte{203, 0, 113, n})})
	}
	enter := func(by actor.Actor, c mfa.Code) error {
		_, err := b.Login(t.Context(), by, auth.Login{Email: "alice@x.test", Password: secret.New(good)})
		if !errors.Is(err, mfa.ErrRequired) {
			return err
		}
		ticket, _ := fault.As(err).Extra["mfa_token"].(string)
		_, err = b.VerifySecond(t.Context(), by, auth.SecondStep{Token: secret.New(ticket), Code: c})
		return err
	}
	for i := range 100 {
		require.ErrorIs(t, enter(from(byte(i/5)), mfa.Code{Method: mfa.TOTP, Text: secret.New("no code")}), mfa.ErrCode)
	}
	lost := mfa.Code{Method: mfa.RecoveryCode, Text: recovery[0]}
	require.ErrorIs(t, enter(from(200), lost), throttle.ErrLimited)
	require.NoError(t, enter(actor.Nobody(by.Origin), lost), "a network of its own")
	require.NoError(t, enter(from(200), mfa.Code{Method: mfa.RecoveryCode, Text: recovery[1]}), "open again")
	require.Equal(t, 100, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.mfa_verify' AND outcome = 'failure' AND target_id = $1", u))
}

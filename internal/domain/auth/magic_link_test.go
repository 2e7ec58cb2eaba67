package auth_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/secret"
)

func withMagicLink(c *auth.Config, _ *throttle.Config) { c.MagicLink = true }

func (b *bench) link(email string) string {
	b.t.Helper()
	require.NoError(b.t, b.SendMagicLink(context.Background(), nobody, email))
	content, ok := b.outbox.last(b.t).Content.(notify.MagicLink)
	require.True(b.t, ok, "%T", b.outbox.last(b.t).Content)
	return content.Token.Reveal()
}

func (b *bench) enterBy(token string) (auth.Tokens, error) {
	return b.EnterByMagicLink(context.Background(), nobody, token, false)
}

// A magic link signs in once, also of many at a time, and leaves everything else of the account as it is.
func TestMagicLink(t *testing.T) {
	t.Parallel()
	b := newBench(t, withMagicLink)
	u := b.active("alice@x.test")
	b.mustLogin("alice@x.test")
	b.key(u)
	reset := b.forgot("alice@x.test")
	first, second := b.link("alice@x.test"), b.link("alice@x.test")
	_, err := b.enterBy(first)
	require.ErrorIs(t, err, onetime.ErrInvalid, "the newer kills the older")
	for _, other := range []string{reset, "garbage", ""} {
		_, err = b.enterBy(other)
		require.ErrorIs(t, err, onetime.ErrInvalid)
	}
	require.ErrorIs(t, b.reset(second, fresh), onetime.ErrInvalid, "another purpose")
	var in atomic.Pointer[auth.Tokens]
	var wins, others atomic.Int32
	parallel(10, func(int) {
		tokens, err := b.enterBy(second)
		switch {
		case err == nil:
			in.Store(&tokens)
			wins.Add(1)
		case code(err) != "invalid_token":
			others.Add(1)
		}
	})
	require.EqualValues(t, 1, wins.Load())
	require.Zero(t, others.Load())
	claims, err := b.verifier.Verify(in.Load().AccessToken.Reveal())
	require.NoError(t, err)
	require.Equal(t, "aal1", claims.ACR)
	require.Equal(t, []string{"email"}, claims.AMR)
	require.Equal(t, 2, b.rows("SELECT count(*) FROM sessions"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"))
	require.NoError(t, b.reset(reset, fresh), "no other claim ended")

	for name, end := range map[string]string{
		"expired":   "UPDATE one_time_tokens SET expires_at = now() - interval '1 s'",
		"suspended": "UPDATE users SET status = 'suspended'",
		"deleting":  "UPDATE users SET status = 'deleting'",
		"epoch":     "UPDATE users SET auth_epoch = auth_epoch + 1",
	} {
		b.exec("UPDATE users SET status = 'active'")
		b.exec("DELETE FROM credential_limits")
		token := b.link("alice@x.test")
		b.exec(end)
		_, err = b.enterBy(token)
		require.ErrorIs(t, err, onetime.ErrInvalid, name)
	}
}

// It is a first factor: where there is a second one it opens no session, and wrong codes go on adding up.
func TestMagicLinkAsksForTheSecondFactor(t *testing.T) {
	t.Parallel()
	b := newBench(t, withMagicLink)
	b.factor(b.active("alice@x.test"))
	for range 3 {
		b.loginIs("alice@x.test", bad, "invalid_credentials")
	}
	failures := func() int {
		return b.rows("SELECT count(*) FROM credential_limits WHERE resets_at > now() + interval '2 days' AND count = 3")
	}
	require.Equal(t, 1, failures())
	token := b.link("alice@x.test")
	_, err := b.enterBy(token)
	require.Equal(t, "mfa_required", code(err))
	require.NotEmpty(t, fault.As(err).Extra["mfa_token"])
	require.Zero(t, b.rows("SELECT count(*) FROM sessions"))
	require.Equal(t, 1, failures())
	_, err = b.enterBy(token)
	require.ErrorIs(t, err, onetime.ErrInvalid)
}

// For an account that nobody had proven it is a recovery: what was set up before is dead, its password too (REG-05).
func TestREG05_MagicLinkIntoAnUnprovenAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *auth.Config, _ *throttle.Config) { c.EmailVerification, c.MagicLink = "optional", true })
	_, err := b.Register(t.Context(), nobody, auth.Registration{Email: "victim@x.test", Password: secret.New(bad)}, nil)
	require.NoError(t, err)
	u := b.user("victim@x.test")
	b.loginIs("victim@x.test", bad, "")
	b.key(u)
	b.factor(u)
	_, err = b.enterBy(b.link("victim@x.test"))
	require.NoError(t, err)
	require.Equal(t, 1, b.rows("SELECT count(*) FROM sessions"))
	require.Zero(t, b.rows("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"))
	require.Zero(t, b.rows("SELECT count(*) FROM mfa_factors"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM users WHERE email_verified AND password_hash IS NULL AND NOT mfa_enabled"))
	b.loginIs("victim@x.test", bad, "invalid_credentials")

	// An earlier address was proven: factors and password are the owner's.
	b.exec("UPDATE users SET email_verified = false, was_verified = true, password_hash = 'x'")
	b.factor(u)
	_, err = b.enterBy(b.link("victim@x.test"))
	require.Equal(t, "mfa_required", code(err))
	require.Zero(t, b.rows("SELECT count(*) FROM sessions"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM users WHERE email_verified AND password_hash = 'x' AND mfa_enabled"))

	// Pending: active by the link, without a password yet.
	b.exec("DELETE FROM users")
	b.exec("INSERT INTO users (email, email_norm) VALUES ('made@x.test', 'made@x.test')")
	_, err = b.enterBy(b.link("made@x.test"))
	require.NoError(t, err)
	require.Equal(t, 3, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.recover' AND actor_id = target_id"))
}

// While it is off its paths are not there.
func TestMagicLinkIsOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	require.ErrorIs(t, b.SendMagicLink(t.Context(), nobody, "alice@x.test"), fault.ErrNotFound)
	_, err := b.enterBy("x")
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.Equal(t, []string{"password"}, b.Public().Methods)
	require.Contains(t, newBench(t, withMagicLink).Public().Methods, "magic_link")
}

package auth_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
)

const fresh = "amber compass hums 99 times"

// forgot asks for a reset and returns the token of its mail.
func (b *bench) forgot(email string) string {
	b.t.Helper()
	require.NoError(b.t, b.ForgotPassword(context.Background(), nobody, email))
	content, ok := b.outbox.last(b.t).Content.(notify.PasswordReset)
	require.True(b.t, ok, "%T", b.outbox.last(b.t).Content)
	return content.Token.Reveal()
}

func (b *bench) reset(token, pass string) error {
	return b.ResetPassword(context.Background(), nobody, token, secret.New(pass))
}

func (b *bench) change(by actor.Actor, current, next string) error {
	return b.ChangePassword(context.Background(), by, auth.PasswordChange{Current: secret.New(current), New: secret.New(next)})
}

func (b *bench) key(owner id.ID) {
	b.t.Helper()
	b.exec("INSERT INTO api_keys (id, user_id, created_by, name, environment, scopes) VALUES (gen_random_uuid(), $1, $1, 'k', 'live', '{me:read}')", owner)
}

func (b *bench) factor(owner id.ID) {
	b.t.Helper()
	b.exec("INSERT INTO mfa_factors (id, user_id, secret_sealed, activated_at) VALUES (gen_random_uuid(), $1, '', now())", owner)
	b.exec("INSERT INTO mfa_recovery_codes (user_id, code_hash) VALUES ($1, '\\x00')", owner)
	b.exec("UPDATE users SET mfa_enabled = true WHERE id = $1", owner)
}

// Of parallel resets with one token exactly one succeeds, and only its password works (OTT-01).
func TestOTT01(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	token := b.forgot("alice@x.test")
	var won atomic.Int32
	won.Store(-1)
	var wins, others atomic.Int32
	pass := func(i int) string { return fmt.Sprintf("%s %d", fresh, i) }
	parallel(20, func(i int) {
		for {
			err := b.reset(token, pass(i))
			switch {
			case err == nil:
				won.Store(int32(i))
				wins.Add(1)
			case code(err) == "overloaded": // the queue for hashing is bounded
				continue
			case code(err) != "invalid_token":
				others.Add(1)
			}
			return
		}
	})
	require.EqualValues(t, 1, wins.Load())
	require.Zero(t, others.Load())
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.password_reset'"))
	for i := range 20 {
		want := "invalid_credentials"
		if int32(i) == won.Load() {
			want = ""
		}
		_, err := b.loginFrom(fmt.Sprintf("192.0.2.%d", i+1), "alice@x.test", pass(i))
		require.Equal(t, want, code(err), i)
	}
	b.loginIs("alice@x.test", good, "invalid_credentials")
}

// A newer token kills the older, and one that was used, or whose account changed under it, is dead (OTT-07).
func TestOTT07(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	first := b.forgot("alice@x.test")
	second := b.forgot("alice@x.test")
	require.ErrorIs(t, b.reset(first, fresh), onetime.ErrInvalid)
	require.Equal(t, "validation_failed", code(b.reset(second, "short")), "a weak password keeps the token")
	require.NoError(t, b.reset(second, fresh))
	require.ErrorIs(t, b.reset(second, fresh), onetime.ErrInvalid)
	b.loginIs("alice@x.test", fresh, "")

	for name, end := range map[string]func(email string){
		"expired": func(string) {
			b.exec("UPDATE one_time_tokens SET expires_at = now() WHERE purpose = 'password_reset' AND used_at IS NULL")
		},
		"password-changed": func(email string) {
			_, by := b.mustLogin(email)
			require.NoError(t, b.change(by, good, fresh))
		},
		"address-changed": func(email string) {
			b.exec("UPDATE users SET email = 'x' || email, email_norm = 'x' || email_norm WHERE email_norm = $1", email)
		},
		"suspended": func(email string) { b.exec("UPDATE users SET status = 'suspended' WHERE email_norm = $1", email) },
		"deleting":  func(email string) { b.exec("UPDATE users SET status = 'deleting' WHERE email_norm = $1", email) },
		"deleted":   func(email string) { b.exec("DELETE FROM users WHERE email_norm = $1", email) },
	} {
		email := name + "@x.test"
		b.active(email)
		token := b.forgot(email)
		end(email)
		require.ErrorIs(t, b.reset(token, fresh), onetime.ErrInvalid, name)
	}
	for _, other := range []string{"", "garbage", b.register("pending@x.test", good).RegistrationID.Reveal(), b.verification().Token.Reveal()} {
		require.ErrorIs(t, b.reset(other, fresh), onetime.ErrInvalid, "another kind, or none")
	}
}

// A recovery ends all that somebody else may hold of the account, and tells its owner; second factors stay (OTT-06).
func TestRecoveryEndsEverythingElse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.active("alice@x.test")
	_, by := b.mustLogin("alice@x.test")
	b.key(u)
	b.key(u)
	b.exec("UPDATE api_keys SET revoked_at = '2020-01-01' WHERE id = (SELECT min(id::text)::uuid FROM api_keys)")
	b.exec("INSERT INTO one_time_tokens (id, purpose, token_hash, user_id, email_norm, auth_epoch, expires_at) "+
		"SELECT gen_random_uuid(), p, '\\x00', $1, 'alice@x.test', 1, now() + interval '1 day' FROM unnest(ARRAY['email_change', 'undo_email_change']) p", u)
	b.factor(u)
	_, err := b.login("alice@x.test", good)
	ticket, ok := fault.As(err).Extra["mfa_token"].(string)
	require.True(t, ok)

	require.NoError(t, b.reset(b.forgot("alice@x.test"), fresh))
	require.Zero(t, b.rows("SELECT count(*) FROM sessions"))
	require.Zero(t, b.rows("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM api_keys WHERE revoked_at = '2020-01-01'"), "what was dead is not touched")
	require.Equal(t, 1, b.rows("SELECT count(*) FROM one_time_tokens WHERE used_at IS NULL"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM one_time_tokens WHERE purpose = 'undo_email_change'"), "that is the former mailbox's")
	require.Equal(t, 2, b.rows("SELECT auth_epoch FROM users"))
	_, err = mfa.NewService(b.pool, nil, nil, "").Peek(t.Context(), ticket)
	require.ErrorIs(t, err, mfa.ErrTicket)
	require.ErrorIs(t, b.change(by, fresh, good), actor.ErrSession)
	b.loginIs("alice@x.test", fresh, "mfa_required")

	told := b.outbox.last(t)
	require.Equal(t, "alice@x.test", told.To)
	require.True(t, told.Content.(notify.PasswordRecovered).KeysRevoked)
	require.Equal(t, 1, b.rows(`SELECT count(*) FROM audit_events e JOIN audit_personal p ON p.event_id = e.id
		WHERE e.action = 'auth.password_reset' AND e.actor_id = $1 AND e.target_id = $1 AND p.changes ?& ARRAY['sessions', 'api_keys'] AND NOT p.changes ? 'status'`, u))
}

// Whoever proves the mailbox of an account that nobody had proven gets it empty: password, session, key and factor of who
// came first are dead (REG-05). Where an earlier address was proven, factors are the owner's and stay.
func TestREG05_RecoveryOfAnUnprovenAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *auth.Config, _ *throttle.Config) { c.EmailVerification = "optional" })
	attack := func(email string) id.ID {
		_, err := b.Register(t.Context(), nobody, auth.Registration{Email: email, Password: secret.New(bad)}, nil)
		require.NoError(t, err)
		u := b.user(email)
		b.loginIs(email, bad, "")
		b.key(u)
		b.factor(u)
		return u
	}
	for _, email := range []string{"victim@x.test", "corrected@x.test"} {
		u := attack(email)
		verification := b.verification().Token.Reveal()
		factors := 0
		if email == "corrected@x.test" {
			b.exec("UPDATE users SET was_verified = true WHERE id = $1", u)
			factors = 1
		}
		require.NoError(t, b.reset(b.forgot(email), good))
		for table, want := range map[string]int{
			"sessions": 0, "mfa_factors": factors, "mfa_recovery_codes": factors, "registration_attempts": 0,
			"api_keys WHERE revoked_at IS NULL": 0, "users WHERE mfa_enabled": factors, "users WHERE email_verified": 1,
			"one_time_tokens WHERE used_at IS NULL": 0, "sign_in_networks": factors, "sign_in_agents": factors,
		} {
			require.Equal(t, want, b.rows("SELECT count(*) FROM (SELECT * FROM "+table+") x"), "%s: %s", email, table)
		}
		require.ErrorIs(t, b.VerifyEmail(t.Context(), nobody, auth.Verification{Token: &verification, Password: new(secret.New(bad))}), onetime.ErrInvalid)
		b.loginIs(email, bad, "invalid_credentials")
		b.loginIs(email, good, map[int]string{0: "", 1: "mfa_required"}[factors])
		b.exec("DELETE FROM users")
	}
}

// A reset proves the address: a pending account is active by it, and the registrations that waited are dead (REG-05).
func TestREG05_ResetOfAPendingAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	attacker := b.register("victim@x.test", bad)
	mailed := b.verification()
	token := b.forgot("victim@x.test")
	require.NoError(t, b.reset(token, good))
	b.loginIs("victim@x.test", bad, "invalid_credentials")
	b.loginIs("victim@x.test", good, "")
	require.Zero(t, b.rows("SELECT count(*) FROM registration_attempts"))
	for _, v := range []auth.Verification{
		{Token: new(mailed.Token.Reveal()), Password: new(secret.New(bad))},
		{Token: new(mailed.Token.Reveal()), RegistrationID: new(attacker.RegistrationID.Reveal())},
		{Code: new(mailed.Code.Reveal()), RegistrationID: new(attacker.RegistrationID.Reveal())},
	} {
		require.ErrorIs(t, b.VerifyEmail(t.Context(), nobody, v), onetime.ErrInvalid)
	}
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_personal WHERE changes @> '{\"status\": {\"from\": \"pending\", \"to\": \"active\"}}'"))

	// An account without a password gets its first one so.
	b.exec("INSERT INTO users (email, email_norm) VALUES ('made@x.test', 'made@x.test')")
	require.NoError(t, b.reset(b.forgot("made@x.test"), good))
	b.loginIs("made@x.test", good, "")

	// The other way round: what proves a registration ends the reset that somebody asked for.
	b.register("late@x.test", good)
	v := b.verification()
	token = b.forgot("late@x.test")
	require.NoError(t, b.VerifyEmail(t.Context(), nobody, auth.Verification{Token: new(v.Token.Reveal()), Password: new(secret.New(good))}))
	require.ErrorIs(t, b.reset(token, fresh), onetime.ErrInvalid)
}

// No mail leaves for an address without an account that can be entered, and nothing shows it but the time that all take.
func TestForgotIsNeutral(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, status := range []string{"suspended", "deleting"} {
		b.active(status + "@x.test")
		b.exec("UPDATE users SET status = $1 WHERE email_norm = $1 || '@x.test'", status)
	}
	mails := b.outbox.len()
	for _, email := range []string{"suspended@x.test", "deleting@x.test", "nobody@x.test"} {
		begin := time.Now()
		require.NoError(t, b.ForgotPassword(t.Context(), nobody, email))
		require.GreaterOrEqual(t, time.Since(begin), 50*time.Millisecond)
	}
	require.Equal(t, mails, b.outbox.len())
	require.Zero(t, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.password_forgot'"))
	require.Equal(t, "validation_failed", code(b.ForgotPassword(t.Context(), nobody, "no address")))
}

// Three mails an hour and ten a day for an address, from however many networks; its owner's own have theirs (OTT-10).
func TestOTT10_ResetMails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	b.mustLogin("alice@x.test")
	b.exec("DELETE FROM credential_limits")
	resets := func() int { return b.rows("SELECT count(*) FROM mail_messages WHERE template = 'password_reset'") }
	ask := func(n int) {
		t.Helper()
		var failed atomic.Int32
		parallel(n, func(i int) {
			by := nobody
			by.Origin.IP = netip.AddrFrom4([4]byte{203, 0, byte(113 + i/250), byte(1 + i%250)})
			if b.ForgotPassword(context.Background(), by, "alice@x.test") != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
	}
	ask(500)
	require.Equal(t, 3, resets())
	for range 4 {
		b.exec("UPDATE credential_limits SET resets_at = now() WHERE resets_at < now() + interval '2 hours'")
		ask(10)
	}
	require.Equal(t, 10, resets())
	b.forgot("alice@x.test") // from where she signs in
	require.Equal(t, 11, resets())
}

// A hundred failures in a row lock an account until its owner proves the mailbox.
func TestResetOpensALockedAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(_ *auth.Config, l *throttle.Config) { l.Login = ratelimit.Rate{Limit: 1000, Window: time.Hour} })
	b.active("alice@x.test")
	for i := range 101 {
		_, _ = b.loginFrom(fmt.Sprintf("198.51.100.%d", i), "alice@x.test", bad)
	}
	b.loginIs("alice@x.test", good, "rate_limited")
	require.NoError(t, b.reset(b.forgot("alice@x.test"), fresh))
	b.loginIs("alice@x.test", fresh, "")
}

// A change needs the present password, counts like a login, and leaves this session and the keys (PWD-08).
func TestPWD08(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.active("alice@x.test")
	b.key(u)
	first, by := b.mustLogin("alice@x.test")
	b.mustLogin("alice@x.test")
	token := b.forgot("alice@x.test")
	b.factor(u)
	_, err := b.login("alice@x.test", good)
	ticket, ok := fault.As(err).Extra["mfa_token"].(string)
	require.True(t, ok)
	factors := mfa.NewService(b.pool, nil, nil, "")
	_, err = factors.Peek(t.Context(), ticket)
	require.NoError(t, err)
	b.exec("DELETE FROM mfa_factors")
	b.exec("UPDATE users SET mfa_enabled = false")
	before := b.hasher.Stats()
	require.ErrorIs(t, b.change(by, bad, fresh), auth.ErrInvalidCredentials)
	require.EqualValues(t, 1, b.hasher.Stats().Verifications-before.Verifications)
	require.Equal(t, before.Hashes, b.hasher.Stats().Hashes)
	err = b.change(by, good, "alice@x.test")
	require.Equal(t, "/new_password", fault.As(err).Fields[0].Pointer)
	require.EqualValues(t, 1, b.hasher.Stats().Verifications-before.Verifications, "refused before hashing")

	require.NoError(t, b.change(by, good, fresh))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.auth_epoch = u.auth_epoch AND s.id = $1", first.SessionID))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM sessions"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL"))
	require.ErrorIs(t, b.reset(token, bad), onetime.ErrInvalid)
	_, err = factors.Peek(t.Context(), ticket)
	require.ErrorIs(t, err, mfa.ErrTicket)
	require.IsType(t, notify.PasswordChanged{}, b.outbox.last(t).Content)
	_, err = b.Refresh(t.Context(), nobody, first.RefreshToken)
	require.NoError(t, err)
	b.loginIs("alice@x.test", good, "invalid_credentials")
	b.loginIs("alice@x.test", fresh, "")

	for range 10 {
		_ = b.change(by, bad, good)
	}
	require.ErrorIs(t, b.change(by, fresh, good), throttle.ErrLimited)
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.password_change' AND outcome = 'success'"))
}

// Of parallel changes in different sessions one wins, and its session is the one that is left.
func TestPWD08_ParallelChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t, withoutLimits)
	b.active("alice@x.test")
	const n = 6
	by := make([]actor.Actor, n)
	for i := range by {
		_, by[i] = b.mustLogin("alice@x.test")
	}
	var won atomic.Int32
	won.Store(-1)
	var wins atomic.Int32
	parallel(n, func(i int) {
		if b.change(by[i], good, fmt.Sprintf("%s %d", fresh, i)) == nil {
			won.Store(int32(i))
			wins.Add(1)
		}
	})
	require.EqualValues(t, 1, wins.Load())
	require.Equal(t, 1, b.rows("SELECT count(*) FROM sessions WHERE id = $1", by[won.Load()].SessionID))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM sessions"))
	b.loginIs("alice@x.test", fmt.Sprintf("%s %d", fresh, won.Load()), "")
}

package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// 100 parallel registrations of one address: one account, three attempts, three mails, no error, answers alike (REG-01).
func TestREG01(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var failed atomic.Int32
	parallel(100, func(int) {
		for {
			r, err := b.Register(context.Background(), nobody, auth.Registration{Email: "Eve@x.test", Password: secret.New(good)}, nil)
			if errors.Is(err, password.ErrOverloaded) || postgres.Classify(err) != nil && err != nil {
				continue // a small machine; the client tries again
			}
			if err != nil || len(r.RegistrationID.Reveal()) != 43 || r.User != nil {
				failed.Add(1)
			}
			return
		}
	})
	require.Zero(t, failed.Load())
	require.Equal(t, 1, b.rows("SELECT count(*) FROM users"))
	require.Equal(t, 3, b.rows("SELECT count(*) FROM registration_attempts WHERE expires_at > now()"))
	require.Equal(t, 3, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.register' AND outcome = 'success'"))
	require.Equal(t, 3, b.rows("SELECT count(*) FROM mail_messages"))
}

// A known address gets the answer of an unknown one; only its mailbox differs (REG-02).
func TestREG02(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	counted := func(call func()) (hashes, verifications uint64) {
		before := b.hasher.Stats()
		call()
		after := b.hasher.Stats()
		return after.Hashes - before.Hashes, after.Verifications - before.Verifications
	}
	for _, email := range []string{"alice@x.test", "nobody.yet@x.test"} { // without a clock: the same work on every path
		hashes, verifications := counted(func() { b.register(email, bad) })
		require.Equal(t, []uint64{1, 0}, []uint64{hashes, verifications}, email)
		hashes, verifications = counted(func() {
			require.NoError(t, b.ForgotPassword(t.Context(), nobody, email))
			require.NoError(t, b.ResendVerification(t.Context(), nobody, email, ""))
		})
		require.Equal(t, []uint64{0, 0}, []uint64{hashes, verifications}, email)
	}
	b.exec("DELETE FROM credential_limits")
	known := b.register("alice@x.test", bad)
	require.IsType(t, notify.AlreadyRegistered{}, b.outbox.last(t).Content)
	unknown := b.register("nobody@x.test", bad)
	require.Len(t, known.RegistrationID.Reveal(), len(unknown.RegistrationID.Reveal()))
	require.Nil(t, known.User)
	b.loginIs("alice@x.test", good, "")
	b.loginIs("alice@x.test", bad, "invalid_credentials")

	code := b.verification().Code.Reveal()
	err := b.VerifyEmail(t.Context(), nobody, auth.Verification{Code: new(code), RegistrationID: new(known.RegistrationID.Reveal())})
	require.ErrorIs(t, err, onetime.ErrInvalid, "it never verifies")

	mails := b.outbox.len()
	for _, email := range []string{"alice@x.test", "stranger@x.test"} {
		require.NoError(t, b.ResendVerification(t.Context(), nobody, email, ""))
	}
	require.Equal(t, mails, b.outbox.len())
	require.Zero(t, b.rows("SELECT count(*) FROM audit_personal p JOIN audit_events e ON e.id = p.event_id WHERE label = 'stranger@x.test'"))
}

func (b *bench) loginIs(email, pass, want string) {
	b.t.Helper()
	_, err := b.login(email, pass)
	if want == "" {
		require.NoError(b.t, err)
		return
	}
	require.Equal(b.t, want, code(err), "%v", err)
}

// Whoever proves the mailbox with his own password gets the account; the password of who came first is dead (REG-05).
func TestREG05(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	attacker := b.register("victim@x.test", bad)
	attackersMail := b.verification()
	owner := b.register("victim@x.test", good)
	ownersMail := b.verification()

	verify := func(v auth.Verification) error { return b.VerifyEmail(t.Context(), nobody, v) }
	// The owner clicks the attacker's mail and types his own password: refused, and the token lives on.
	require.ErrorIs(t, verify(auth.Verification{Token: new(attackersMail.Token.Reveal()), Password: new(secret.New(good))}), auth.ErrInvalidCredentials)
	// Codes and tokens are bound to their attempt.
	for _, v := range []auth.Verification{
		{Code: new(ownersMail.Code.Reveal()), RegistrationID: new(attacker.RegistrationID.Reveal())},
		{Token: new(ownersMail.Token.Reveal()), RegistrationID: new(attacker.RegistrationID.Reveal())},
		{Token: new(attackersMail.Code.Reveal()), Password: new(secret.New(good))},
		{Token: new(owner.RegistrationID.Reveal()), Password: new(secret.New(good))},
	} {
		require.ErrorIs(t, verify(v), onetime.ErrInvalid)
	}
	b.loginIs("victim@x.test", good, "email_unverified")
	b.loginIs("victim@x.test", bad, "invalid_credentials")

	byToken := auth.Verification{Token: new(ownersMail.Token.Reveal()), RegistrationID: new(owner.RegistrationID.Reveal())}
	require.NoError(t, verify(byToken))
	require.NoError(t, verify(byToken), "again, while its result holds")
	require.NoError(t, verify(auth.Verification{Token: new(ownersMail.Token.Reveal()), Password: new(secret.New(good))}))
	require.ErrorIs(t, verify(auth.Verification{Token: new(ownersMail.Token.Reveal()), Password: new(secret.New(bad))}), auth.ErrInvalidCredentials)
	require.ErrorIs(t, verify(auth.Verification{Token: new(attackersMail.Token.Reveal()), Password: new(secret.New(bad))}), onetime.ErrInvalid)
	require.ErrorIs(t, verify(auth.Verification{Code: new(attackersMail.Code.Reveal()), RegistrationID: new(attacker.RegistrationID.Reveal())}), onetime.ErrInvalid)
	b.loginIs("victim@x.test", bad, "invalid_credentials")
	b.loginIs("victim@x.test", good, "")
	require.Equal(t, 1, b.rows("SELECT count(*) FROM registration_attempts WHERE password_hash = ''"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.verify_email' AND outcome = 'success'"))
	b.exec("UPDATE users SET status = 'suspended'")
	require.ErrorIs(t, verify(byToken), onetime.ErrInvalid, "its result no longer holds")
}

// Parallel copies of one verification all succeed and have one effect.
func TestVerifyInParallel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.register("alice@x.test", good)
	token := b.verification().Token.Reveal()
	var failed atomic.Int32
	parallel(20, func(int) {
		if b.VerifyEmail(context.Background(), nobody, auth.Verification{Token: new(token), RegistrationID: new(r.RegistrationID.Reveal())}) != nil {
			failed.Add(1)
		}
	})
	require.Zero(t, failed.Load())
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.verify_email'"))
}

// Of a code five tries are looked at, however many come at once; then it is dead, and a new mail brings another (OTT-09).
func TestOTT09(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	r := b.register("alice@x.test", good)
	right := b.verification().Code.Reveal()
	wrong := "00000000"
	if right == wrong {
		wrong = "00000001"
	}
	try := func(code string) error {
		return b.VerifyEmail(context.Background(), nobody, auth.Verification{Code: new(code), RegistrationID: new(r.RegistrationID.Reveal())})
	}
	parallel(100, func(int) { _ = try(wrong) })
	require.Equal(t, 5, b.rows("SELECT max(tries) FROM one_time_tokens"))
	require.ErrorIs(t, try(right), onetime.ErrInvalid)

	old := b.verification()
	require.NoError(t, b.ResendVerification(ctx, nobody, "alice@x.test", r.RegistrationID.Reveal()))
	fresh := b.verification()
	require.ErrorIs(t, b.VerifyEmail(ctx, nobody, auth.Verification{Token: new(old.Token.Reveal()), Password: new(secret.New(good))}), onetime.ErrInvalid,
		"the newer kills the older")
	b.exec("UPDATE one_time_tokens SET expires_at = now() - interval '1 second' WHERE purpose = 'verify_email_code'")
	require.ErrorIs(t, try(fresh.Code.Reveal()), onetime.ErrInvalid, "expired")
	b.exec("UPDATE one_time_tokens SET expires_at = now() - interval '1 second' + interval '1 minute'")
	require.NoError(t, try(fresh.Code.Reveal()))
	require.NoError(t, try(fresh.Code.Reveal()), "again")
	b.loginIs("alice@x.test", good, "")
}

// No more than three mails an hour, whatever is asked for; the answer stays the same (OTT-10).
func TestOTT10(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 5 {
		b.register("alice@x.test", good)
		require.NoError(t, b.ResendVerification(t.Context(), nobody, "alice@x.test", ""))
	}
	require.Equal(t, 3, b.outbox.len())
}

// A token is bound to address and epoch.
func TestTokenIsBound(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"epoch": "auth_epoch = 2", "address": "email_norm = 'other@x.test', email = 'other@x.test'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			r := b.register("alice@x.test", good)
			m := b.verification()
			b.exec("UPDATE users SET " + change)
			for _, v := range []auth.Verification{
				{Token: new(m.Token.Reveal()), Password: new(secret.New(good))}, {Code: new(m.Code.Reveal()), RegistrationID: new(r.RegistrationID.Reveal())},
			} {
				require.ErrorIs(t, b.VerifyEmail(t.Context(), nobody, v), onetime.ErrInvalid)
			}
		})
	}
}

// An address that an administrator made or corrected: the account's password proves it, or the first one is chosen.
func TestVerificationWithoutAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	b.active("alice@x.test")
	b.exec("UPDATE users SET email = 'new@x.test', email_norm = 'new@x.test', email_verified = false, auth_epoch = 2")
	require.NoError(t, b.ResendVerification(ctx, nobody, "new@x.test", ""))
	m := b.verification()
	require.Empty(t, m.Code.Reveal())
	b.loginIs("new@x.test", good, "email_unverified")
	require.ErrorIs(t, b.VerifyEmail(ctx, nobody, auth.Verification{Token: new(m.Token.Reveal()), Password: new(secret.New(bad))}), auth.ErrInvalidCredentials)
	require.NoError(t, b.VerifyEmail(ctx, nobody, auth.Verification{Token: new(m.Token.Reveal()), Password: new(secret.New(good))}))
	b.loginIs("new@x.test", good, "")

	b.exec("INSERT INTO users (email, email_norm) VALUES ('made@x.test', 'made@x.test')")
	require.NoError(t, b.ResendVerification(ctx, nobody, "made@x.test", ""))
	token := b.verification().Token.Reveal()
	require.Equal(t, "validation_failed", code(b.VerifyEmail(ctx, nobody, auth.Verification{Token: new(token), Password: new(secret.New("made@x.test"))})))
	require.NoError(t, b.VerifyEmail(ctx, nobody, auth.Verification{Token: new(token), Password: new(secret.New(good))}))
	b.loginIs("made@x.test", good, "")
}

// Exactly one of three shapes.
func TestVerificationShapes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := secret.New("p")
	for _, v := range []auth.Verification{
		{},
		{Token: new("t")},
		{Code: new("c")},
		{RegistrationID: new("r")},
		{Password: new(p)},
		{Code: new("c"), Password: new(p)},
		{RegistrationID: new("r"), Password: new(p)},
		{Token: new("t"), Code: new("c"), RegistrationID: new("r")},
		{Token: new("t"), Code: new("c")},
		{Token: new("t"), RegistrationID: new("r"), Password: new(p)},
	} {
		require.Equal(t, "validation_failed", code(b.VerifyEmail(t.Context(), nobody, v)))
	}
	for _, v := range []auth.Verification{
		{Token: new("t"), Password: new(p)}, {Token: new("t"), RegistrationID: new("r")}, {Code: new("c"), RegistrationID: new("r")},
	} {
		require.ErrorIs(t, b.VerifyEmail(t.Context(), nobody, v), onetime.ErrInvalid)
	}
}

// All faults of a registration in one answer, before anything is hashed (PWD-03, PWD-04).
func TestRegistrationIsChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	name, locale := "a\r\nb", "klingon_x"
	_, err := b.Register(t.Context(), nobody, auth.Registration{Email: "no", Password: secret.New("short"), DisplayName: &name, Locale: &locale}, nil)
	var pointers []string
	for _, f := range fault.As(err).Fields {
		pointers = append(pointers, f.Pointer)
	}
	require.ElementsMatch(t, []string{"/email", "/password", "/display_name", "/locale"}, pointers)
	for pass, want := range map[string]string{
		strings.Repeat("x9 Kd", 52): "too_long", "aaaaaaaaaaaaaaa": "", "wendigo@moor.test": "contains_context",
	} {
		_, err := b.Register(t.Context(), nobody, auth.Registration{Email: "wendigo@moor.test", Password: secret.New(pass)}, nil)
		require.Equal(t, "/password", fault.As(err).Fields[0].Pointer)
		if want != "" {
			require.Equal(t, want, fault.As(err).Fields[0].Code)
		}
	}
	require.Zero(t, b.hasher.Stats().Hashes)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *auth.Config, _ *throttle.Config) { c.Registration = "closed" })
	_, err := b.Register(t.Context(), nobody, auth.Registration{Email: "a@x.test", Password: secret.New(good)}, nil)
	require.ErrorIs(t, err, auth.ErrRegistrationClosed)
}

// Where proof is optional an account works at once, and a taken address is told.
func TestOptionalVerification(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *auth.Config, _ *throttle.Config) { c.EmailVerification = "optional" })
	kept := 0
	keep := func(context.Context, postgres.Tx, auth.Registered) error { kept++; return nil }
	r, err := b.Register(t.Context(), nobody, auth.Registration{Email: "Alice@x.test", Password: secret.New(good)}, keep)
	require.NoError(t, err)
	require.Equal(t, user.Active, r.User.Status)
	require.False(t, r.User.EmailVerified)
	require.Equal(t, 1, kept)
	b.loginIs("alice@x.test", good, "")
	_, err = b.Register(t.Context(), nobody, auth.Registration{Email: "ALICE@x.test", Password: secret.New(good)}, keep)
	require.ErrorIs(t, err, user.ErrEmailTaken)
	require.NoError(t, b.VerifyEmail(t.Context(), nobody, auth.Verification{Token: new(b.verification().Token.Reveal()), Password: new(secret.New(good))}))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM users WHERE email_verified"))
}

// The first admin comes from an invitation: the role is his at once, the password when he accepts.
func TestInvitation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	attacker := b.register("boss@x.test", bad)
	attackersMail := b.verification()
	first, err := b.InviteFirstAdmin(ctx, system, "Boss@x.test", false)
	require.NoError(t, err)
	link, err := b.InviteAdmin(ctx, system, "Boss@x.test")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(link.Reveal(), publicURL+"/accept-invitation#token="))
	tokenOf := func(link secret.Text) string { _, token, _ := strings.Cut(link.Reveal(), "#token="); return token }
	require.Equal(t, 1, b.rows("SELECT count(*) FROM user_roles g JOIN users u ON u.id = g.user_id WHERE u.status = 'pending'"))

	accept := func(token, pass string) error {
		return b.AcceptInvitation(ctx, nobody, auth.Acceptance{Token: token, Password: secret.New(pass)})
	}
	require.ErrorIs(t, accept(tokenOf(first), good), onetime.ErrInvalid, "the newer kills the older")
	require.ErrorIs(t, accept(attackersMail.Token.Reveal(), good), onetime.ErrInvalid, "another purpose")
	require.ErrorIs(t, accept("garbage", good), onetime.ErrInvalid)
	require.Equal(t, "validation_failed", code(accept(tokenOf(link), "short")))
	require.NoError(t, accept(tokenOf(link), good), "a weak password kept the token")
	require.ErrorIs(t, accept(tokenOf(link), good), onetime.ErrInvalid)
	require.ErrorIs(t, b.VerifyEmail(ctx, nobody, auth.Verification{
		Token: new(attackersMail.Token.Reveal()), RegistrationID: new(attacker.RegistrationID.Reveal()),
	}), onetime.ErrInvalid, "other claims are dead")
	tokens, _ := b.mustLogin("boss@x.test")
	claims, err := b.verifier.Verify(tokens.AccessToken.Reveal())
	require.NoError(t, err)
	require.Equal(t, []string{"admin", "user"}, claims.Roles)

	_, err = b.InviteAdmin(ctx, system, "boss@x.test")
	require.ErrorIs(t, err, user.ErrEmailTaken)
	none, err := b.InviteFirstAdmin(ctx, system, "other@x.test", false)
	require.NoError(t, err)
	require.True(t, none.Empty(), "there is one")
}

// Replicas that start together mail one invitation, and a restart mails no other.
func TestFirstAdminIsMailedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	errs := make([]error, 5)
	parallel(5, func(i int) {
		link := secret.New("none yet")
		for errs[i] = postgres.ErrUnavailable; postgres.Classify(errs[i]) != nil || errors.Is(errs[i], postgres.ErrUnavailable); {
			link, errs[i] = b.InviteFirstAdmin(context.Background(), system, "boss@x.test", true) // a start-up tries again, too
		}
		if errs[i] == nil && !link.Empty() {
			errs[i] = errors.New("a link where a mail was sent")
		}
	})
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, 1, b.outbox.len())
	require.IsType(t, notify.Invitation{}, b.outbox.last(t).Content)
	b.exec("UPDATE one_time_tokens SET expires_at = now() - interval '1 second'")
	_, err := b.InviteFirstAdmin(t.Context(), system, "boss@x.test", true)
	require.NoError(t, err)
	require.Equal(t, 2, b.outbox.len())
}

// A mail's answer takes the same time whether the address is known or not.
func TestResendIsEven(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	begin := time.Now()
	require.NoError(t, b.ResendVerification(t.Context(), nobody, "nobody@x.test", ""))
	require.GreaterOrEqual(t, time.Since(begin), 50*time.Millisecond)
}

// On whose word a pending account holds its roles is known for as long as nobody has taken it: the invitation outlives its
// time, and goes when the account is its owner's.
func TestInvitationsStayWithPendingAccounts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	_, err := b.InviteAdmin(ctx, system, "boss@x.test")
	require.NoError(t, err)
	invitations := func() int { return b.rows("SELECT count(*) FROM one_time_tokens WHERE purpose = 'invitation'") }
	b.exec("UPDATE one_time_tokens SET expires_at = now() - interval '1 second'")
	require.NoError(t, b.OneTime.Sweep(ctx))
	require.Equal(t, 1, invitations())
	require.NoError(t, b.reset(b.forgot("boss@x.test"), fresh))
	require.Zero(t, invitations())
}

// An address that nobody has proven may be a stranger's: what its account does in a session sends it no more mails than a
// stranger could.
func TestMailsToUnprovenAddressesAreCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	_, by := b.mustLogin("alice@x.test")
	b.exec("UPDATE users SET email_verified = false")
	told := func() (n int) {
		for _, m := range b.outbox.mails {
			if m.To == "alice@x.test" {
				n++
			}
		}
		return n
	}
	for i := range 5 {
		require.NoError(t, b.ChangeEmail(t.Context(), by, fmt.Sprintf("new%d@x.test", i)))
	}
	require.Equal(t, 3, told(), "the verification mail is one of them")
}

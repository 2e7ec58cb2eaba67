package auth_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

var system = actor.Service("test")

// Only the whole password works, however long (PWD-01).
func TestPWD01(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	long := strings.Repeat("violet harbour sings ", 5)[:100]
	b.register("alice@x.test", long)
	m := b.verification()
	require.NoError(t, b.VerifyEmail(t.Context(), nobody, auth.Verification{Token: new(m.Token.Reveal()), Password: new(secret.New(long))}))
	for _, p := range []string{long[:72], long[:64], long + "x", long[:99]} {
		b.loginIs("alice@x.test", p, "invalid_credentials")
	}
	b.loginIs("alice@x.test", long, "")
}

// Every path of a wrong password is one verification and one answer (PWD-06).
func TestPWD06(t *testing.T) {
	t.Parallel()
	b := newBench(t, withoutLimits)
	for _, name := range []string{"active", "suspended", "deleting", "passwordless", "unverified"} {
		b.active(name + "@x.test")
	}
	b.register("pending@x.test", good)
	b.exec("UPDATE users SET status = split_part(email_norm, '@', 1) WHERE email_norm IN ('suspended@x.test', 'deleting@x.test')")
	b.exec("UPDATE users SET password_hash = NULL WHERE email_norm = 'passwordless@x.test'")
	b.exec("UPDATE users SET email_verified = false WHERE email_norm = 'unverified@x.test'")
	b.exec("INSERT INTO users (email, email_norm) VALUES ('bare@x.test', 'bare@x.test')")

	right := map[string]string{
		"active@x.test": "", "suspended@x.test": "account_suspended", "deleting@x.test": "invalid_credentials",
		"passwordless@x.test": "invalid_credentials", "unverified@x.test": "email_unverified", "pending@x.test": "email_unverified",
		"bare@x.test": "invalid_credentials", "missing@x.test": "invalid_credentials", "no address": "invalid_credentials",
	}
	wrongError := ""
	for email, want := range right {
		for _, pass := range []string{bad, good} {
			before := b.hasher.Stats()
			failures := b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.login' AND outcome = 'failure' AND actor_type = 'anonymous'")
			_, err := b.login(email, pass)
			require.EqualValues(t, 1, b.hasher.Stats().Verifications-before.Verifications, email)
			if pass == good && want == "" {
				require.NoError(t, err)
				continue
			}
			require.Equal(t, failures+1, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.login' AND outcome = 'failure' AND actor_type = 'anonymous'"), email)
			if pass == good {
				require.Equal(t, want, code(err), email)
				continue
			}
			if wrongError == "" {
				wrongError = err.Error()
			}
			require.ErrorIs(t, err, auth.ErrInvalidCredentials)
			require.Equal(t, wrongError, err.Error())
		}
	}
	require.Zero(t, b.rows("SELECT count(*) FROM audit_personal WHERE label LIKE '%missing@x.test%' OR label LIKE '%no address%'"))
}

// A sign-in says what its tokens must say, and its hash is renewed when the parameters have changed.
func TestLogin(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.active("alice@x.test")
	tokens, err := b.login("ALICE@X.test", good)
	require.NoError(t, err)
	claims, err := b.verifier.Verify(tokens.AccessToken.Reveal())
	require.NoError(t, err)
	require.Equal(t, u.String(), claims.Subject)
	require.Equal(t, tokens.SessionID.String(), claims.SessionID)
	require.Equal(t, "aal1", claims.ACR)
	require.Equal(t, []string{"pwd"}, claims.AMR)
	require.Equal(t, []string{"user"}, claims.Roles)
	require.Equal(t, 5*time.Minute, tokens.ExpiresIn)
	require.InDelta(t, 3600, tokens.RefreshExpiresIn.Seconds(), 5)
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.login' AND actor_id = $1 AND target_id = $2", u, tokens.SessionID))

	dear, err := password.NewHasher(password.Config{Argon2MemoryKiB: 128, Argon2Iterations: 2, Argon2Parallelism: 1})
	require.NoError(t, err)
	old, err := dear.Hash(t.Context(), secret.New(good))
	require.NoError(t, err)
	b.exec("UPDATE users SET password_hash = $1", old)
	hashes := b.hasher.Stats().Hashes
	for range 2 {
		b.mustLogin("alice@x.test")
	}
	require.Equal(t, hashes+1, b.hasher.Stats().Hashes, "renewed once")
	require.Equal(t, 1, b.rows("SELECT count(*) FROM users WHERE password_hash LIKE '%m=64,t=1%'"))
}

// How many statements the flows take, caches warm.
func TestStatements(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	tokens, by := b.mustLogin("alice@x.test")
	var err error
	refreshed := tokens
	for name, c := range map[string]struct {
		most int
		call func()
	}{
		"register, unknown": {9, func() { b.register("new@x.test", good) }},
		"register, known":   {9, func() { b.register("alice@x.test", good) }},
		"login":             {6, func() { _, err = b.login("alice@x.test", good) }},
		"login, wrong":      {6, func() { _, _ = b.login("alice@x.test", bad) }},
		"refresh":           {1, func() { refreshed, err = b.Refresh(t.Context(), nobody, refreshed.RefreshToken) }},
		"reauthenticate": {6, func() {
			_, err = b.Reauthenticate(t.Context(), by, auth.Reauthentication{Password: new(secret.New(good))})
		}},
	} {
		n := b.count.during(c.call)
		require.NoError(t, err, name)
		require.LessOrEqual(t, n, c.most, name)
		t.Log(name, n)
	}
}

// One network guesses at many accounts, many networks at one: both end, known or not alike (RL-04).
func TestRL04(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	for _, email := range []string{"alice@x.test", "unknown@x.test"} {
		for i := range 11 {
			_, err := b.loginFrom("203.0.113.9", email, bad)
			want := "invalid_credentials"
			if i == 10 {
				want = "rate_limited"
			}
			require.Equal(t, want, code(err), "%s %d", email, i)
		}
	}
	require.Equal(t, 2, b.rows("SELECT count(*) FROM audit_personal WHERE reason = 'rate_limited'"), "the first of each window")
	for i := range 200 {
		_, _ = b.loginFrom("198.51.100.1", fmt.Sprintf("u%d@x.test", i), bad)
	}
	_, err := b.loginFrom("198.51.100.1", "alice@x.test", good)
	require.Equal(t, "rate_limited", code(err))
	evaluated := b.hasher.Stats().Verifications
	require.LessOrEqual(t, evaluated, uint64(1+20+100))
}

// Strangers burn an account's failures: its owner still gets in from where he was, everyone else waits (RL-05).
func TestRL05(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	b.mustLogin("alice@x.test")
	for i := range 110 {
		_, _ = b.loginFrom(netip.AddrFrom4([4]byte{10, 1, byte(i / 5), 1}).String(), "alice@x.test", bad)
	}
	_, err := b.loginFrom("10.9.9.9", "alice@x.test", good)
	require.Equal(t, "rate_limited", code(err))
	b.mustLogin("alice@x.test")
	_, err = b.loginFrom("10.9.9.9", "alice@x.test", good)
	require.Equal(t, "rate_limited", code(err), "signing in does not unlock")
}

// 100 parallel guesses with ten left: at most ten are looked at (RL-07).
func TestRL07(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	before := b.hasher.Stats().Verifications
	parallel(100, func(int) { _, _ = b.login("alice@x.test", bad) })
	require.LessOrEqual(t, b.hasher.Stats().Verifications-before, uint64(10))
}

// What the full hashing queue refuses was never judged, and counts for nothing: a flood locks nobody out.
func TestOverloadIsNoFailure(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(_ *auth.Config, l *throttle.Config) { l.Login.Limit = 1000 })
	b.active("alice@x.test")
	const counted = "SELECT coalesce(sum(count), 0) FROM credential_limits"
	before := b.rows(counted)
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	for range 20 * b.hasher.Stats().Slots {
		flood.Go(func() {
			for ctx.Err() == nil {
				_, _ = b.hasher.Hash(ctx, secret.New(good))
			}
		})
	}
	judged, refused := 0, 0
	for range 500 {
		switch _, err := b.login("alice@x.test", bad); code(err) {
		case "overloaded":
			refused++
		case "invalid_credentials":
			judged++
		default:
			require.NoError(t, err)
		}
		if refused >= 3 {
			break
		}
	}
	stop()
	flood.Wait()
	require.Positive(t, refused)
	require.Equal(t, before+3*judged, b.rows(counted), "pair, network and account")
	b.loginIs("alice@x.test", good, "")
}

// Refresh rotates; a copied token ends the session, which is recorded and told to the owner (TOK-02).
func TestTOK02(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	u := b.active("alice@x.test")
	r1, _ := b.mustLogin("alice@x.test")
	r2, err := b.Refresh(ctx, nobody, r1.RefreshToken)
	require.NoError(t, err)
	again, err := b.Refresh(ctx, nobody, r1.RefreshToken)
	require.NoError(t, err)
	require.Equal(t, r2.RefreshToken.Reveal(), again.RefreshToken.Reveal())
	require.NotEqual(t, r2.AccessToken.Reveal(), again.AccessToken.Reveal())
	r3, err := b.Refresh(ctx, nobody, r2.RefreshToken)
	require.NoError(t, err)
	for _, old := range []auth.Tokens{r1, r3, r2} {
		_, err = b.Refresh(ctx, nobody, old.RefreshToken)
		require.ErrorIs(t, err, auth.ErrRefreshToken)
	}
	require.Zero(t, b.rows("SELECT count(*) FROM sessions"))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM audit_events WHERE action = 'session.reuse' AND outcome = 'failure' AND target_id = $1", r1.SessionID))
	require.Equal(t, 3, b.rows("SELECT count(*) FROM audit_events WHERE action = 'session.refresh' AND actor_id = $1", u))
	require.IsType(t, notify.SessionReuse{}, b.outbox.last(t).Content)
	for _, garbage := range []string{"", "x", r1.AccessToken.Reveal(), r1.RefreshToken.Reveal() + "A"} {
		n := b.count.during(func() { _, err = b.Refresh(ctx, nobody, secret.New(garbage)) })
		require.ErrorIs(t, err, auth.ErrRefreshToken)
		require.Zero(t, n, "garbage never reaches the database")
	}
}

// 50 parallel refreshes of one token carry one successor (TOK-01).
func TestTOK01(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.active("alice@x.test")
	tokens, _ := b.mustLogin("alice@x.test")
	var other, failed atomic.Int32
	var successor atomic.Value
	parallel(50, func(int) {
		got, err := b.Refresh(context.Background(), nobody, tokens.RefreshToken)
		switch {
		case err != nil && postgres.Classify(err) != nil:
			// a machine that is too busy: 503, and the client tries again
		case err != nil:
			failed.Add(1)
		case !successor.CompareAndSwap(nil, got.RefreshToken.Reveal()) && successor.Load() != got.RefreshToken.Reveal():
			other.Add(1)
		}
	})
	require.Zero(t, failed.Load())
	require.Zero(t, other.Load())
	require.NotNil(t, successor.Load())
	require.Equal(t, 1, b.rows("SELECT count(*) FROM sessions WHERE counter = 1"))
}

// A reauthentication freshens the session without rotating it, and counts like a login.
func TestReauthenticate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	b.active("alice@x.test")
	tokens, by := b.mustLogin("alice@x.test")
	b.exec("UPDATE sessions SET auth_time = now() - interval '1 hour'")
	fresh, err := b.Reauthenticate(ctx, by, auth.Reauthentication{Password: new(secret.New(good))})
	require.NoError(t, err)
	require.Equal(t, tokens.RefreshToken.Reveal(), fresh.RefreshToken.Reveal())
	claims, err := b.verifier.Verify(fresh.AccessToken.Reveal())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), claims.AuthTime, time.Minute)
	for i := range 11 {
		_, err = b.Reauthenticate(ctx, by, auth.Reauthentication{Password: new(secret.New(bad))})
		if i < 10 {
			require.ErrorIs(t, err, auth.ErrInvalidCredentials)
		}
	}
	require.Equal(t, "rate_limited", code(err))
	require.Equal(t, 11, b.rows("SELECT count(*) FROM audit_events WHERE action = 'auth.reauthenticate' AND outcome = 'failure' AND actor_id = $1", by.UserID))
}

// Sign-out works by session, by refresh token alone, and when there is nothing to end.
func TestLogout(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	b.active("alice@x.test")
	_, by := b.mustLogin("alice@x.test")
	other, _ := b.mustLogin("alice@x.test")
	require.NoError(t, b.Logout(ctx, by, secret.Text{}))
	require.NoError(t, b.Logout(ctx, by, secret.Text{}))
	require.Equal(t, 1, b.rows("SELECT count(*) FROM sessions"))
	require.NoError(t, b.Logout(ctx, nobody, secret.New("garbage")))
	require.NoError(t, b.Logout(ctx, nobody, other.RefreshToken))
	require.NoError(t, b.Logout(ctx, nobody, other.RefreshToken))
	require.Zero(t, b.rows("SELECT count(*) FROM sessions"))
	require.Equal(t, 2, b.rows("SELECT count(*) FROM audit_events WHERE action = 'session.end' AND actor_id = $1", by.UserID))
}

// A database that holds everything but the keys outside of it holds nothing that signs in.
func TestNothingInTheDatabaseSignsIn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.register("alice@x.test", good)
	m := b.verification()
	b.active("bob@x.test")
	tokens, _ := b.mustLogin("bob@x.test")
	for _, table := range []string{"users", "sessions", "one_time_tokens", "registration_attempts", "mail_messages", "river_job", "signing_keys", "audit_events", "audit_personal", "credential_limits"} {
		for _, text := range []string{
			good, r.RegistrationID.Reveal(), m.Token.Reveal(), m.Code.Reveal(), tokens.RefreshToken.Reveal(), tokens.AccessToken.Reveal(),
		} {
			require.Zero(t, b.rows("SELECT count(*) FROM "+table+" t WHERE position($1 IN t::text) > 0", text), table)
		}
	}
}

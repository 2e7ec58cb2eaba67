package session_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

const hash = "$argon2id$whatever"

type bench struct {
	t    testing.TB
	pool *postgres.Pool
	*session.Service
}

func newBench(t testing.TB) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement"}, log)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return &bench{t, pool, service(t, pool)}
}

// service is one replica.
func service(t testing.TB, pool *postgres.Pool) *session.Service {
	t.Helper()
	ring, err := keyring.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(t, err)
	return session.NewService(pool, ring, actor.NewChanges(postgres.NewBus(slog.New(slog.DiscardHandler))),
		session.Config{IdleTTL: time.Hour, MaxTTL: 24 * time.Hour, Grace: 30 * time.Second})
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (b *bench) account() id.ID {
	b.t.Helper()
	user := id.New()
	email := user.String() + "@x.test"
	b.exec("INSERT INTO users (id, email, email_norm, status, password_hash) VALUES ($1, $2, $2, 'active', $3)", user, email, hash)
	return user
}

func (b *bench) open(user id.ID) session.Grant {
	b.t.Helper()
	g, ok := b.create(session.New{Assurance: session.ByPassword(), UserID: user, AuthEpoch: 1, PasswordHash: new(hash)})
	require.True(b.t, ok)
	return g.Grant
}

func (b *bench) create(n session.New) (o session.Opened, ok bool) {
	b.t.Helper()
	require.NoError(b.t, b.pool.InTx(context.Background(), func(ctx context.Context, tx postgres.Tx) (err error) {
		o, ok, err = b.Create(ctx, tx, n)
		return err
	}))
	return o, ok
}

// rotated stands beside the outcomes of a token that did not rotate.
const rotated = session.Outcome(99)

func (b *bench) refresh(s *session.Service, text string) (j session.Judgement, err error) {
	presented, ok := s.Parse(text)
	if !ok {
		return j, nil
	}
	g, ok, err := s.Rotate(context.Background(), actor.Nobody(actor.Origin{}), presented)
	if ok || err != nil {
		return session.Judgement{Outcome: rotated, Grant: g}, err
	}
	err = b.pool.InTx(context.Background(), func(ctx context.Context, tx postgres.Tx) (err error) {
		j, err = s.Judge(ctx, tx, presented)
		return err
	})
	return j, err
}

func (b *bench) mustRefresh(text string) session.Judgement {
	b.t.Helper()
	r, err := b.refresh(b.Service, text)
	require.NoError(b.t, err)
	return r
}

func me(g session.Grant) actor.Actor {
	return actor.Actor{Kind: actor.User, UserID: g.UserID, SessionID: g.SessionID}
}

// A session opens only for the account whose password was verified, as it was then.
func TestCreate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	user := b.account()
	b.exec("INSERT INTO user_roles (user_id, role_id) SELECT $1, id FROM roles WHERE name = 'admin'", user)
	rehash := "$argon2id$better"
	g, ok := b.create(session.New{
		Assurance: session.ByPassword(), UserID: user, AuthEpoch: 1, PasswordHash: new(hash), Rehash: &rehash, DeviceName: strings.Repeat("x", 500),
		Origin: actor.Origin{IP: netip.MustParseAddr("2001:db8::1"), UserAgent: "a\x00b\xff\r\nc"},
	})
	require.True(t, ok)
	require.Equal(t, []string{"admin", "user"}, g.Roles)
	require.InDelta(t, time.Hour.Seconds(), g.RefreshTTL.Seconds(), 5)
	require.Equal(t, 1, b.count("SELECT count(*) FROM sign_in_networks WHERE user_id = $1 AND network = '2001:db8::/64'", user))
	require.Equal(t, 1, b.count("SELECT count(*) FROM users WHERE id = $1 AND last_login_at IS NOT NULL AND password_hash = $2 AND version = 1", user, rehash))
	sessions, err := b.List(t.Context(), me(g.Grant), session.Filter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, *sessions[0].DeviceName, session.MaxDeviceName)
	require.Equal(t, "ab�c", *sessions[0].UserAgent)

	for name, change := range map[string]string{
		"another hash": "password_hash = 'x'", "another epoch": "auth_epoch = 2", "suspended": "status = 'suspended'",
	} {
		user := b.account()
		b.exec("UPDATE users SET "+change+" WHERE id = $1", user)
		_, ok := b.create(session.New{Assurance: session.ByPassword(), UserID: user, AuthEpoch: 1, PasswordHash: new(hash)})
		require.False(t, ok, name)
		require.Zero(t, b.count("SELECT count(*) FROM sessions WHERE user_id = $1", user))
	}
}

// A sign-in that began before the first factor was enrolled does not end after it: a password alone opens nothing then,
// whoever looked at the account when (MFA-06).
func TestMFA06_NoSignInOutrunsAnEnrolment(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	user := b.account()
	n := session.New{Assurance: session.ByPassword(), UserID: user, AuthEpoch: 1, PasswordHash: new(hash)}
	b.exec("UPDATE users SET mfa_enabled = true WHERE id = $1", user)
	_, ok := b.create(n)
	require.False(t, ok)
	require.Zero(t, b.count("SELECT count(*) FROM sessions WHERE user_id = $1", user))
	n.Assurance = session.WithSecond(n.AMR, "otp")
	o, ok := b.create(n)
	require.True(t, ok)
	require.Equal(t, session.AAL2, o.Grant.ACR)
	require.Equal(t, []string{"pwd", "otp", "mfa"}, o.Grant.AMR)
}

// A sign-in is unfamiliar when its program and network are a new pair of an account that has signed in before; of parallel
// ones one is.
func TestUnfamiliar(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	user, other := b.account(), b.account()
	from := func(user id.ID, ip, agent string) bool {
		o, ok := b.create(session.New{
			Assurance: session.ByPassword(), UserID: user, AuthEpoch: 1,
			Origin: actor.Origin{IP: netip.MustParseAddr(ip), UserAgent: agent},
		})
		require.True(t, ok)
		return o.Unfamiliar
	}
	require.False(t, from(user, "192.0.2.1", "curl/8.1"), "the first of all")
	require.False(t, from(user, "192.0.2.1", "curl/8.2"), "another version is no other program")
	require.False(t, from(user, "::ffff:192.0.2.1", "curl/8.2"), "nor is another spelling another network")
	require.True(t, from(user, "192.0.2.1", "wget/1.0"))
	require.True(t, from(user, "192.0.2.2", "curl/8.1"))
	require.True(t, from(user, "2001:db8::1", "curl/8.1"))
	require.False(t, from(user, "2001:db8::2", "curl/8.1"), "the same /64")
	require.False(t, from(user, "192.0.2.1", "wget/1.0"), "told once")
	require.False(t, from(other, "192.0.2.9", "curl/8.1"), "another's first")
	require.Equal(t, 4, b.count("SELECT count(*) FROM sign_in_agents WHERE user_id = $1", user))

	var told atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if from(user, "198.51.100.1", "curl/8.1") {
				told.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, told.Load())

	flooded := b.account()
	news := 0
	for i := range 30 {
		if from(flooded, "192.0.2.1", fmt.Sprintf("made-up-%c/1", 'a'+i)) {
			news++
		}
	}
	require.Equal(t, 9, news, "the first of all, and nine")
	b.exec("UPDATE sign_in_agents SET first_at = first_at - interval '25 hours'")
	require.True(t, from(flooded, "192.0.2.1", "another/1"))
}

// A session remembers that its refresh tokens are for a cookie, whichever way its tokens are come by.
func TestCookieSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, cookie := range []bool{true, false} {
		g, ok := b.create(session.New{Assurance: session.ByPassword(), UserID: b.account(), AuthEpoch: 1, Cookie: cookie})
		require.True(t, ok)
		require.Equal(t, cookie, g.Cookie)
		require.Equal(t, cookie, b.mustRefresh(g.RefreshToken.Reveal()).Grant.Cookie, "rotated")
		repeated := b.mustRefresh(g.RefreshToken.Reveal())
		require.Equal(t, session.Repeated, repeated.Outcome)
		require.Equal(t, cookie, repeated.Grant.Cookie)
		require.NoError(t, b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
			again, err := b.Reauthenticated(ctx, tx, me(g.Grant), session.ByPassword())
			require.Equal(t, cookie, again.Cookie)
			return err
		}))
	}
}

// 50 parallel refreshes over three replicas give one chain: all successes carry the same successor (TOK-01).
func TestTOK01(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := b.open(b.account())
	replicas := []*session.Service{b.Service, service(t, b.pool), service(t, b.pool)}
	results, errs := make([]session.Judgement, 50), make([]error, 50)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i], errs[i] = b.refresh(replicas[i%3], g.RefreshToken.Reveal()) })
	}
	wg.Wait()
	rotations, successors := 0, map[string]bool{}
	for i, r := range results {
		require.NoError(t, errs[i])
		require.Contains(t, []session.Outcome{rotated, session.Repeated}, r.Outcome)
		successors[r.Grant.RefreshToken.Reveal()] = true
		if r.Outcome == rotated {
			rotations++
		}
	}
	require.Equal(t, 1, rotations)
	require.Len(t, successors, 1)
	for successor := range successors {
		require.Equal(t, rotated, b.mustRefresh(successor).Outcome, "the chain lives")
	}
}

// A token that is older than the parent ends the session, and so does the parent after its grace (TOK-02).
func TestTOK02(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r1 := b.open(b.account())
	r2 := b.mustRefresh(r1.RefreshToken.Reveal()).Grant
	r3 := b.mustRefresh(r2.RefreshToken.Reveal()).Grant
	reused := b.mustRefresh(r1.RefreshToken.Reveal())
	require.Equal(t, session.Reused, reused.Outcome)
	require.Equal(t, r1.UserID, reused.Grant.UserID)
	require.Zero(t, b.count("SELECT count(*) FROM sessions"))
	require.Equal(t, session.Refused, b.mustRefresh(r3.RefreshToken.Reveal()).Outcome)
	require.Equal(t, session.Refused, b.mustRefresh(r1.RefreshToken.Reveal()).Outcome, "told once")

	late := b.open(b.account())
	b.mustRefresh(late.RefreshToken.Reveal())
	b.exec("UPDATE sessions SET rotated_at = now() - interval '31 seconds'")
	require.Equal(t, session.Reused, b.mustRefresh(late.RefreshToken.Reveal()).Outcome)
}

// What no longer lives is refused, and is no reuse: nobody is alarmed.
func TestRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, sql := range map[string]string{
		"idle":      "UPDATE sessions SET idle_expires_at = now() - interval '1 second' WHERE user_id = $1",
		"absolute":  "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE user_id = $1",
		"epoch":     "UPDATE users SET auth_epoch = 2 WHERE id = $1",
		"suspended": "UPDATE users SET status = 'suspended' WHERE id = $1",
		"ended":     "DELETE FROM sessions WHERE user_id = $1",
		"restored":  "UPDATE sessions SET counter = 0 WHERE user_id = $1", // a backup: the token is newer than the row
	} {
		user := b.account()
		r1 := b.open(user)
		r2 := b.mustRefresh(r1.RefreshToken.Reveal()).Grant
		b.exec(sql, user)
		require.Equal(t, session.Refused, b.mustRefresh(r2.RefreshToken.Reveal()).Outcome, name)
		if name != "restored" {
			require.Equal(t, session.Refused, b.mustRefresh(r1.RefreshToken.Reveal()).Outcome, name)
		}
	}
	tokens, err := b.refresh(b.Service, "garbage")
	require.NoError(t, err)
	require.Equal(t, session.Refused, tokens.Outcome)
}

// Whatever tokens of its past a session is shown, in whichever order: the newest rotates, its parent repeats within the
// grace, everything older ends it.
func TestRotationModel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rapid.Check(t, func(rt *rapid.T) {
		chain := []string{b.open(b.account()).RefreshToken.Reveal()}
		inGrace, alive := true, true
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "later") {
				b.exec("UPDATE sessions SET rotated_at = now() - interval '1 minute'")
				inGrace = false
			}
			i := len(chain) - 1 - min(len(chain)-1, rapid.IntRange(0, 2).Draw(rt, "age"))
			got := b.mustRefresh(chain[i])
			switch age := len(chain) - 1 - i; {
			case !alive:
				require.Equal(rt, session.Refused, got.Outcome)
			case age == 0:
				require.Equal(rt, rotated, got.Outcome)
				chain = append(chain, got.Grant.RefreshToken.Reveal())
				inGrace = true
			case age == 1 && inGrace:
				require.Equal(rt, session.Repeated, got.Outcome)
				require.Equal(rt, chain[i+1], got.Grant.RefreshToken.Reveal())
			default:
				require.Equal(rt, session.Reused, got.Outcome)
				alive = false
			}
		}
	})
}

// A reauthentication names the current token again and rotates nothing.
func TestReauthenticated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := b.mustRefresh(b.open(b.account()).RefreshToken.Reveal()).Grant
	b.exec("UPDATE sessions SET auth_time = now() - interval '1 hour'")
	var again session.Grant
	stampIt := func() error {
		return b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) (err error) {
			again, err = b.Reauthenticated(ctx, tx, me(g), session.ByPassword())
			return err
		})
	}
	require.NoError(t, stampIt())
	require.Equal(t, g.RefreshToken.Reveal(), again.RefreshToken.Reveal())
	require.WithinDuration(t, time.Now(), again.AuthTime, 10*time.Second)
	require.Equal(t, rotated, b.mustRefresh(again.RefreshToken.Reveal()).Outcome)
	require.Zero(t, b.count("SELECT count(*) FROM sessions WHERE position($1::bytea IN secret_sealed) > 0", []byte(g.RefreshToken.Reveal())))
	b.exec("DELETE FROM sessions")
	require.ErrorIs(t, stampIt(), fault.ErrNotFound)
}

// One's own sessions can be listed and ended; another's is not found, as an unknown one (TOK-15).
func TestTOK15(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	user := b.account()
	mine := []session.Grant{b.open(user), b.open(user), b.open(user)}
	other := b.open(b.account())
	current := me(mine[0])

	for _, ascending := range []bool{false, true} {
		first, err := b.List(ctx, current, session.Filter{Limit: 2, Ascending: ascending})
		require.NoError(t, err)
		require.Len(t, first, 2)
		last := page.Position{Time: first[1].CreatedAt, ID: first[1].ID}
		rest, err := b.List(ctx, current, session.Filter{Limit: 2, Ascending: ascending, After: &last})
		require.NoError(t, err)
		require.Len(t, rest, 1)
		require.NotContains(t, []id.ID{first[0].ID, first[1].ID}, rest[0].ID)
	}

	err := b.End(ctx, current, other.SessionID)
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.ErrorIs(t, err, actor.ErrHidden)
	err = b.End(ctx, current, id.New())
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.NotErrorIs(t, err, actor.ErrHidden)

	require.NoError(t, b.End(ctx, current, mine[1].SessionID))
	require.Equal(t, session.Refused, b.mustRefresh(mine[1].RefreshToken.Reveal()).Outcome)
	require.NoError(t, b.EndOthers(ctx, current))
	require.Equal(t, session.Refused, b.mustRefresh(mine[2].RefreshToken.Reveal()).Outcome)
	require.Equal(t, rotated, b.mustRefresh(mine[0].RefreshToken.Reveal()).Outcome)
	require.Equal(t, 2, b.count("SELECT count(*) FROM audit_events WHERE action = 'session.end' AND actor_id = $1", user))

	// Any of its tokens ends a session; one of another secret does not.
	presented, ok := b.Parse(other.RefreshToken.Reveal())
	require.True(t, ok)
	b.mustRefresh(other.RefreshToken.Reveal())
	forged := presented
	forged.Secret[0]++
	owner, err := b.EndByToken(ctx, actor.Nobody(actor.Origin{}), forged)
	require.NoError(t, err)
	require.Equal(t, id.Nil, owner)
	owner, err = b.EndByToken(ctx, actor.Nobody(actor.Origin{}), presented)
	require.NoError(t, err)
	require.Equal(t, other.UserID, owner)
	require.Equal(t, 1, b.count("SELECT count(*) FROM sessions"))
}

func TestSweepAndEndAll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	user := b.account()
	for range 3 {
		b.open(user)
	}
	b.exec("UPDATE sessions SET idle_expires_at = now() - interval '1 second' WHERE id = (SELECT min(id::text)::uuid FROM sessions)")
	require.NoError(t, b.Sweep(t.Context()))
	require.NoError(t, b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		n, err := session.EndAll(ctx, tx, user)
		require.EqualValues(t, 2, n)
		return err
	}))
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := session.Config{IdleTTL: 336 * time.Hour, MaxTTL: 2160 * time.Hour, Grace: 10 * time.Second}
	require.NoError(t, good.Validate())
	for i, c := range []session.Config{
		{IdleTTL: time.Second, MaxTTL: time.Hour},
		{IdleTTL: 2 * time.Hour, MaxTTL: time.Hour},
		{IdleTTL: time.Hour, MaxTTL: time.Hour, Grace: time.Hour},
		{IdleTTL: time.Hour, MaxTTL: time.Hour, Grace: -1},
	} {
		require.ErrorContains(t, c.Validate(), "UMS_REFRESH_", fmt.Sprint(i))
	}
}

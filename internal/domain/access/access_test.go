package access_test

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// replica is one process: its pool, its bus, its cache.
type replica struct {
	*access.Service
	pool    *postgres.Pool
	changes actor.Changes
}

type bench struct {
	t     *testing.T
	dsn   secret.Text
	clock *clock.Fake
	replica
	user id.ID
	sess access.Session
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dsn: secret.New(pgtest.URL(t)), clock: clock.NewFake(time.Now())}
	b.replica = b.start(b.clock)
	b.user = id.New()
	b.sess = access.Session{UserID: b.user, SessionID: id.New()}
	b.sql(`INSERT INTO users (id, email, email_norm, status, display_name) VALUES ($1, 'a@example.test', 'a@example.test', 'active', 'A')`, b.user)
	b.sql(`INSERT INTO sessions (id, user_id, secret_hash, secret_sealed, auth_epoch, acr, amr, idle_expires_at, expires_at)
		VALUES ($1, $2, '\x00', '\x00', 1, 'aal1', '{pwd}', now() + interval '1 hour', now() + interval '1 day')`, b.sess.SessionID, b.user)
	return b
}

func (b *bench) start(clk clock.Clock) replica {
	b.t.Helper()
	log := slog.New(slog.DiscardHandler)
	pool, err := postgres.Open(b.t.Context(), postgres.Config{URL: b.dsn, MaxConns: 4, ExecMode: "cache_statement"}, log)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	bus := postgres.NewBus(log)
	r := replica{pool: pool, changes: actor.NewChanges(bus)}
	r.Service = access.NewService(pool, r.changes, clk)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		bus.Listen(ctx, b.dsn)
	}()
	b.t.Cleanup(func() { stop(); <-done })
	return r
}

func (b *bench) sql(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

// announced runs sql as a service would: with an announcement in the same transaction.
func (b *bench) announced(sql string, args ...any) {
	b.t.Helper()
	require.NoError(b.t, b.pool.InTx(b.t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		if _, err := tx.Exec(ctx, sql, args...); err != nil {
			return err
		}
		return b.changes.Of(ctx, tx, b.user)
	}))
}

func (b *bench) role(name string, permissions []string, requireMFA bool) id.ID {
	b.t.Helper()
	role := id.New()
	b.sql("INSERT INTO roles (id, name, require_mfa) VALUES ($1, $2, $3)", role, name, requireMFA)
	b.sql("INSERT INTO role_permissions SELECT $1, unnest($2::text[])", role, permissions)
	return role
}

func TestSession(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	base, desk := b.role("base", []string{"users:read"}, true), b.role("desk", []string{"audit:*"}, false)
	b.sql("INSERT INTO role_inherits VALUES ($1, $2)", desk, base)
	b.sql("INSERT INTO user_roles (user_id, role_id, expires_at) VALUES ($1, $2, now() + interval '1 hour')", b.user, desk)
	b.sql("INSERT INTO user_roles (user_id, role_id, expires_at) VALUES ($1, $2, now() - interval '1 s')", b.user, "00000000-0000-7000-8000-000000000001")
	p, err := b.Session(t.Context(), b.sess)
	require.NoError(t, err)
	require.Equal(t, actor.Permissions{"audit:*", "me:read", "me:write", "users:read"}, p.Permissions)
	require.Equal(t, []string{"desk", "user"}, p.Roles)
	require.True(t, p.MFARequired, "inherited")
	require.Equal(t, "a@example.test", p.Label)
	o := actor.Origin{IP: netip.MustParseAddr("192.0.2.1")}
	a := p.Actor(o)
	require.Equal(t, actor.User, a.Kind)
	require.Equal(t, b.sess.SessionID, a.SessionID)
	require.Equal(t, []string{"pwd"}, a.AMR)
	require.Equal(t, "aal1", a.ACR)
	require.Equal(t, o, a.Origin)
	require.WithinDuration(t, time.Now(), a.AuthTime, time.Minute)

	_, err = b.Session(t.Context(), access.Session{UserID: id.New(), SessionID: b.sess.SessionID})
	require.ErrorIs(t, err, actor.ErrSession, "a session is its owner's")
}

// What ends a session ends its access tokens, here at once.
func TestTOK12_KEY04_WhatCutsRightsIsSeenAtOnceHere(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"suspended":        "UPDATE users SET status = 'suspended' WHERE id = $1",
		"deleting":         "UPDATE users SET status = 'deleting' WHERE id = $1",
		"recovered":        "UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = $1",
		"ended":            "DELETE FROM sessions WHERE user_id = $1",
		"idle":             "UPDATE sessions SET idle_expires_at = now() WHERE user_id = $1",
		"absolutely ended": "UPDATE sessions SET expires_at = now() WHERE user_id = $1",
		"purged":           "DELETE FROM users WHERE id = $1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, err := b.Session(t.Context(), b.sess)
			require.NoError(t, err)
			b.announced(sql, b.user)
			_, err = b.Session(t.Context(), b.sess)
			require.ErrorIs(t, err, actor.ErrSession)
		})
	}
}

func TestTOK12_AZ08_OtherReplicasHearOfIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := b.start(b.clock) // its clock stands still: only the announcement can end what it remembers
	_, err := other.Session(t.Context(), b.sess)
	require.NoError(t, err)
	heard := make(chan struct{}, 16)
	other.changes.Subscribe(func(id.ID) { heard <- struct{}{} }, func() {})
	require.Eventually(t, func() bool { // until its listener is there
		b.announced("UPDATE users SET status = 'suspended' WHERE id = $1", b.user)
		select {
		case <-heard:
			return true
		default:
			return false
		}
	}, 10*time.Second, 20*time.Millisecond)
	_, err = other.Session(t.Context(), b.sess)
	require.ErrorIs(t, err, actor.ErrSession)
}

func TestF22_ADeafReplicaRefusesWithinASecond(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	log := slog.New(slog.DiscardHandler)
	deaf := access.NewService(b.pool, actor.NewChanges(postgres.NewBus(log)), b.clock)
	_, err := deaf.Session(t.Context(), b.sess)
	require.NoError(t, err)
	b.announced("UPDATE users SET status = 'suspended' WHERE id = $1", b.user)
	_, err = deaf.Session(t.Context(), b.sess)
	require.NoError(t, err)
	b.clock.Advance(time.Second)
	_, err = deaf.Session(t.Context(), b.sess)
	require.ErrorIs(t, err, actor.ErrSession)
}

func (b *bench) key(scopes []string) access.Key {
	b.t.Helper()
	k := access.Key{PublicID: "public" + id.New().String(), SecretHash: sha256.Sum256([]byte("secret")), Environment: "live"}
	key := id.New()
	b.sql(`INSERT INTO api_keys (id, user_id, created_by, name, environment, scopes) VALUES ($1, $2, $2, 'k', 'live', $3)`, key, b.user, scopes)
	b.sql("INSERT INTO api_key_secrets (public_id, key_id, secret_hash, last4) VALUES ($1, $2, $3, 'abcd')", k.PublicID, key, k.SecretHash[:])
	return k
}

var home = netip.MustParseAddr("192.0.2.7")

func reason(t *testing.T, err error) access.Reason {
	t.Helper()
	require.ErrorIs(t, err, access.ErrKey)
	require.Equal(t, access.ErrKey.Detail, fault.As(err).Detail, "the caller learns nothing more")
	var r *access.Refusal
	require.ErrorAs(t, err, &r)
	return r.Reason
}

func TestKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	k := b.key([]string{"me:*", "users:read", "me:read"})
	p, err := b.Key(t.Context(), k, home)
	require.NoError(t, err)
	require.Equal(t, actor.Permissions{"me:read", "me:write"}, p.Permissions, "scopes within the owner's permissions")
	a := p.Actor(actor.Origin{})
	require.Equal(t, actor.APIKey, a.Kind)
	require.Equal(t, p.KeyID, a.ID())
	require.True(t, a.Is(b.user))

	wrong := k
	wrong.SecretHash[0] ^= 1
	_, err = b.Key(t.Context(), wrong, home)
	require.Equal(t, access.WrongSecret, reason(t, err))
	test := k
	test.Environment = "test"
	_, err = b.Key(t.Context(), test, home)
	require.Equal(t, access.WrongEnvironment, reason(t, err))
	_, err = b.Key(t.Context(), access.Key{PublicID: "unknown"}, home)
	require.Equal(t, access.NotFound, reason(t, err), "a hash of zeros matches nothing")

	b.announced("UPDATE api_keys SET allowed_ips = '{192.0.2.0/24,2001:db8::/32}', rate_limit = 5, rate_window_seconds = 60")
	for ip, allowed := range map[string]bool{
		"192.0.2.7": true, "::ffff:192.0.2.7": true, "192.0.3.7": false, "2001:db8::1": true, "2001:db9::1": false, "::ffff:192.0.3.7": false,
	} {
		p, err := b.Key(t.Context(), k, netip.MustParseAddr(ip))
		require.Equal(t, b.user, p.UserID)
		require.Equal(t, ratelimit.Rate{Limit: 5, Window: time.Minute}, p.Rate)
		if allowed {
			require.NoError(t, err, ip)
		} else {
			require.ErrorIs(t, err, access.ErrIPDenied, ip)
		}
	}
	_, err = b.Key(t.Context(), k, netip.Addr{})
	require.ErrorIs(t, err, access.ErrIPDenied)
}

func TestKEY04_DeadKeysAreRefusedAtOnceAndLiveAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	k := b.key([]string{"me:read"})
	for _, c := range []struct {
		reason    access.Reason
		cut, heal string
	}{
		{access.OwnerSuspended, "UPDATE users SET status = 'suspended'", "UPDATE users SET status = 'active'"},
		{access.Expired, "UPDATE api_key_secrets SET expires_at = now() - interval '1 s'", "UPDATE api_key_secrets SET expires_at = now() + interval '1 hour'"},
		{access.Expired, "UPDATE api_keys SET expires_at = now() - interval '1 s'", "UPDATE api_keys SET expires_at = NULL"},
		{access.Quarantined, "UPDATE api_keys SET quarantined_at = now()", "UPDATE api_keys SET quarantined_at = NULL"},
		{access.Revoked, "UPDATE api_keys SET revoked_at = now()", "UPDATE api_keys SET revoked_at = NULL"},
	} {
		_, err := b.Key(t.Context(), k, home)
		require.NoError(t, err)
		b.announced(c.cut)
		wrong := k
		wrong.SecretHash[31] ^= 1
		for range 2 {
			_, err = b.Key(t.Context(), k, home)
			require.Equal(t, c.reason, reason(t, err))
			_, err = b.Key(t.Context(), wrong, home)
			require.Equal(t, access.WrongSecret, reason(t, err))
		}
		b.announced(c.heal)
	}
	_, err := b.Key(t.Context(), k, home)
	require.NoError(t, err)
}

func TestServiceAccountsAreExemptFromMFA(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.sql("UPDATE users SET kind = 'service', email = NULL, email_norm = NULL")
	b.sql("INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)", b.user, b.role("strict", []string{"users:read"}, true))
	p, err := b.Key(t.Context(), b.key([]string{"*", "users:read", "me:read"}), home)
	require.NoError(t, err)
	require.False(t, p.MFARequired)
	require.Equal(t, actor.Permissions{"users:read"}, p.Permissions, "role user is for humans")
	require.Equal(t, "A", p.Label)
}

package signing_test

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

const (
	oneKey     = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	anotherKey = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func open(t *testing.T) *postgres.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func replica(t *testing.T, pool *postgres.Pool, algorithm, master string, c clock.Clock) *signing.Service {
	t.Helper()
	ring, err := keyring.Parse(master)
	require.NoError(t, err)
	return signing.New(signing.Deps{
		Config: signing.Config{Rotation: 720 * time.Hour}, DB: pool, Ring: ring, Bus: postgres.NewBus(slog.New(slog.DiscardHandler)), Algorithm: algorithm,
		Clock: c, Log: slog.New(slog.DiscardHandler),
	})
}

func count(t *testing.T, pool *postgres.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM signing_keys").Scan(&n))
	return n
}

// Replicas that start at once make one key, and what one signs the other verifies.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	pool := open(t)
	replicas := make([]*signing.Service, 8)
	errs := make([]error, len(replicas))
	var wg sync.WaitGroup
	for i := range replicas {
		replicas[i] = replica(t, pool, token.EdDSA, oneKey, clock.System{})
		wg.Go(func() { errs[i] = replicas[i].Ensure(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, 1, count(t, pool))

	cfg := token.Config{AccessTTL: time.Minute}
	text, _, err := token.NewIssuer(cfg, "http://x.test", replicas[0].Keys(), clock.System{}).
		Sign(token.Claims{Subject: "u", SessionID: "s", AuthTime: time.Now()})
	require.NoError(t, err)
	_, err = token.NewVerifier(cfg, "http://x.test", replicas[7].Keys(), clock.System{}).Verify(text.Reveal())
	require.NoError(t, err)
	jwks, err := replicas[0].JWKS()
	require.NoError(t, err)
	require.NotContains(t, string(jwks), `"d"`)
}

// Another algorithm gets a key of its own, which replicas know before it signs; the old one retires by itself.
func TestAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	pool := open(t)
	c := clock.NewFake(time.Now())
	old := replica(t, pool, token.EdDSA, oneKey, c)
	require.NoError(t, old.Ensure(t.Context()))
	next := replica(t, pool, token.ES256, oneKey, c)
	require.NoError(t, next.Ensure(t.Context()))
	require.NoError(t, next.Ensure(t.Context()), "once is enough")
	require.Equal(t, 2, count(t, pool))

	k, err := next.Keys().Signing(c.Now())
	require.NoError(t, err)
	require.Equal(t, token.EdDSA, k.Algorithm, "the new one is only published")
	c.Advance(11 * time.Minute)
	k, err = next.Keys().Signing(c.Now())
	require.NoError(t, err)
	require.Equal(t, token.ES256, k.Algorithm)
	require.NotZero(t, func() time.Time { k, _ := next.Keys().Signing(c.Now().Add(-11 * time.Minute)); return k.RetiresAt }())

	_, err = pool.Exec(t.Context(), "UPDATE signing_keys SET retires_at = now() - interval '1 second' WHERE algorithm = 'EdDSA'")
	require.NoError(t, err)
	require.NoError(t, next.Load(t.Context()))
	_, err = next.Keys().Signing(c.Now().Add(-11 * time.Minute))
	require.ErrorIs(t, err, token.ErrNoSigningKey, "a retired key is not loaded")
}

// Private keys open only with the master key that is listed.
func TestSealed(t *testing.T) {
	t.Parallel()
	pool := open(t)
	require.NoError(t, replica(t, pool, token.EdDSA, oneKey, clock.System{}).Ensure(t.Context()))
	require.ErrorContains(t, replica(t, pool, token.EdDSA, anotherKey, clock.System{}).Load(t.Context()), "UMS_MASTER_KEY")
	require.NoError(t, replica(t, pool, token.EdDSA, anotherKey+","+oneKey, clock.System{}).Load(t.Context()))
}

// An unknown key makes a replica look again, at most once a second.
func TestReload(t *testing.T) {
	t.Parallel()
	pool := open(t)
	c := clock.NewFake(time.Now())
	early := replica(t, pool, token.EdDSA, oneKey, c)
	require.NoError(t, early.Load(t.Context()))
	require.NoError(t, replica(t, pool, token.EdDSA, oneKey, c).Ensure(t.Context()))
	again, err := early.Reload(t.Context())
	require.NoError(t, err)
	require.False(t, again)
	c.Advance(time.Second)
	again, err = early.Reload(t.Context())
	require.NoError(t, err)
	require.True(t, again)
	_, err = early.Keys().Signing(c.Now())
	require.NoError(t, err)
}

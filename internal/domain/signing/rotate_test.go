package signing_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/token"
)

// A new key is published, then signs; the old one verifies until the last token that it signed has ended.
func TestRotate(t *testing.T) {
	t.Parallel()
	pool := open(t)
	c := clock.NewFake(time.Now())
	s := replica(t, pool, token.EdDSA, oneKey, c)
	require.NoError(t, s.Ensure(t.Context()))
	old, err := s.Keys().Signing(c.Now())
	require.NoError(t, err)
	r, err := s.Rotate(t.Context(), actor.Service("test"), false)
	require.NoError(t, err)
	require.Equal(t, []string{old.ID}, r.Replaced)
	require.NoError(t, s.Load(t.Context()))

	signs := func(at time.Time) string {
		k, err := s.Keys().Signing(at)
		require.NoError(t, err)
		return k.ID
	}
	require.Equal(t, old.ID, signs(r.ActiveFrom.Add(-time.Millisecond)))
	require.Equal(t, r.KID, signs(r.ActiveFrom))
	require.GreaterOrEqual(t, r.ActiveFrom.Sub(c.Now()), 2*signing.CacheFor-time.Minute, "everybody who keeps the published keys has asked again")
	require.GreaterOrEqual(t, r.RetiresAt.Sub(r.ActiveFrom), time.Hour+30*time.Second, "the longest token, and the leeway")

	var retires time.Time
	var reason string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT retires_at FROM signing_keys WHERE kid = $1", old.ID).Scan(&retires))
	require.WithinDuration(t, r.RetiresAt, retires, 0)
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT p.reason FROM audit_events e JOIN audit_personal p ON p.event_id = e.id AND p.subject_role = 'target'
		WHERE e.action = 'signing_key.rotate' AND p.label = $1`, r.KID).Scan(&reason))
	require.Equal(t, "by hand", reason)
}

// At once ends every key of before, also those that only verify; the new one signs although a replica's clock is behind.
func TestRotateAtOnce(t *testing.T) {
	t.Parallel()
	pool := open(t)
	c := clock.NewFake(time.Now())
	s := replica(t, pool, token.EdDSA, oneKey, c)
	require.NoError(t, s.Ensure(t.Context()))
	_, err := s.Rotate(t.Context(), actor.Service("test"), false)
	require.NoError(t, err)
	r, err := s.Rotate(t.Context(), actor.Service("test"), true)
	require.NoError(t, err)
	require.Len(t, r.Replaced, 2)
	require.NoError(t, s.Load(t.Context()))
	c.Advance(-30 * time.Second)
	k, err := s.Keys().Signing(c.Now())
	require.NoError(t, err)
	require.Equal(t, r.KID, k.ID)
	jwks, err := s.JWKS()
	require.NoError(t, err)
	for _, gone := range r.Replaced {
		require.NotContains(t, string(jwks), gone)
	}
	require.NoError(t, s.Sweep(t.Context()))
	require.Equal(t, 3, count(t, pool), "they stay to be looked at for a day")
	_, err = pool.Exec(t.Context(), "UPDATE signing_keys SET retires_at = retires_at - interval '2 days'")
	require.NoError(t, err)
	require.NoError(t, s.Sweep(t.Context()))
	require.Equal(t, 1, count(t, pool))
}

// When the key is due, of all replicas one makes the next.
func TestRotateDue_oneReplicaDoesIt(t *testing.T) {
	t.Parallel()
	pool := open(t)
	replicas := make([]*signing.Service, 8)
	for i := range replicas {
		replicas[i] = replica(t, pool, token.EdDSA, oneKey, clock.System{})
	}
	require.NoError(t, replicas[0].Ensure(t.Context()))
	due := func() {
		errs := make([]error, len(replicas))
		var wg sync.WaitGroup
		for i, r := range replicas {
			wg.Go(func() { errs[i] = r.RotateDue(t.Context()) })
		}
		wg.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
	}
	due()
	require.Equal(t, 1, count(t, pool), "it is young")
	age := func(by string) {
		_, err := pool.Exec(t.Context(), "UPDATE signing_keys SET created_at = created_at - $1::interval", by)
		require.NoError(t, err)
	}
	age("719 hours")
	due()
	require.Equal(t, 1, count(t, pool))
	age("61 minutes")
	due()
	require.Equal(t, 2, count(t, pool))
	due()
	require.Equal(t, 2, count(t, pool), "the next one is young again, though it does not sign yet")
	replicas[0].Config.Rotation = 0
	age("9000 hours")
	require.NoError(t, replicas[0].RotateDue(t.Context()))
	require.Equal(t, 2, count(t, pool), "by hand alone")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for rotation, good := range map[time.Duration]bool{0: true, time.Hour: true, 720 * time.Hour: true, time.Minute: false, -time.Hour: false, 1e6 * time.Hour: false} {
		err := signing.Config{Rotation: rotation}.Validate()
		require.Equal(t, good, err == nil, rotation)
		if !good {
			require.ErrorContains(t, err, "UMS_KEY_ROTATION")
		}
	}
}

package throttle_test

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

	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
)

var (
	home    = netip.MustParseAddr("192.0.2.1")
	tenIn15 = throttle.Config{Login: ratelimit.Rate{Limit: 10, Window: 15 * time.Minute}}
)

func limits(t *testing.T, cfg throttle.Config) (*throttle.Limits, *postgres.Pool) {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	ring, err := keyring.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(t, err)
	return throttle.New(pool, ring, cfg), pool
}

func raise(t *testing.T, l *throttle.Limits, a throttle.Attempt) *throttle.Refusal {
	t.Helper()
	r, err := l.Raise(t.Context(), a)
	require.NoError(t, err)
	if r != nil {
		require.ErrorIs(t, r.Err, throttle.ErrLimited)
		require.GreaterOrEqual(t, fault.As(r.Err).RetryAfter, time.Second)
		require.Equal(t, "login", fault.As(r.Err).Extra["policy"])
	}
	return r
}

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }

func signedIn(t *testing.T, pool *postgres.Pool, email string, from netip.Addr, daysAgo int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `
		WITH u AS (INSERT INTO users (email, email_norm, status) VALUES ($1, $1, 'active')
			ON CONFLICT (email_norm) DO UPDATE SET email = excluded.email RETURNING id)
		INSERT INTO sign_in_networks (user_id, network, last_at) SELECT id, $2, now() - make_interval(days => $3) FROM u`,
		email, ratelimit.Network(from), daysAgo)
	require.NoError(t, err)
}

// Spraying many accounts from one network and stuffing one account from many networks both end (RL-04).
func TestRL04(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, tenIn15)
	signedIn(t, pool, "known@x.test", home, 1)

	for _, email := range []string{"known@x.test", "unknown@x.test"} {
		for range 10 {
			require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: email, IP: address(1)}))
		}
		first := raise(t, l, throttle.Attempt{EmailNorm: email, IP: address(1)})
		require.True(t, first.First)
		require.False(t, raise(t, l, throttle.Attempt{EmailNorm: email, IP: address(1)}).First)
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: email, IP: address(2)}), "another network")
	}

	for i := range 100 {
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: fmt.Sprintf("u%d@x.test", i), IP: home}))
	}
	require.NotNil(t, raise(t, l, throttle.Attempt{EmailNorm: "u200@x.test", IP: home}), "the network is used up")

	for i := range 100 {
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "one@x.test", IP: address(100 + i)}))
	}
	require.True(t, raise(t, l, throttle.Attempt{EmailNorm: "one@x.test", IP: address(300)}).First, "the account is locked")
}

// IPv6 counts by /64, and a mapped IPv4 address is that IPv4 address.
func TestNetworks(t *testing.T) {
	t.Parallel()
	l, _ := limits(t, throttle.Config{Login: ratelimit.Rate{Limit: 1, Window: time.Minute}})
	for _, pair := range [][2]string{{"2001:db8::1", "2001:db8::ffff:1"}, {"198.51.100.7", "::ffff:198.51.100.7"}} {
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "a", IP: netip.MustParseAddr(pair[0])}))
		require.NotNil(t, raise(t, l, throttle.Attempt{EmailNorm: "a", IP: netip.MustParseAddr(pair[1])}))
	}
}

// An owner gets in from where he signed in while strangers burn his failures; nobody else does, until a mailed proof.
func TestRL05(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, tenIn15)
	ctx := t.Context()
	signedIn(t, pool, "alice@x.test", home, 89)
	stale := netip.MustParseAddr("192.0.2.99")
	signedIn(t, pool, "alice@x.test", stale, 91)
	for i := range 100 {
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(i)}))
	}
	owner := throttle.Attempt{EmailNorm: "alice@x.test", IP: home}
	require.Nil(t, raise(t, l, owner))
	require.NoError(t, l.GiveBack(ctx, pool, owner))
	require.NotNil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: stale}), "90 days are over")
	require.NotNil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(500)}), "a success does not unlock")
	require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(501), Proven: true}), "a mailed proof")

	require.NoError(t, l.Reset(ctx, pool, "alice@x.test"))
	require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(500)}))
}

// Refused attempts do not count against the account: one network alone cannot lock it.
func TestOneNetworkCannotLockAnAccount(t *testing.T) {
	t.Parallel()
	l, _ := limits(t, tenIn15)
	for range 150 {
		raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(1)})
	}
	require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(2)}))
}

// A success gives back what it counted, so that only consecutive failures count.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, tenIn15)
	for i := range 300 {
		a := throttle.Attempt{EmailNorm: "alice@x.test", IP: address(i / 100)}
		require.Nil(t, raise(t, l, a), i)
		require.NoError(t, l.GiveBack(t.Context(), pool, a))
	}
	for i := range 99 {
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(1000 + i)}))
	}
	good := throttle.Attempt{EmailNorm: "alice@x.test", IP: address(2000)}
	require.Nil(t, raise(t, l, good))
	require.NoError(t, l.GiveBack(t.Context(), pool, good))
	require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(2001)}), "the row of failures was broken")
}

// An attempt that was never judged counts for nothing: neither as a failure nor as the end of a row of failures.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, tenIn15)
	for i := range 300 {
		a := throttle.Attempt{EmailNorm: "alice@x.test", IP: address(i / 100)}
		require.Nil(t, raise(t, l, a), i)
		require.NoError(t, l.Withdraw(t.Context(), pool, a))
	}
	for i := range 100 {
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(1000 + i)}))
	}
	a := throttle.Attempt{EmailNorm: "alice@x.test", IP: address(2000)}
	require.NotNil(t, raise(t, l, a))
	require.NoError(t, l.Withdraw(t.Context(), pool, a))
	require.NotNil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: address(2001)}), "the row of failures stands")
}

// A window ends by database time.
func TestWindowEnds(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, throttle.Config{Login: ratelimit.Rate{Limit: 1, Window: time.Minute}})
	a := throttle.Attempt{EmailNorm: "alice@x.test", IP: home}
	require.Nil(t, raise(t, l, a))
	require.NotNil(t, raise(t, l, a))
	_, err := pool.Exec(t.Context(), "UPDATE credential_limits SET resets_at = now() - interval '1 second' WHERE resets_at < now() + interval '2 minutes'")
	require.NoError(t, err)
	require.Nil(t, raise(t, l, a))
	_, err = pool.Exec(t.Context(), "UPDATE credential_limits SET resets_at = now() - interval '1 second'")
	require.NoError(t, err)
	require.NoError(t, l.Sweep(t.Context()))
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM credential_limits").Scan(&rows))
	require.Zero(t, rows)
}

// Attempts are counted before they are checked: 100 in parallel with five left are five (RL-07).
func TestRL07(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, tenIn15)
	a := throttle.Attempt{EmailNorm: "alice@x.test", IP: home}
	for range 5 {
		require.Nil(t, raise(t, l, a))
	}
	var evaluated atomic.Int32
	parallel(100, func(int) {
		if r, err := l.Raise(t.Context(), a); err == nil && r == nil {
			evaluated.Add(1)
		}
	})
	require.EqualValues(t, 5, evaluated.Load())

	// Raising and giving back in transactions of all kinds never deadlocks.
	var failed atomic.Int32
	parallel(100, func(i int) {
		a := throttle.Attempt{EmailNorm: fmt.Sprintf("u%d@x.test", i%3), IP: address(i % 2)}
		if _, err := l.Raise(context.Background(), a); err != nil {
			failed.Add(1)
		}
		err := pool.InTx(context.Background(), func(ctx context.Context, tx postgres.Tx) error { return l.GiveBack(ctx, tx, a) })
		if err != nil {
			failed.Add(1)
		}
	})
	require.Zero(t, failed.Load())
}

// Three mails an hour and ten a day; a network where the account signed in has its own three.
func TestMails(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, tenIn15)
	signedIn(t, pool, "alice@x.test", home, 1)
	sent := func(email string, ip netip.Addr, tries int) (n int) {
		for range tries {
			ok, err := l.AllowMail(t.Context(), pool, email, ip)
			require.NoError(t, err)
			if ok {
				n++
			}
		}
		return n
	}
	require.Equal(t, 3, sent("alice@x.test", address(1), 5))
	require.Equal(t, 0, sent("alice@x.test", address(2), 5), "strangers share one allowance")
	require.Equal(t, 3, sent("alice@x.test", home, 5), "the owner has his own")
	require.Equal(t, 3, sent("nobody@x.test", home, 5))
	total := 3
	for range 5 {
		_, err := pool.Exec(t.Context(), "UPDATE credential_limits SET resets_at = now() - interval '1 second' WHERE resets_at < now() + interval '2 hours'")
		require.NoError(t, err)
		total += sent("nobody@x.test", address(9), 5)
	}
	require.Equal(t, 10, total)
}

// Off means all three counters, and never the mails.
func TestOff(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, throttle.Config{})
	for range 200 {
		require.Nil(t, raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: home}))
	}
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM credential_limits").Scan(&rows))
	require.Zero(t, rows)
}

// No address stands in the table, and a database that does not answer lets nothing pass.
func TestKeysAndFailClosed(t *testing.T) {
	t.Parallel()
	l, pool := limits(t, tenIn15)
	raise(t, l, throttle.Attempt{EmailNorm: "alice@x.test", IP: home})
	var dump string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT string_agg(encode(key, 'escape'), ' ') FROM credential_limits").Scan(&dump))
	require.False(t, strings.Contains(dump, "alice") || strings.Contains(dump, "192.0.2"))

	pool.Close()
	_, err := l.Raise(t.Context(), throttle.Attempt{EmailNorm: "alice@x.test", IP: home})
	require.Error(t, err)
	_, err = l.AllowMail(t.Context(), pool, "alice@x.test", home)
	require.Error(t, err)
}

func parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

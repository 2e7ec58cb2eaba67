package ratelimit_test

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestParseRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ratelimit.Rate{
		"600/1m":  {Limit: 600, Window: time.Minute},
		" 10/15m": {Limit: 10, Window: 15 * time.Minute},
		"1/1s":    {Limit: 1, Window: time.Second},
		"off":     {},
	} {
		got, err := ratelimit.ParseRate(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", "600", "600/", "/1m", "0/0s", "0/1m", "-1/1m", "+5/1m", "1e3/1m", "600/m", "600/-1m", "5/1ms", "5/1000h",
		"9999999999/1s", "OFF", "10/1m/1m",
	} {
		_, err := ratelimit.ParseRate(text)
		require.Error(t, err, text)
	}
}

func TestRateRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := ratelimit.Rate{
			Limit:  rapid.IntRange(1, 1000).Draw(t, "limit"),
			Window: time.Duration(rapid.IntRange(1, 86400).Draw(t, "window")) * time.Second,
		}
		var got ratelimit.Rate
		require.NoError(t, got.UnmarshalText([]byte(r.String())))
		require.Equal(t, r, got)
	})
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"600/1m", "off", "1/1s", "x/y", "1/9999h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ratelimit.ParseRate(text)
		if err == nil {
			require.NoError(t, r.Validate())
		}
	})
}

func TestMemoryCountsTheWholeLimitThenRefuses(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(start)
	m := ratelimit.NewMemory(fake)
	rate := ratelimit.Rate{Limit: 3, Window: time.Minute}
	allow := func(key string, cost int) ratelimit.Result {
		t.Helper()
		r, err := m.Allow(t.Context(), "address", rate, key, cost)
		require.NoError(t, err)
		return r
	}
	for want := 2; want >= 0; want-- {
		r := allow("a", 1)
		require.True(t, r.Allowed)
		require.Equal(t, 3, r.Limit)
		require.Equal(t, want, r.Remaining)
		require.Zero(t, r.RetryAfter)
	}
	refused := allow("a", 1)
	require.False(t, refused.Allowed)
	require.Zero(t, refused.Remaining)
	require.Equal(t, 20*time.Second, refused.RetryAfter)
	require.Equal(t, time.Minute, refused.Reset)
	require.False(t, allow("a", 0).Allowed, "a look says what a taking would get")
	require.True(t, allow("b", 1).Allowed, "keys do not mix")

	fake.Advance(refused.RetryAfter - time.Nanosecond)
	require.False(t, allow("a", 1).Allowed)
	fake.Advance(time.Nanosecond)
	require.True(t, allow("a", 1).Allowed, "Retry-After is true")
	require.False(t, allow("a", 1).Allowed)
	fake.Advance(time.Minute)
	look := allow("a", 0)
	require.Equal(t, 3, look.Remaining)
	require.Equal(t, 3, allow("a", 0).Remaining, "a look takes nothing")
}

func TestMemoryOffAndImpossible(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(clock.NewFake(start))
	for range 10 {
		r, err := m.Allow(t.Context(), "p", ratelimit.Rate{}, "k", 1)
		require.NoError(t, err)
		require.Equal(t, ratelimit.Result{Allowed: true}, r)
	}
	r, err := m.Allow(t.Context(), "p", ratelimit.Rate{Limit: 2, Window: time.Minute}, "k", 3)
	require.NoError(t, err)
	require.False(t, r.Allowed)
	require.Equal(t, time.Minute, r.RetryAfter)
	_, err = m.Allow(t.Context(), "p", ratelimit.Rate{Limit: -1, Window: time.Minute}, "k", 1)
	require.Error(t, err)
	_, err = m.Allow(t.Context(), "p", ratelimit.Rate{Limit: 2, Window: time.Minute}, "k", -1)
	require.Error(t, err)
}

func TestMemoryKeepsRatesApart(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(clock.NewFake(start))
	slow, fast := ratelimit.Rate{Limit: 1, Window: time.Hour}, ratelimit.Rate{Limit: 5, Window: time.Second}
	for _, rate := range []ratelimit.Rate{slow, fast} {
		r, err := m.Allow(t.Context(), "caller", rate, "k", 1)
		require.NoError(t, err)
		require.True(t, r.Allowed, "a key whose limit was raised does not serve the old one's term")
	}
}

// No schedule gets more than the limit at once plus what trickled back since.
func TestMemoryNeverExceedsTheRate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fake := clock.NewFake(start)
		m := ratelimit.NewMemory(fake)
		rate := ratelimit.Rate{Limit: rapid.IntRange(1, 20).Draw(t, "limit"), Window: time.Minute}
		var elapsed time.Duration
		taken := 0
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			step := time.Duration(rapid.IntRange(0, 5000).Draw(t, "step")) * time.Millisecond
			fake.Advance(step)
			elapsed += step
			cost := rapid.IntRange(1, 3).Draw(t, "cost")
			r, err := m.Allow(context.Background(), "p", rate, "k", cost)
			require.NoError(t, err)
			if r.Allowed {
				taken += cost
			} else if cost <= rate.Limit {
				require.Positive(t, r.RetryAfter)
				require.LessOrEqual(t, r.RetryAfter, rate.Window)
			}
			interval := rate.Window / time.Duration(rate.Limit)
			require.LessOrEqual(t, taken, rate.Limit+int(elapsed/interval)+1)
			require.LessOrEqual(t, r.Reset, rate.Window)
		}
	})
}

func TestMemoryIsExactInParallel(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(clock.NewFake(start))
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				r, err := m.Allow(context.Background(), "p", ratelimit.Rate{Limit: 50, Window: time.Minute}, "k", 1)
				if err == nil && r.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 50, allowed.Load())
}

func TestMemoryForgetsTheIdleNotTheRefused(t *testing.T) {
	t.Parallel()
	m := ratelimit.NewMemory(clock.NewFake(start))
	rate := ratelimit.Rate{Limit: 1, Window: time.Hour}
	allow := func(key string) bool {
		r, err := m.Allow(context.Background(), "p", rate, key, 1)
		require.NoError(t, err)
		return r.Allowed
	}
	require.True(t, allow("attacker"))
	require.True(t, allow("idle"))
	for i := range 200_000 {
		allow("flood" + strconv.Itoa(i))
		if i%1000 == 0 {
			require.False(t, allow("attacker"), "a flood of keys does not free one that goes on asking")
		}
	}
	require.True(t, allow("idle"), "the store is bounded")
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.7":                 "192.0.2.7/32",
		"::ffff:192.0.2.7":          "192.0.2.7/32",
		"2001:db8:1:2:3:4:5:6":      "2001:db8:1:2::/64",
		"fe80::1%eth0":              "fe80::/64",
		"2001:db8:1:2:ffff:ffff::1": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, ratelimit.Network(netip.MustParseAddr(text)).String(), text)
	}
	require.False(t, ratelimit.Network(netip.Addr{}).IsValid())
}

func BenchmarkMemoryAllow(b *testing.B) {
	m := ratelimit.NewMemory(clock.System{})
	rate := ratelimit.Rate{Limit: 600, Window: time.Minute}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Allow(ctx, "address", rate, "192.0.2.7/32", 1); err != nil {
			b.Fatal(err)
		}
	}
}

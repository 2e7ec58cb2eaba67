package ratelimit_test

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/ratelimit/redistest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// log collects lines.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *log) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// shared returns the limiter of one replica, which looks after its Redis until the test ends.
func shared(t testing.TB, url string) (*ratelimit.Shared, *log) {
	t.Helper()
	s, l := unwatched(t, url)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { // before the one that closes it
		cancel()
		running.Wait()
	})
	return s, l
}

// unwatched is shared that nobody looks after.
func unwatched(t testing.TB, url string) (*ratelimit.Shared, *log) {
	t.Helper()
	l := &log{}
	s, err := ratelimit.NewShared(ratelimit.Config{RedisURL: secret.New(url)}, ratelimit.NewMemory(clock.NewFake(start)),
		slog.New(slog.NewTextHandler(l, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, l
}

// One algorithm, two stores: at the same instants they decide alike, whatever is asked.
func TestRedisDecidesAsMemoryDoes(t *testing.T) {
	t.Parallel()
	s, _ := unwatched(t, redistest.Start(t).URL())
	var run int
	rapid.Check(t, func(t *rapid.T) {
		run++
		fake := clock.NewFake(time.Now().Truncate(time.Microsecond))
		m := ratelimit.NewMemory(fake)
		s.At(fake.Now)
		rate := ratelimit.Rate{
			Limit:  rapid.SampledFrom([]int{1, 2, 3, 7, 600, 1_000_000}).Draw(t, "limit"),
			Window: rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 17 * time.Hour, 31 * 24 * time.Hour}).Draw(t, "window"),
		}
		for range rapid.IntRange(1, 20).Draw(t, "calls") {
			key := strconv.Itoa(run) + rapid.SampledFrom([]string{" a", " b"}).Draw(t, "key")
			cost := rapid.SampledFrom([]int{0, 1, 1, 1, 2, rate.Limit, rate.Limit + 1}).Draw(t, "cost")
			want, err := m.Allow(context.Background(), "p", rate, key, cost)
			require.NoError(t, err)
			got, err := s.Allow(context.Background(), "p", rate, key, cost)
			require.NoError(t, err)
			require.Equal(t, want, got)
			fake.Advance(time.Duration(rapid.Int64Range(0, int64(got.Reset)).Draw(t, "wait")).Truncate(time.Nanosecond))
		}
	})
	require.Zero(t, s.Stats().Fallbacks)
}

// RL-01: replicas that share a Redis let through what one would.
func TestRL01ReplicasCountTogether(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var replicas []*ratelimit.Shared
	for range 3 {
		s, _ := shared(t, server.URL())
		replicas = append(replicas, s)
	}
	rate := ratelimit.Rate{Limit: 100, Window: 24 * time.Hour}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			for range 33 {
				r, err := replicas[i%3].Allow(t.Context(), "address", rate, "192.0.2.1/32", 1)
				if err != nil {
					t.Error(err)
				}
				if r.Allowed {
					allowed.Add(1)
				} else if r.RetryAfter <= 0 || r.RetryAfter > rate.Window/100 {
					t.Errorf("Retry-After %s", r.RetryAfter)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 100, allowed.Load())
	for _, s := range replicas {
		require.Equal(t, ratelimit.Stats{Up: true}, s.Stats())
	}
	keys, _ := server.Do(t, "KEYS", "*192.0.2.1*").([]any)
	require.Len(t, keys, 1)
	left, _ := server.Do(t, "PTTL", keys[0]).(int64)
	require.Positive(t, left, "what has run off is forgotten")
	require.LessOrEqual(t, left, rate.Window.Milliseconds()+1)
}

// However Redis is lost, no request fails, the replica counts alone, says so once, and comes back by itself.
func TestRedisLostAndFound(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		lose, mend func(*testing.T, *redistest.Server)
	}{
		"killed": {
			func(t *testing.T, s *redistest.Server) { s.Kill(t) },
			func(t *testing.T, s *redistest.Server) { s.Start(t) },
		},
		"hung": {
			func(t *testing.T, s *redistest.Server) { s.Hang(t) },
			func(t *testing.T, s *redistest.Server) { s.Resume(t) },
		},
		"full": {
			func(t *testing.T, s *redistest.Server) { s.Do(t, "CONFIG", "SET", "maxmemory", "1") },
			func(t *testing.T, s *redistest.Server) { s.Do(t, "CONFIG", "SET", "maxmemory", "0") },
		},
		"read-only": {
			func(t *testing.T, s *redistest.Server) { s.Do(t, "REPLICAOF", "127.0.0.1", "1") },
			func(t *testing.T, s *redistest.Server) { s.Do(t, "REPLICAOF", "NO", "ONE") },
		},
		"scripts forgotten": { // no loss at all
			func(t *testing.T, s *redistest.Server) { s.Do(t, "SCRIPT", "FLUSH") },
			func(*testing.T, *redistest.Server) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			s, l := shared(t, server.URL())
			rate := ratelimit.Rate{Limit: 5, Window: time.Hour}
			ask := func(key string) ratelimit.Result {
				t.Helper()
				r, err := s.Allow(t.Context(), "caller", rate, key, 1)
				require.NoError(t, err)
				require.Equal(t, 5, r.Limit)
				return r
			}
			for range 3 {
				require.True(t, ask("a").Allowed)
			}
			f.lose(t, server)
			allowed := 0
			for range 20 {
				if ask("b").Allowed {
					allowed++
				}
			}
			require.Equal(t, 5, allowed, "it is limited nevertheless")
			losses := 1
			if name == "scripts forgotten" {
				losses = 0
			}
			require.Equal(t, losses == 0, s.Stats().Up)
			require.EqualValues(t, 20*losses, s.Stats().Fallbacks)
			require.EqualValues(t, losses, s.Stats().Losses)
			require.Equal(t, losses, l.count("redis does not answer"))
			f.mend(t, server)
			require.Eventually(t, func() bool { return s.Stats().Up }, time.Minute, 10*time.Millisecond)
			require.EqualValues(t, 20*losses, s.Stats().Fallbacks, "only requests count")
			if name == "killed" { // and with it what it knew
				require.Equal(t, 4, ask("a").Remaining)
			} else {
				require.Equal(t, 1, ask("a").Remaining, "the count goes on where it was")
			}
			require.Equal(t, losses, l.count("redis answers again"))
		})
	}
}

// A Redis that swallows everything: whoever was under way waits for one bounded time, everybody after that not at all.
func TestRedisThatSwallowsEverything(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"black hole": redistest.BlackHole(t), "nobody": "redis://127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := shared(t, url)
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					for range 20 {
						if _, err := s.Allow(t.Context(), "p", ratelimit.Rate{Limit: 5, Window: time.Hour}, "k", 1); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			require.EqualValues(t, 1000, s.Stats().Fallbacks)
			require.EqualValues(t, 1, s.Stats().Losses)
			require.Equal(t, 1, l.count("redis"))
		})
	}
}

// A client that goes away while Redis is asked is no sign that Redis is gone.
func TestCanceledRequestDoesNotLoseRedis(t *testing.T) {
	t.Parallel()
	s, _ := shared(t, redistest.Start(t).URL())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := s.Allow(ctx, "p", ratelimit.Rate{Limit: 5, Window: time.Hour}, "k", 1)
	require.NoError(t, err)
	require.Equal(t, 4, r.Remaining)
	require.Equal(t, ratelimit.Stats{Up: true}, s.Stats())
}

func TestSharedRefusesWhatIsNoRate(t *testing.T) {
	t.Parallel()
	s, _ := shared(t, redistest.Start(t).URL())
	r, err := s.Allow(t.Context(), "p", ratelimit.Rate{}, "k", 1)
	require.NoError(t, err)
	require.Equal(t, ratelimit.Result{Allowed: true}, r)
	_, err = s.Allow(t.Context(), "p", ratelimit.Rate{Limit: -1, Window: time.Minute}, "k", 1)
	require.Error(t, err)
	_, err = s.Allow(t.Context(), "p", ratelimit.Rate{Limit: 1, Window: time.Minute}, "k", -1)
	require.Error(t, err)
	require.Equal(t, ratelimit.Stats{Up: true}, s.Stats(), "a caller's mistake is not the server's")
}

func TestRedisAddress(t *testing.T) {
	t.Parallel()
	open := func(url string) error {
		s, err := ratelimit.NewShared(ratelimit.Config{RedisURL: secret.New(url)}, nil, nil)
		if err == nil {
			require.NoError(t, s.Close())
		}
		return err
	}
	for _, url := range []string{"redis://h:6379/1", "rediss://u:p@h", "unix:///run/redis.sock"} {
		require.NoError(t, open(url), url)
	}
	for _, url := range []string{"localhost:6379", "http://h", "redis://", "redis://h/x", "redis://u:hunter2@h:x", "%"} {
		err := open(url)
		require.ErrorContains(t, err, "UMS_REDIS_URL", url)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func BenchmarkRedisAllow(b *testing.B) {
	s, _ := shared(b, redistest.Start(b).URL())
	rate := ratelimit.Rate{Limit: 600, Window: time.Minute}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Allow(b.Context(), "address", rate, "192.0.2.7/32", 1); err != nil {
			b.Fatal(err)
		}
	}
}

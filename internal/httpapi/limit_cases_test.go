package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/ratelimit/redistest"
)

// limited starts three replicas that count together, behind a proxy, so that a test can come from anywhere.
func limited(t *testing.T, server *redistest.Server, env ...string) [3]*apptest.Service {
	t.Helper()
	env = append([]string{"UMS_REDIS_URL=" + server.URL(), "UMS_RATE_LIMIT_LOGIN=off", "UMS_TRUSTED_PROXIES=127.0.0.0/8"}, env...)
	a := apptest.Start(t, apptest.Env(env...))
	return [3]*apptest.Service{
		a, apptest.Start(t, apptest.Beside(a), apptest.Env(env...)), apptest.Start(t, apptest.Beside(a), apptest.Env(env...)),
	}
}

// flood sends n requests by 30 clients at once, spread over the replicas, and returns how many were not refused by a limit.
// Every answer must say truly what is left. More clients would only wait for a processor, until Redis seems not to answer.
func flood(t *testing.T, replicas [3]*apptest.Service, c *apptest.Client, path, policy string, limit, n int) int {
	t.Helper()
	var passed atomic.Int64
	var all sync.WaitGroup
	clients := make(chan struct{}, 30)
	for i := range n {
		clients <- struct{}{}
		all.Go(func() {
			defer func() { <-clients }()
			a, _, err := c.At(replicas[i%3]).Try(http.MethodGet, path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			wait, _ := strconv.Atoi(a.Header.Get("Retry-After"))
			switch {
			case a.Status == http.StatusOK:
				passed.Add(1)
			case a.Status != http.StatusTooManyRequests || a.Code(t) != "rate_limited" || a.String(t, "policy") != policy:
				t.Errorf("%d %s", a.Status, a.Body)
			case wait < 1 || wait > 86400/limit:
				t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
			}
		})
	}
	all.Wait()
	return int(passed.Load())
}

// RL-01: a client that spreads its requests over three replicas gets what it would get from one.
func TestRL01_ThreeReplicasLetThroughWhatOneWould(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	replicas := limited(t, server, "UMS_RATE_LIMIT_ADDRESS=40/24h", "UMS_RATE_LIMIT_CALLER=30/24h")
	from := replicas[0].With("X-Forwarded-For", "192.0.2.1")
	require.LessOrEqual(t, flood(t, replicas, from, "/auth/config", "address", 40, 400), 44)
	a := from.At(replicas[2]).GET(t, "/auth/config").Want(t, 429)
	require.Equal(t, `"address";q=40;w=86400`, a.Header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"address";r=0;t=8(64|63|62|61|60)\d\d$`, a.Header.Get("RateLimit"))
	from.With("X-Forwarded-For", "192.0.2.2").GET(t, "/auth/config").Want(t, 200)

	// A caller is the same one wherever he comes from, and a key has what its own limit says: where it calls, and where
	// somebody else asks about it.
	root := replicas[0].Admin(t)
	passed := 0
	for i := range 10 {
		passed += flood(t, replicas, root.With("X-Forwarded-For", fmt.Sprintf("198.51.100.%d", i)), "/users/me", "caller", 30, 12)
	}
	require.LessOrEqual(t, passed, 33)
	require.Positive(t, passed)
}

// RL-01 for a key's own limit: one allowance for the calls of the key and for the verifications of it, on all replicas.
func TestRL01_AKeysOwnLimitIsOneOnAllReplicas(t *testing.T) {
	t.Parallel()
	replicas := limited(t, redistest.Start(t))
	root := replicas[0].Admin(t)
	key := root.POST(t, "/api-keys", newKey(doc{"rate_limit": doc{"limit": 6, "window_seconds": 86400}})).Want(t, 201).String(t, "key")
	by := verifier(t, replicas[0], root)
	for i := range 3 {
		replicas[i].Bearer(key).GET(t, "/users/me").Want(t, 200)
		a := by.At(replicas[(i+1)%3]).POST(t, "/api-keys/verify", doc{"key": key}).Want(t, 200)
		require.Equal(t, "valid", a.String(t, "code"))
		require.InDelta(t, 4-2*i, a.Get(t, "rate_limit.remaining"), 0)
	}
	for i := range 3 {
		replicas[i].Bearer(key).GET(t, "/users/me").Want(t, 429, "rate_limited")
		require.Equal(t, "rate_limited", by.At(replicas[i]).POST(t, "/api-keys/verify", doc{"key": key}).String(t, "code"))
	}
}

// A Redis that is lost costs no request, makes no replica unready, and is told; the limits hold on each replica alone.
func TestRedisIsLostAndNobodyNotices(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := apptest.Start(t, apptest.Env("UMS_REDIS_URL="+server.URL(), "UMS_RATE_LIMIT_ADDRESS=30/24h", "UMS_TRUSTED_PROXIES=127.0.0.0/8"))
	redis := func(want bool) bool {
		a := s.GET(t, "/readyz").Want(t, 200)
		require.Equal(t, "ok", a.String(t, "status"))
		require.Equal(t, "redis", a.String(t, "checks.3.name"))
		return a.Get(t, "checks.3.ok") == want
	}
	require.True(t, redis(true))
	for i, f := range []struct{ lose, mend func(testing.TB) }{
		{server.Kill, server.Start}, {server.Hang, server.Resume},
	} {
		f.lose(t)
		passed := 0
		from := s.With("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		for range 60 {
			if a := from.GET(t, "/auth/config"); a.Status == http.StatusOK {
				passed++
			} else {
				a.Want(t, 429, "rate_limited")
			}
		}
		require.Equal(t, 30, passed)
		require.True(t, redis(false))
		f.mend(t)
		require.Eventually(t, func() bool { return redis(true) }, time.Minute, 20*time.Millisecond)
		require.Equal(t, i+1, strings.Count(s.Log.String(), "redis does not answer"))
	}
}

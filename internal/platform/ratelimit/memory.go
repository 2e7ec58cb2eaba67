package ratelimit

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/throttled/throttled/v2"

	"github.com/user-management-service/ums/internal/platform/clock"
)

// The store's bounds: 64 Ki keys, about 15 MB when all are taken. Beyond that the key that was idle longest is
// forgotten, which gives it its allowance back; a key that is being refused is never the idle one.
const (
	shards       = 16
	keysPerShard = 4096
)

// Memory is a Limiter in this process. Each replica counts by itself.
type Memory struct {
	clock  clock.Clock
	start  time.Time
	seed   maphash.Seed
	shards [shards]shard
}

var _ Limiter = (*Memory)(nil)

// shard holds the theoretical arrival times (nanoseconds since the epoch) of its keys. Its lock is held for the whole
// of one decision, so that the compare-and-swap of the algorithm never fails and never retries.
type shard struct {
	mu    sync.Mutex
	times *simplelru.LRU[bucket, int64]
}

type bucket struct {
	policy, key string
	rate        Rate
}

// NewMemory returns an empty store.
func NewMemory(c clock.Clock) *Memory {
	m := &Memory{clock: c, start: c.Now(), seed: maphash.MakeSeed()}
	for i := range m.shards {
		times, err := simplelru.NewLRU[bucket, int64](keysPerShard, nil)
		if err != nil {
			panic(err) // only a size below 1 is refused
		}
		m.shards[i].times = times
	}
	return m
}

// Allow implements Limiter.
func (m *Memory) Allow(ctx context.Context, policy string, rate Rate, key string, cost int) (Result, error) {
	if rate.Off() {
		return Result{Allowed: true}, nil
	}
	if err := rate.Validate(); err != nil {
		return Result{}, fmt.Errorf("limit %s: %w", policy, err)
	}
	if cost < 0 {
		return Result{}, fmt.Errorf("limit %s: negative cost %d", policy, cost)
	}
	s := &m.shards[maphash.String(m.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()

	// Time runs on from the start by the monotonic clock, so that a step of the wall clock neither frees nor locks anyone.
	now := m.start.Add(m.clock.Now().Sub(m.start))
	limiter, err := throttled.NewGCRARateLimiterCtx(
		&cell{shard: s, bucket: bucket{policy, key, rate}, now: now},
		throttled.RateQuota{MaxRate: throttled.PerDuration(rate.Limit, rate.Window), MaxBurst: rate.Limit - 1},
	)
	if err != nil {
		return Result{}, fmt.Errorf("limit %s: %w", policy, err)
	}
	taken := cost
	if cost > rate.Limit {
		taken = 0 // the library would tell of a key that has everything
	}
	limited, state, err := limiter.RateLimitCtx(ctx, "", taken)
	if err != nil {
		return Result{}, fmt.Errorf("limit %s: %w", policy, err)
	}
	return rate.result(!limited, max(state.ResetAfter, 0), cost), nil
}

// cell is the algorithm's view of one bucket, at one instant, under the shard's lock.
type cell struct {
	shard  *shard
	bucket bucket
	now    time.Time
}

// GetWithTime implements throttled.GCRAStoreCtx.
func (c *cell) GetWithTime(context.Context, string) (int64, time.Time, error) {
	if t, ok := c.shard.times.Get(c.bucket); ok {
		return t, c.now, nil
	}
	return -1, c.now, nil
}

// SetIfNotExistsWithTTL implements throttled.GCRAStoreCtx. The time to live is not needed: a time that has passed
// means the same as none.
func (c *cell) SetIfNotExistsWithTTL(_ context.Context, _ string, value int64, _ time.Duration) (bool, error) {
	c.shard.times.Add(c.bucket, value)
	return true, nil
}

// CompareAndSwapWithTTL implements throttled.GCRAStoreCtx.
func (c *cell) CompareAndSwapWithTTL(_ context.Context, _ string, _, value int64, _ time.Duration) (bool, error) {
	c.shard.times.Add(c.bucket, value)
	return true, nil
}

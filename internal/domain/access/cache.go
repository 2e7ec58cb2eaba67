package access

import (
	"context"
	"encoding/binary"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
)

const (
	maxAge      = time.Second     // how long an answer may be used when no announcement ends it
	fillTimeout = 5 * time.Second // of a look-up that several callers wait for
)

// epochs orders evictions and look-ups. Each eviction takes the next number and leaves it in the slot of its account
// (accounts share slots; a needless look-up is the only consequence) or in everyone's. A look-up remembers the number
// at which it began, and its result counts only while no newer one stands in its account's slot or in everyone's.
// So what was read before a change can never be served after the change was announced.
type epochs struct {
	last     atomic.Uint64
	everyone atomic.Uint64
	slots    [1024]atomic.Uint64
}

func (e *epochs) slot(user id.ID) *atomic.Uint64 {
	// The end of a UUIDv7 is random.
	return &e.slots[binary.BigEndian.Uint64(user[8:])%uint64(len(e.slots))]
}

func (e *epochs) evict(user id.ID) { raise(e.slot(user), e.last.Add(1)) }
func (e *epochs) evictAll()        { raise(&e.everyone, e.last.Add(1)) }

// raise stores n unless a newer number is there.
func raise(slot *atomic.Uint64, n uint64) {
	for {
		old := slot.Load()
		if old >= n || slot.CompareAndSwap(old, n) {
			return
		}
	}
}

func (e *epochs) current(user id.ID, began uint64) bool {
	return e.slot(user).Load() <= began && e.everyone.Load() <= began
}

// answer is the result of one look-up: a principal, or a refusal.
type answer struct {
	principal *Principal // nil: refused
	refusal   *Refusal   // of a key
	hash      []byte     // SHA-256 of the key's secret; zeros when there is no such key: no secret has them
	user      id.ID      // whose slot ends it
	began     uint64
	asked     time.Time // before the database was
}

// cache remembers answers by K. Refusals stand apart, so that a flood of unknown keys cannot push out the known ones.
type cache[K comparable] struct {
	clock    clock.Clock
	epochs   *epochs
	known    *lru.Cache[K, *answer]
	refused  *lru.Cache[K, *answer]
	text     func(K) string
	look     func(ctx context.Context, key K) (*answer, error)
	inFlight singleflight.Group
}

func newCache[K comparable](
	clk clock.Clock, e *epochs, size int, text func(K) string, look func(context.Context, K) (*answer, error),
) *cache[K] {
	known, err := lru.New[K, *answer](size)
	if err != nil {
		panic(err) // only for a size below one
	}
	refused, err := lru.New[K, *answer](max(size/8, 1))
	if err != nil {
		panic(err)
	}
	return &cache[K]{clock: clk, epochs: e, known: known, refused: refused, text: text, look: look}
}

func (c *cache[K]) get(ctx context.Context, key K) (*answer, error) {
	now := c.clock.Now()
	if a, ok := c.known.Get(key); ok && c.fresh(a, now) {
		return a, nil
	}
	if c.refused.Len() > 0 {
		if a, ok := c.refused.Get(key); ok && c.fresh(a, now) {
			return a, nil
		}
	}
	for {
		a, err := c.ask(ctx, key)
		// One that somebody else began long ago may have read too early for this caller; the next one cannot.
		if err != nil || now.Sub(a.asked) < maxAge {
			return a, err
		}
	}
}

// ask looks up, together with others who came between the same evictions: one that came after an eviction never gets
// what was read before it.
func (c *cache[K]) ask(ctx context.Context, key K) (*answer, error) {
	began := c.epochs.last.Load()
	// The look-up belongs to all who wait for it, so no single one's going away ends it.
	shared := context.WithoutCancel(ctx)
	done := c.inFlight.DoChan(strconv.FormatUint(began, 36)+" "+c.text(key), func() (any, error) {
		ctx, cancel := context.WithTimeout(shared, fillTimeout)
		defer cancel()
		return c.fill(ctx, key, began)
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*answer), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cache[K]) fill(ctx context.Context, key K, began uint64) (*answer, error) {
	asked := c.clock.Now()
	a, err := c.look(ctx, key)
	if err != nil {
		return nil, err
	}
	a.began, a.asked = began, asked
	if a.principal != nil {
		c.known.Add(key, a)
		c.refused.Remove(key)
	} else {
		c.refused.Add(key, a)
		c.known.Remove(key)
	}
	return a, nil
}

func (c *cache[K]) fresh(a *answer, now time.Time) bool {
	age := now.Sub(a.asked)
	return age >= 0 && age < maxAge && c.epochs.current(a.user, a.began)
}

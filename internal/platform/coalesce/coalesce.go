// Package coalesce turns the single-key reads of concurrent requests into one read of many keys.
//
// Nothing is remembered: a caller only ever joins a read that has not begun yet, so what he gets is as fresh as if he
// had asked alone, and a value that was written before he asked is seen.
package coalesce

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
)

const (
	maxBatch   = 256  // keys of one read
	maxPending = 4096 // keys that wait for a read; beyond that the service is overloaded
	inFlight   = 2    // reads at a time: while one waits for the database, the next collects and starts
)

// timeout bounds a read. It is the read's own: no caller's context ends what others wait for.
const timeout = 5 * time.Second

// ErrOverloaded is the fault of a read that finds the queue full (503).
var ErrOverloaded = fault.New(fault.Unavailable, "overloaded",
	"The service has more to do than it can; try again shortly.").WithRetryAfter(time.Second)

// Fetch reads many keys at once. Keys that have no value are absent from the result.
type Fetch[K comparable, V any] func(ctx context.Context, keys []K) (map[K]V, error)

// Loader collects reads. It is safe for concurrent use and holds no goroutine while nobody waits.
type Loader[K comparable, V any] struct {
	fetch Fetch[K, V]

	mu      sync.Mutex
	pending map[K]*read[V]
	running int
}

// read is what the callers of one key wait for; its fields are settled when done is closed.
type read[V any] struct {
	done  chan struct{}
	value V
	found bool
	err   error
}

// New returns a loader over fetch.
func New[K comparable, V any](fetch Fetch[K, V]) *Loader[K, V] {
	return &Loader[K, V]{fetch: fetch, pending: map[K]*read[V]{}}
}

// Load returns the value of key as it is now, and whether there is one. The value may be handed to several callers:
// they must not change it. The end of ctx ends this caller's wait and nobody else's.
func (l *Loader[K, V]) Load(ctx context.Context, key K) (V, bool, error) {
	r, err := l.join(key)
	if err != nil {
		var none V
		return none, false, err
	}
	select {
	case <-r.done:
		return r.value, r.found, r.err
	case <-ctx.Done():
		var none V
		return none, false, fmt.Errorf("wait for a coalesced read: %w", ctx.Err())
	}
}

func (l *Loader[K, V]) join(key K) (*read[V], error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.pending[key]; r != nil {
		return r, nil
	}
	if len(l.pending) >= maxPending {
		return nil, ErrOverloaded
	}
	r := &read[V]{done: make(chan struct{})}
	l.pending[key] = r
	if l.running < inFlight {
		l.running++
		go l.run()
	}
	return r, nil
}

// run reads batches until nobody waits.
func (l *Loader[K, V]) run() {
	for {
		// Requests that are ready to run get to ask before the queue is drained: without this each batch has one key.
		runtime.Gosched()
		keys, reads := l.drain()
		if len(keys) == 0 {
			return
		}
		l.batch(keys, reads)
	}
}

// drain takes the next batch; when there is none, the runner has signed off under the same lock.
func (l *Loader[K, V]) drain() ([]K, []*read[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.pending), maxBatch)
	if n == 0 {
		l.running--
		return nil, nil
	}
	keys, reads := make([]K, 0, n), make([]*read[V], 0, n)
	for k, r := range l.pending {
		if len(keys) == n {
			break
		}
		keys, reads = append(keys, k), append(reads, r)
		delete(l.pending, k)
	}
	return keys, reads
}

// batch settles every read, also when fetch panics: its callers must not wait for ever, nor the process end.
func (l *Loader[K, V]) batch(keys []K, reads []*read[V]) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	values, err := l.guarded(ctx, keys)
	for i, r := range reads {
		if r.err = err; err == nil {
			r.value, r.found = values[keys[i]]
		}
		close(r.done)
	}
}

func (l *Loader[K, V]) guarded(ctx context.Context, keys []K) (values map[K]V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("coalesced read panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return l.fetch(ctx, keys)
}

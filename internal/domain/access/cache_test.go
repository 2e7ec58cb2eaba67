package access

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
)

// world is what a look-up reads: the generation of an account's rights.
type world struct {
	clock  *clock.Fake
	epochs epochs
	user   id.ID
	rights atomic.Int64
	looks  atomic.Int64
	gate   chan struct{} // when set, a look-up that has read waits for it
	cache  *cache[string]
}

func newWorld() *world {
	w := &world{clock: clock.NewFake(time.Unix(1_800_000_000, 0)), user: id.New()}
	w.cache = newCache(w.clock, &w.epochs, 64, func(k string) string { return k }, w.look)
	return w
}

func (w *world) look(ctx context.Context, _ string) (*answer, error) {
	w.looks.Add(1)
	read := w.rights.Load()
	if gate := w.gate; gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &answer{principal: &Principal{Label: string(rune('0' + read))}, user: w.user}, nil
}

func (w *world) get(t *testing.T) string {
	t.Helper()
	a, err := w.cache.get(t.Context(), "k")
	require.NoError(t, err)
	return a.principal.Label
}

func TestAnAnswerIsUsedForLessThanASecond(t *testing.T) {
	t.Parallel()
	w := newWorld()
	require.Equal(t, "0", w.get(t))
	w.rights.Add(1) // and nobody tells: the listener is deaf
	w.clock.Advance(maxAge - time.Nanosecond)
	require.Equal(t, "0", w.get(t))
	w.clock.Advance(time.Nanosecond)
	require.Equal(t, "1", w.get(t))
	require.EqualValues(t, 2, w.looks.Load())
	w.clock.Advance(-time.Hour)
	require.Equal(t, "1", w.get(t))
	require.EqualValues(t, 3, w.looks.Load(), "a clock that went back does not stretch the second")
}

func TestEvictionsEndAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld()
	other := id.New()
	for w.epochs.slot(other) == w.epochs.slot(w.user) {
		other = id.New()
	}
	w.get(t)
	w.epochs.evict(other)
	w.get(t)
	require.EqualValues(t, 1, w.looks.Load(), "another's change is none of ours")
	w.epochs.evict(w.user)
	w.get(t)
	require.EqualValues(t, 2, w.looks.Load())
	w.epochs.evictAll()
	w.get(t)
	require.EqualValues(t, 3, w.looks.Load())
}

func TestALookUpThatBeganBeforeAnEvictionDoesNotSurviveIt(t *testing.T) {
	t.Parallel()
	for name, evict := range map[string]func(w *world){
		"of the account": func(w *world) { w.epochs.evict(w.user) },
		"of everyone":    func(w *world) { w.epochs.evictAll() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.gate = make(chan struct{})
				early := make(chan string, 1)
				go func() { early <- w.get(t) }()
				synctest.Wait() // it has read the old rights
				w.rights.Add(1)
				evict(w)
				gate := w.gate
				w.gate = nil
				require.Equal(t, "1", w.get(t), "who came after the eviction does not wait for what was read before it")
				close(gate)
				require.Equal(t, "0", <-early, "he came before the change was announced")
				require.Equal(t, "1", w.get(t), "the older look-up ended last, and still does not count")
			})
		})
	}
}

func TestConcurrentCallersShareALookUpThatNoneOfThemCanCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gate = make(chan struct{})
		first, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := w.cache.get(first, "k")
			gone <- err
		}()
		synctest.Wait()
		answers := make(chan string, 20)
		for range cap(answers) {
			go func() { answers <- w.get(t) }()
		}
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled)
		close(w.gate)
		for range cap(answers) {
			require.Equal(t, "0", <-answers)
		}
		require.EqualValues(t, 1, w.looks.Load())
	})
}

func TestALookUpThatHangsServesNobodyWhoCameLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.gate = make(chan struct{})
		early := make(chan string, 1)
		go func() { early <- w.get(t) }()
		synctest.Wait()
		w.rights.Add(1) // unannounced
		w.clock.Advance(2 * time.Second)
		late := make(chan string, 1)
		go func() { late <- w.get(t) }()
		synctest.Wait()
		close(w.gate)
		require.Equal(t, "0", <-early)
		require.Equal(t, "1", <-late)
	})
}

func TestErrorsAreNotRemembered(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	var epochs epochs
	calls := 0
	c := newCache(clock.System{}, &epochs, 8, func(k string) string { return k }, func(context.Context, string) (*answer, error) {
		calls++
		return nil, down
	})
	for range 3 {
		_, err := c.get(t.Context(), "k")
		require.ErrorIs(t, err, down)
	}
	require.Equal(t, 3, calls)
}

// Readers that begin after a change was announced see it, whatever else happens at the time.
func TestNoReaderSeesRightsFromBeforeAnAnnouncedChange(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var rights, announced atomic.Int64
	w.cache.look = func(context.Context, string) (*answer, error) {
		read := rights.Load()
		runtime.Gosched()
		return &answer{principal: &Principal{AuthTime: time.Unix(read, 0)}, user: w.user}, nil
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := announced.Load()
				a, err := w.cache.get(context.Background(), "k")
				if err != nil || a.principal.AuthTime.Unix() < least {
					t.Errorf("saw %v after %d was announced (%v)", a.principal.AuthTime.Unix(), least, err)
					return
				}
			}
		})
	}
	for n := range int64(5000) {
		rights.Store(n)
		if n%7 == 0 {
			w.epochs.evictAll()
		} else {
			w.epochs.evict(w.user)
		}
		announced.Store(n)
	}
	close(stop)
	wg.Wait()
}

// A million distinct keys that do not exist leave a bounded cache behind, and none of the known keys is pushed out by them.
func TestMemoryIsBoundedUnderGarbage(t *testing.T) {
	t.Parallel()
	const known, garbage = 1000, 1_000_000
	var epochs epochs
	user := id.New()
	looks := 0
	c := newCache(clock.NewFake(time.Unix(1_800_000_000, 0)), &epochs, remembered, func(k string) string { return k },
		func(_ context.Context, key string) (*answer, error) {
			looks++
			if key[0] == 'k' {
				return &answer{principal: &Principal{}, user: user}, nil
			}
			return &answer{refusal: &Refusal{Reason: NotFound}, hash: make([]byte, 32)}, nil
		})
	ask := func(key string) {
		_, err := c.ask(t.Context(), key)
		require.NoError(t, err)
	}
	for i := range known {
		ask("k" + strconv.Itoa(i))
	}
	for i := range garbage {
		ask("g" + strconv.Itoa(i))
	}
	require.Equal(t, known, c.known.Len())
	require.LessOrEqual(t, c.refused.Len(), remembered/8)
	require.Equal(t, known+garbage, looks)
	for i := range known {
		_, err := c.get(t.Context(), "k"+strconv.Itoa(i))
		require.NoError(t, err)
	}
	require.Equal(t, known+garbage, looks)
	for range 10 {
		_, err := c.get(t.Context(), "g"+strconv.Itoa(garbage-1))
		require.NoError(t, err)
	}
	require.Equal(t, known+garbage, looks, "an unknown key is remembered as such")
}

func BenchmarkHit(b *testing.B) {
	w := newWorld()
	w.cache.clock = clock.System{}
	key := Session{UserID: id.New(), SessionID: id.New()}
	c := newCache(clock.System{}, &w.epochs, 1024, func(Session) string { return "" }, func(context.Context, Session) (*answer, error) {
		return &answer{principal: &Principal{}, user: key.UserID}, nil
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.get(context.Background(), key); err != nil {
			b.Fatal(err)
		}
	}
}

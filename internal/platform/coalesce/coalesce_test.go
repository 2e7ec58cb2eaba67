package coalesce_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/coalesce"
)

func TestConcurrentReadsShareFewFetches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fetches, most := 0, 0
		var mu sync.Mutex
		l := coalesce.New(func(_ context.Context, keys []int) (map[int]int, error) {
			mu.Lock()
			fetches++
			most = max(most, len(keys))
			mu.Unlock()
			time.Sleep(time.Millisecond) //nolint:forbidigo // the database answers; the bubble's clock is not the wall's
			values := map[int]int{}
			for _, k := range keys {
				if k%10 != 0 {
					values[k] = k * 2
				}
			}
			return values, nil
		})
		var wg sync.WaitGroup
		for k := range 500 {
			wg.Go(func() {
				v, found, err := l.Load(t.Context(), k)
				require.NoError(t, err)
				require.Equal(t, k%10 != 0, found)
				if found {
					require.Equal(t, k*2, v, "each caller gets the value of his own key")
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, most, 256, "a batch is bounded")
		require.Less(t, fetches, 50)
	})
}

// A read that has begun may have missed the caller's own write, so he must not join it.
func TestNobodyJoinsAReadThatHasBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var stored atomic.Int64
		l := coalesce.New(func(_ context.Context, keys []string) (map[string]int64, error) {
			seen := stored.Load()
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
			return map[string]int64{keys[0]: seen}, nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { _, _, _ = l.Load(t.Context(), "k") })
		synctest.Wait() // the first fetch has looked
		stored.Store(7)
		v, _, err := l.Load(t.Context(), "k")
		require.NoError(t, err)
		require.EqualValues(t, 7, v)
		wg.Wait()
	})
}

func TestACallersContextEndsHisWaitAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := coalesce.New(func(ctx context.Context, keys []string) (map[string]int, error) {
			select {
			case <-time.After(time.Second):
				return map[string]int{keys[0]: 1}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, err := l.Load(impatient, "k")
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		wg.Go(func() {
			v, found, err := l.Load(t.Context(), "k")
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, 1, v)
		})
		wg.Wait()
	})
}

func TestAFetchThatNeverEndsIsEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := coalesce.New(func(ctx context.Context, _ []string) (map[string]int, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		_, _, err := l.Load(t.Context(), "k")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestFailuresReachEveryCaller(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	l := coalesce.New(func(context.Context, []string) (map[string]int, error) { return nil, down })
	_, _, err := l.Load(t.Context(), "k")
	require.ErrorIs(t, err, down)

	l = coalesce.New(func(context.Context, []string) (map[string]int, error) { panic("boom") })
	_, _, err = l.Load(t.Context(), "k")
	require.ErrorContains(t, err, "boom")
	_, _, err = l.Load(t.Context(), "k")
	require.ErrorContains(t, err, "boom", "the loader serves on")
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		l := coalesce.New(func(_ context.Context, _ []int) (map[int]int, error) {
			<-release
			return nil, nil
		})
		var wg sync.WaitGroup
		var refused atomic.Int64
		for k := range 6000 {
			wg.Go(func() {
				if _, _, err := l.Load(t.Context(), k); errors.Is(err, coalesce.ErrOverloaded) {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		require.GreaterOrEqual(t, refused.Load(), int64(6000-4096-2*256))
		close(release)
		wg.Wait()
	})
}

func BenchmarkLoad(b *testing.B) {
	l := coalesce.New(func(_ context.Context, keys []int) (map[int]int, error) {
		values := make(map[int]int, len(keys))
		for _, k := range keys {
			values[k] = k
		}
		return values, nil
	})
	b.ReportAllocs()
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		k := int(n.Add(1))
		for pb.Next() {
			_, _, _ = l.Load(b.Context(), k)
		}
	})
}

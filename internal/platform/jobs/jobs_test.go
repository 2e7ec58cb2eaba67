package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// bench is a database, a client that is not started, and what it observed.
type bench struct {
	*jobs.Client
	pool     *postgres.Pool
	log      *buffer
	outcomes chan string
}

func newBench(t *testing.T, cfg jobs.Config) *bench {
	t.Helper()
	b := &bench{log: &buffer{}, outcomes: make(chan string, 100)}
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	var err error
	b.pool, err = postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 6,
	}, logger)
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	b.Client, err = jobs.New(b.pool, cfg, logger, func(kind, outcome string, _ time.Duration) {
		b.outcomes <- kind + " " + outcome
	})
	require.NoError(t, err)
	return b
}

func (b *bench) start(t *testing.T) {
	t.Helper()
	require.NoError(t, b.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, b.Stop(context.Background())) })
}

func (b *bench) insert(t *testing.T, args jobs.Args) {
	t.Helper()
	require.NoError(t, b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		return b.Insert(ctx, tx, args)
	}))
}

func (b *bench) states(t *testing.T) map[string]int {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), "SELECT state::text, count(*) FROM river_job GROUP BY state")
	require.NoError(t, err)
	defer rows.Close()
	states := map[string]int{}
	for rows.Next() {
		var state string
		var n int
		require.NoError(t, rows.Scan(&state, &n))
		states[state] = n
	}
	require.NoError(t, rows.Err())
	return states
}

type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

type ping struct {
	N int `json:"n"`
}

func (ping) Kind() string { return "ping" }

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func TestJobRunsAfterCommitAndNeverAfterRollback(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	ran := make(chan int, 10)
	jobs.Handle(b.Client, func(_ context.Context, job jobs.Job[ping]) error {
		ran <- job.Args.N
		return nil
	})
	b.start(t)

	rollback := errors.New("changed my mind")
	require.ErrorIs(t, b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		require.NoError(t, b.Insert(ctx, tx, ping{1}))
		return rollback
	}), rollback)
	require.NoError(t, b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		require.NoError(t, b.Insert(ctx, tx, ping{2}))
		require.Empty(t, ran, "not before the commit")
		return nil
	}))
	require.Equal(t, 2, receive(t, ran))
	require.Equal(t, "ping completed", receive(t, b.outcomes))
	require.NoError(t, b.Stop(t.Context()))
	require.Empty(t, ran)
	require.Equal(t, map[string]int{"completed": 1}, b.states(t))
}

func TestEverythingWorksAsTheAppRole(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	swept := make(chan struct{}, 10)
	jobs.Handle(b.Client, func(context.Context, jobs.Job[ping]) error {
		swept <- struct{}{}
		return nil
	})
	b.Every(time.Hour, ping{})
	b.start(t)
	receive(t, swept) // a leader was elected, its maintenance runs

	var role string
	require.NoError(t, b.pool.QueryRow(t.Context(), "SELECT current_user").Scan(&role))
	require.Equal(t, postgres.AppRole, role)
	require.NoError(t, b.Stop(t.Context()))
	require.Empty(t, b.log.text(), "no permission is missing, nothing else to tell")
}

func TestOnlyOneReplicaRunsAPeriodicJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	other, err := jobs.New(b.pool, jobs.Config{}, slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	ran := make(chan struct{}, 10)
	for _, c := range []*jobs.Client{b.Client, other} {
		jobs.Handle(c, func(context.Context, jobs.Job[ping]) error {
			ran <- struct{}{}
			return nil
		})
		c.Every(time.Hour, ping{})
		require.NoError(t, c.Start(t.Context()))
	}
	receive(t, ran)
	require.NoError(t, b.Stop(t.Context()))
	require.NoError(t, other.Stop(t.Context()))
	require.Equal(t, map[string]int{"completed": 1}, b.states(t))
}

func TestCompletionIsPartOfTheTransaction(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	jobs.Handle(b.Client, func(ctx context.Context, job jobs.Job[ping]) error {
		return b.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			if err := job.Complete(ctx, tx); err != nil {
				return err
			}
			if job.Attempt == 1 {
				return errors.New("rolled back")
			}
			return nil
		})
	})
	b.start(t)
	b.insert(t, ping{})
	require.Equal(t, "ping failed", receive(t, b.outcomes), "the rollback took the completion with it")
	require.Equal(t, "ping completed", receive(t, b.outcomes))
}

func TestFailuresAreRepeatedLoggedAndBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{Workers: 1})
	jobs.Handle(b.Client, func(_ context.Context, job jobs.Job[ping]) error {
		switch {
		case job.Args.N == 4711:
			panic("poison")
		case job.Args.N == 1 && job.Attempt == 1:
			return errors.New("for the moment")
		case job.Args.N == 2:
			return jobs.Cancel(errors.New("for ever"))
		}
		return nil
	})
	b.start(t)
	// F-21: a poisoned job does not stop the one worker from doing the others.
	b.insert(t, ping{4711})
	b.insert(t, ping{1})
	b.insert(t, ping{2})
	b.insert(t, ping{3})
	counts := map[string]int{}
	for counts["ping completed"] < 2 || counts["ping canceled"] < 1 || counts["ping panicked"] < 2 {
		counts[receive(t, b.outcomes)]++
	}
	require.Equal(t, 1, counts["ping failed"])
	require.NoError(t, b.Stop(t.Context()))
	states := b.states(t)
	require.Equal(t, 2, states["completed"])
	require.Equal(t, 1, states["cancelled"])
	require.Equal(t, 1, states["available"]+states["retryable"], "the poison waits for its next attempt: %v", states)
	require.Contains(t, b.log.text(), `msg="job failed" kind=ping job_id=2 outcome=failed`)
	require.Contains(t, b.log.text(), `error="for the moment"`)
	require.Contains(t, b.log.text(), "for ever")
	require.Contains(t, b.log.text(), `outcome=panicked`)
	require.Contains(t, b.log.text(), "panic: poison")
	require.Contains(t, b.log.text(), "stack=")
	require.Equal(t, strings.Count(b.log.text(), "\n"), 2+counts["ping panicked"], "one line for each failed attempt")
	require.NotContains(t, b.log.text(), "4711", "arguments are not logged")
}

func TestTheLastAttemptIsKnown(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	last := make(chan bool, 10)
	jobs.Handle(b.Client, func(_ context.Context, job jobs.Job[ping]) error {
		last <- job.Last
		return errors.New("no")
	})
	b.insert(t, ping{})
	_, err := b.pool.Exec(t.Context(), "UPDATE river_job SET max_attempts = 2")
	require.NoError(t, err)
	b.start(t)
	require.False(t, receive(t, last))
	require.True(t, receive(t, last))
	require.Equal(t, "ping failed", receive(t, b.outcomes))
	require.Equal(t, "ping discarded", receive(t, b.outcomes))
}

func TestSnoozeIsNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	attempts := make(chan int, 10)
	runs := 0
	jobs.Handle(b.Client, func(_ context.Context, job jobs.Job[ping]) error {
		attempts <- job.Attempt
		if runs++; runs < 3 {
			return jobs.Snooze(time.Millisecond)
		}
		return nil
	})
	b.start(t)
	b.insert(t, ping{})
	for range 3 {
		require.Equal(t, 1, receive(t, attempts))
	}
	require.Equal(t, "ping snoozed", receive(t, b.outcomes))
	require.Empty(t, b.log.text())
}

// F-20: what a killed process was doing is done by another when the lease has ended.
func TestAJobOfADeadProcessIsDoneAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	jobs.Handle(b.Client, func(context.Context, jobs.Job[ping]) error { return nil })
	b.insert(t, ping{})
	_, err := b.pool.Exec(t.Context(), `UPDATE river_job
		SET state = 'running', attempt = 1, attempted_at = now() - interval '31 s', attempted_by = '{dead}'`)
	require.NoError(t, err)
	b.start(t)
	require.Equal(t, "ping completed", receive(t, b.outcomes))
}

func TestStopLetsJobsFinishThenCancelsThem(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	begun, finish := make(chan struct{}, 2), make(chan struct{})
	jobs.Handle(b.Client, func(ctx context.Context, job jobs.Job[ping]) error {
		begun <- struct{}{}
		if job.Args.N == 1 {
			<-finish
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	require.NoError(t, b.Start(t.Context()))
	b.insert(t, ping{1})
	receive(t, begun)
	stopped := make(chan error, 1)
	go func() { stopped <- b.Stop(context.Background()) }()
	close(finish)
	require.NoError(t, receive(t, stopped))
	require.Equal(t, map[string]int{"completed": 1}, b.states(t))

	require.NoError(t, b.Start(t.Context()), "can be started again")
	b.insert(t, ping{2})
	receive(t, begun)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, b.Stop(impatient))
	states := b.states(t)
	require.Equal(t, 1, states["available"]+states["retryable"], "left to another replica: %v", states)
	require.NoError(t, b.Stop(t.Context()), "stopping twice is fine")
}

func TestPollOnlyWorksWithoutListening(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{PollOnly: true})
	jobs.Handle(b.Client, func(context.Context, jobs.Job[ping]) error { return nil })
	b.start(t)
	b.insert(t, ping{})
	require.Equal(t, "ping completed", receive(t, b.outcomes))
	var listening int
	require.NoError(t, b.pool.QueryRow(t.Context(),
		"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'").Scan(&listening))
	require.Zero(t, listening)
}

func TestManyJobsEachOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, jobs.Config{})
	var mu sync.Mutex
	seen := map[int]int{}
	jobs.Handle(b.Client, func(_ context.Context, job jobs.Job[ping]) error {
		mu.Lock()
		defer mu.Unlock()
		seen[job.Args.N]++
		return nil
	})
	b.start(t)
	const n = 200
	for i := range n {
		b.insert(t, ping{i})
	}
	for range n {
		require.Equal(t, "ping completed", receive(t, b.outcomes))
	}
	require.Len(t, seen, n)
}

// Package jobs runs work in the background: enqueued in the business transaction, done at least once by some replica.
//
// It is a thin layer over River. A job's arguments are ids of rows only, so that nothing personal or secret lies in the
// queue, and a handler must bear being run twice: a process may die between its effect and its completion.
// River's tables come from migrations; the pool's role needs to read and write them, and nothing more.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

const (
	// A job that takes longer is canceled. Above it lies the lease after which a job of a process that died is given to
	// another: looked for every 30 s, so a lost job is back within a minute.
	attemptTimeout = 25 * time.Second
	lease          = 30 * time.Second

	// Jobs announce themselves by NOTIFY and are fetched at once; the poll is for announcements that got lost.
	fetchCooldown = 20 * time.Millisecond
	fetchPoll     = 500 * time.Millisecond

	softStop    = 10 * time.Second // how long Stop lets jobs finish before it cancels them
	maxAttempts = 10               // of errors and panics; a Snooze is no attempt
)

// Config says how much works at once. It has no variables of its own; app derives it from the database's.
type Config struct {
	Workers  int  // concurrent jobs of this process; 0: 10
	PollOnly bool // connections cannot LISTEN, as behind a transaction-pooling PgBouncer
}

// Args identifies the work: ids of rows, encoded as JSON. Kind is stable and names the handler.
type Args interface{ Kind() string }

// Observer counts one attempt at a job. Outcome is completed, failed (tried again), discarded (the last attempt failed),
// canceled, snoozed or panicked.
type Observer func(kind, outcome string, took time.Duration)

// Client enqueues jobs, and works them between Start and Stop. Without Start it only enqueues, as commands do.
type Client struct {
	pool     *postgres.Pool
	cfg      Config
	log      *slog.Logger
	observe  Observer
	inserter *river.Client[pgx.Tx]
	workers  *river.Workers
	periodic []*river.PeriodicJob

	mu      sync.Mutex
	working *river.Client[pgx.Tx] // between Start and Stop
}

// New returns a client that enqueues. Handlers are registered with Handle and Every before Start.
func New(pool *postgres.Pool, cfg Config, log *slog.Logger, observe Observer) (*Client, error) {
	if cfg.Workers == 0 {
		cfg.Workers = 10
	}
	if observe == nil {
		observe = func(string, string, time.Duration) {}
	}
	c := &Client{pool: pool, cfg: cfg, log: log, observe: observe, workers: river.NewWorkers()}
	var err error
	// Enqueueing has a River client of its own, since River wants to know every handler when a working one is made.
	c.inserter, err = river.NewClient(riverpgxv5.New(pool.Raw()), &river.Config{
		Logger: slog.New(warnings{log.Handler()}), FetchCooldown: fetchCooldown, MaxAttempts: maxAttempts,
	})
	if err != nil {
		return nil, fmt.Errorf("job client: %w", err)
	}
	return c, nil
}

// Insert enqueues a job in tx: it is worked after the commit, and never when tx rolls back.
func (c *Client) Insert(ctx context.Context, tx postgres.Tx, args Args) error {
	if _, err := c.inserter.InsertTx(ctx, tx.Tx, args, nil); err != nil {
		return fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	return nil
}

// Every enqueues args at the start of a leader and then at each interval, once for all replicas.
// args must have a handler, and must be safe to run more often than asked: a change of leader starts the interval anew.
func (c *Client) Every(interval time.Duration, args Args) {
	c.periodic = append(c.periodic, river.NewPeriodicJob(river.PeriodicInterval(interval),
		func() (river.JobArgs, *river.InsertOpts) {
			return args, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: interval}}
		}, &river.PeriodicJobOpts{RunOnStart: true}))
}

// Start begins to work jobs in the background. Its context bounds the start only; Stop ends the work.
func (c *Client) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.working != nil {
		return errors.New("jobs are already being worked")
	}
	client, err := river.NewClient(riverpgxv5.New(c.pool.Raw()), &river.Config{
		Logger:               slog.New(warnings{c.log.Handler()}),
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: c.cfg.Workers}},
		Workers:              c.workers,
		PeriodicJobs:         c.periodic,
		FetchCooldown:        fetchCooldown,
		FetchPollInterval:    fetchPoll,
		PollOnly:             c.cfg.PollOnly,
		JobTimeout:           attemptTimeout,
		RescueStuckJobsAfter: lease,
		SoftStopTimeout:      softStop,
		MaxAttempts:          maxAttempts,
		RetryPolicy:          backoff{},
		// A periodic REINDEX needs ownership of the indexes, which the pool's role does not have.
		ReindexerSchedule: river.NeverSchedule(),
	})
	if err != nil {
		return fmt.Errorf("job client: %w", err)
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start to work jobs: %w", err)
	}
	c.working = client
	return nil
}

// Stop fetches no more jobs, lets those that run finish for up to 10 s, then cancels them; they are tried again
// elsewhere. It returns when all have ended, or when ctx ends: then the jobs' contexts are canceled and the rest is left
// to the lease. Stopping what is not started is fine.
func (c *Client) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.working == nil {
		return nil
	}
	client := c.working
	c.working = nil
	err := client.Stop(ctx)
	if err == nil {
		return nil
	}
	// The caller's patience has ended. Canceled jobs end soon, and writing down that they did takes a moment more.
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := client.StopAndCancel(hard); err != nil {
		return fmt.Errorf("stop working jobs: %w", err)
	}
	return nil
}

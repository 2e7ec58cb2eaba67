package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Job is one attempt at a job.
type Job[T Args] struct {
	Args    T
	Attempt int  // 1 at first
	Last    bool // an error now discards the job

	complete func(ctx context.Context, tx postgres.Tx) error
}

// Complete finishes the job in tx, so that its effect and its end are one. The handler returns nil after the commit.
func (j Job[T]) Complete(ctx context.Context, tx postgres.Tx) error { return j.complete(ctx, tx) }

// Cancel is what a handler returns when no repetition can help: the job ends, with err in the log.
func Cancel(err error) error { return river.JobCancel(err) }

// Snooze is what a handler returns to be run again after d without using up an attempt. The handler has logged why.
func Snooze(d time.Duration) error { return river.JobSnooze(d) }

// Handle registers what is done for jobs of T. An error or a panic is logged and tried again, with growing delay, ten
// times in all; Cancel and Snooze say otherwise. ctx ends after 25 s and when the process stops.
func Handle[T Args](c *Client, handle func(ctx context.Context, job Job[T]) error) {
	river.AddWorker(c.workers, &worker[T]{handle: handle, observe: c.observe, log: c.log})
}

type worker[T Args] struct {
	river.WorkerDefaults[T]
	handle  func(ctx context.Context, job Job[T]) error
	observe Observer
	log     *slog.Logger
}

// Work implements river.Worker: one attempt, counted, and logged in one line if it fails. Neither arguments nor payload
// are in that line.
func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	started := time.Now()
	last := job.Attempt >= job.MaxAttempts
	err := w.try(ctx, Job[T]{
		Args: job.Args, Attempt: job.Attempt, Last: last,
		complete: func(ctx context.Context, tx postgres.Tx) error {
			if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx.Tx, job); err != nil {
				return fmt.Errorf("complete %s: %w", job.Kind, err)
			}
			return nil
		},
	})
	outcome := outcomeOf(err, last)
	took := time.Since(started)
	defer w.observe(job.Kind, outcome, took) // after the log line: who sees the count finds the reason
	if outcome == "completed" || outcome == "snoozed" {
		return err
	}
	level := slog.LevelError
	if outcome == "failed" {
		level = slog.LevelWarn // it will be tried again
	}
	attrs := []any{
		"kind", job.Kind, "job_id", job.ID, "outcome", outcome,
		"attempt", job.Attempt, "max_attempts", job.MaxAttempts, "error", err.Error(),
	}
	var panicked *panicError
	if errors.As(err, &panicked) {
		attrs = append(attrs, "stack", panicked.stack)
	}
	w.log.Log(ctx, level, "job failed", attrs...)
	return err
}

// try turns a panic of the handler into an error: the worker survives, and the job counts as failed.
func (w *worker[T]) try(ctx context.Context, job Job[T]) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value, string(debug.Stack())}
		}
	}()
	return w.handle(ctx, job)
}

type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprint("panic: ", e.value) }

func outcomeOf(err error, last bool) string {
	var canceled *rivertype.JobCancelError
	var snoozed *rivertype.JobSnoozeError
	var panicked *panicError
	switch {
	case err == nil:
		return "completed"
	case errors.As(err, &canceled):
		return "canceled"
	case errors.As(err, &snoozed):
		return "snoozed"
	case errors.As(err, &panicked):
		return "panicked"
	case last:
		return "discarded"
	default:
		return "failed"
	}
}

// backoff waits 1, 2, 4 … 30 s. It stays short, because what fails longer than that is a repair, and work should be
// done within a minute of it.
type backoff struct{}

// NextRetry implements river.ClientRetryPolicy.
func (backoff) NextRetry(job *rivertype.JobRow) time.Time {
	return time.Now().Add(min(time.Second<<min(len(job.Errors), 5), 30*time.Second))
}

// warnings keeps River's chatter about its own start and its counts out of the log.
type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const txAttempts = 4

// InTx runs fn in one READ COMMITTED transaction and commits it when fn returns nil.
//
// Serialization failures, deadlocks and what pgconn calls safe are tried again, with jitter, at most four times in all;
// so fn may run more than once and must touch nothing but tx. A unique violation is never tried again. When the
// connection is lost during COMMIT the outcome is unknown: ErrOutcomeUnknown says so and nothing is repeated.
func (p *Pool) InTx(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := p.once(ctx, fn)
		if err == nil || attempt == txAttempts || !retriable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("retry transaction: %w", ctx.Err())
		case <-time.After(time.Duration(attempt) * (5*time.Millisecond + rand.N(20*time.Millisecond))): //nolint:gosec // jitter needs no secrecy
		}
	}
}

func (p *Pool) once(ctx context.Context, fn func(ctx context.Context, tx Tx) error) (err error) {
	conn, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { release(conn, err) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer rollback(tx, conn)
	var onCommit []func()
	if err := fn(ctx, Tx{tx, &onCommit}); err != nil {
		return err
	}
	err = tx.Commit(ctx)
	var pgErr *pgconn.PgError
	switch {
	case err == nil:
	case errors.As(err, &pgErr), errors.Is(err, pgx.ErrTxCommitRollback), pgconn.SafeToRetry(err):
		return fmt.Errorf("commit: %w", err) // the server answered, or was not reached: it did not commit
	default:
		err = ErrOutcomeUnknown.Because(fmt.Errorf("commit: %w", err))
	}
	for _, f := range onCommit {
		f()
	}
	return err
}

// InSnapshot runs fn in one REPEATABLE READ transaction that can only read: all of it is of one moment, however long it
// takes, and it may stand idle while what was read is written elsewhere. It runs once. A long one keeps the database from
// clearing up what has changed meanwhile.
func (p *Pool) InSnapshot(ctx context.Context, fn func(ctx context.Context, db DB) error) (err error) {
	conn, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { release(conn, err) }()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer rollback(tx, conn)
	if _, err := tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return fn(ctx, tx)
}

// rollback ends what fn left open, also after a panic and after the caller's context ended.
func rollback(tx pgx.Tx, conn *pgxpool.Conn) {
	if conn.Conn().IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), acquireTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // after a commit this is a no-op; a connection that fails here is closed by the pool
}

// Try runs fn in a savepoint: when it returns an error, or keep says no, its effects are undone and tx goes on. What it
// put off until the commit is then forgotten.
func (tx Tx) Try(ctx context.Context, keep bool, fn func(ctx context.Context, tx Tx) error) error {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	put := len(*tx.onCommit)
	failed := fn(ctx, Tx{inner, tx.onCommit})
	if failed == nil && keep {
		if err := inner.Commit(ctx); err != nil {
			return fmt.Errorf("release savepoint: %w", err)
		}
		return nil
	}
	*tx.onCommit = (*tx.onCommit)[:put]
	if err := inner.Rollback(ctx); err != nil {
		return fmt.Errorf("roll back to savepoint: %w", errors.Join(err, failed))
	}
	return failed
}

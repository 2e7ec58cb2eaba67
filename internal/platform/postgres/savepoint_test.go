package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// What is tried and fails, or is not to be kept, leaves nothing: no row, and nothing that it put off until the commit. The
// transaction goes on, also after a statement that PostgreSQL refused.
func TestTryLeavesNothingOfWhatIsNotKept(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 2}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	errWrong := errors.New("wrong")
	var happened []string
	err = db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		try := func(name string, keep bool, result error) error {
			return tx.Try(ctx, keep, func(ctx context.Context, tx postgres.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO permissions (name) VALUES ($1)", name)
				tx.OnCommit(func() { happened = append(happened, name) })
				return errors.Join(err, result)
			})
		}
		require.NoError(t, try("kept:1", true, nil))
		require.NoError(t, try("undone:1", false, nil))
		require.ErrorIs(t, try("failed:1", true, errWrong), errWrong)
		require.ErrorIs(t, try("failed:2", false, errWrong), errWrong)
		require.Equal(t, "permissions_pkey", postgres.Constraint(try("kept:1", true, nil)), "the second of its name")
		require.NoError(t, tx.Try(ctx, true, func(ctx context.Context, outer postgres.Tx) error {
			tx = outer
			require.ErrorIs(t, try("failed:3", true, errWrong), errWrong)
			return try("kept:2", true, nil)
		}))
		require.Empty(t, happened, "before the commit")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"kept:1", "kept:2"}, happened)
	var names []string
	require.NoError(t, db.QueryRow(t.Context(), "SELECT array_agg(name ORDER BY name) FROM permissions WHERE name ~ ':[0-9]'").Scan(&names))
	require.Equal(t, []string{"kept:1", "kept:2"}, names)

	// An error that ends the whole transaction takes along what was kept.
	err = db.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		require.NoError(t, tx.Try(ctx, true, func(ctx context.Context, tx postgres.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO permissions (name) VALUES ('kept:3')")
			tx.OnCommit(func() { happened = append(happened, "kept:3") })
			return err
		}))
		return errWrong
	})
	require.ErrorIs(t, err, errWrong)
	require.Len(t, happened, 2)
}

package postgres_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// What is read in a snapshot is of its first statement's moment, whatever others commit; it writes nothing, and is not
// ended for standing idle.
func TestSnapshotIsOfOneMoment(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 2}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	count := func(db postgres.DB) (n int) {
		require.NoError(t, db.QueryRow(t.Context(), "SELECT count(*) FROM permissions").Scan(&n))
		return n
	}
	err = db.InSnapshot(t.Context(), func(ctx context.Context, snapshot postgres.DB) error {
		before := count(snapshot)
		_, err := db.Exec(ctx, "INSERT INTO permissions (name) VALUES ('a:b')")
		require.NoError(t, err)
		require.Equal(t, []int{before, before + 1}, []int{count(snapshot), count(db)})
		var idle string
		require.NoError(t, snapshot.QueryRow(ctx, "SHOW idle_in_transaction_session_timeout").Scan(&idle))
		require.Equal(t, "0", idle)
		_, err = snapshot.Exec(ctx, "INSERT INTO permissions (name) VALUES ('c:d')")
		require.Error(t, err)
		return err
	})
	require.Error(t, err)
	require.Equal(t, "10s", func() (idle string) {
		require.NoError(t, db.QueryRow(t.Context(), "SHOW idle_in_transaction_session_timeout").Scan(&idle))
		return idle
	}())
}

package postgres_test

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Identifiers come back as they went, alone, as null and in arrays, in every mode of the driver: a pooler may need any.
func TestIdentifiersTravel(t *testing.T) {
	t.Parallel()
	dsn := secret.New(pgtest.URL(t))
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pool, err := postgres.Open(t.Context(), postgres.Config{URL: dsn, ExecMode: mode}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			a, b := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
			var none *uuid.UUID
			var one uuid.UUID
			var maybe, null *uuid.UUID
			var many []uuid.UUID
			null = &b
			err = pool.QueryRow(t.Context(), `SELECT $1::uuid, $2::uuid, $3::uuid, $4::uuid[]`, a, &b, none, []uuid.UUID{a, b}).
				Scan(&one, &maybe, &null, &many)
			require.NoError(t, err)
			require.Equal(t, a, one)
			require.Equal(t, b, *maybe)
			require.Nil(t, null)
			require.Equal(t, []uuid.UUID{a, b}, many)
		})
	}
}

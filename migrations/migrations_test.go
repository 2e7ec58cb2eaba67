package migrations_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/migrations"
)

func migrator(t *testing.T, dsn string) *postgres.Migrator {
	t.Helper()
	m, err := postgres.NewMigrator(secret.New(dsn), migrations.FS, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// schema describes everything that a migration can make, a line each, without the history table.
func schema(t *testing.T, dsn string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), `
		SELECT 'column ' || c.oid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
		       || ' ' || a.attnotnull || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname NOT LIKE 'goose%'
		UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'goose%'
		UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'goose%'
		UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
		UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT 'type ' || typname || ' ' || typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
		UNION ALL SELECT 'grants ' || oid::regclass || ' ' || coalesce(relacl::text, '') FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S') AND relname NOT LIKE 'goose%'
		ORDER BY 1`)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return lines
}

// TestUpDownUp holds every Down against its Up: what is left of the schema is nothing, and the way up leads to the same again.
func TestUpDownUp(t *testing.T) {
	t.Parallel()
	dsn := pgtest.EmptyURL(t)
	m := migrator(t, dsn)
	applied, err := m.Up(t.Context())
	require.NoError(t, err)
	files, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	require.Len(t, applied, len(files))
	first := schema(t, dsn)
	require.NotEmpty(t, first)
	for range files {
		name, err := m.Down(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, name)
	}
	require.Empty(t, schema(t, dsn))
	_, err = m.Up(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, schema(t, dsn))
}

// TestReplicasStartAtOnce is F-14's rule: each migration is applied exactly once, whoever comes first.
func TestReplicasStartAtOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.EmptyURL(t)
	files, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var applied []string
	errs := make(chan error, 5)
	for range cap(errs) {
		m := migrator(t, dsn)
		wg.Go(func() {
			names, err := m.Up(t.Context())
			mu.Lock()
			applied = append(applied, names...)
			mu.Unlock()
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, applied, len(files))
	pending, err := migrator(t, dsn).Pending(t.Context())
	require.NoError(t, err)
	require.False(t, pending)
}

// TestFilesAreComplete: a way up, a way down, and numbers without a gap, since goose would apply a late one out of order.
func TestFilesAreComplete(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	for i, name := range files {
		require.Regexp(t, `^\d{5}_[a-z0-9_]+\.sql$`, name)
		require.True(t, strings.HasPrefix(name, fmt.Sprintf("%05d_", i+1)), "%s is the %d. file", name, i+1)
		text, err := migrations.FS.ReadFile(name)
		require.NoError(t, err)
		require.Contains(t, string(text), "-- +goose Up", name)
		require.Contains(t, string(text), "-- +goose Down", name)
	}
}

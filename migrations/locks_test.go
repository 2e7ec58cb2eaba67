package migrations_test

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/migrations"
)

// What a plan says of each statement is what PostgreSQL does: the locks that it holds on tables of before, and whether it
// wrote a table anew.
func TestPlanIsTrue(t *testing.T) {
	t.Parallel()
	dsn := pgtest.EmptyURL(t)
	plan, err := migrator(t, dsn).Plan(t.Context())
	require.NoError(t, err)
	files, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	require.Len(t, plan, len(files))
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()

	compared := 0
	for _, migration := range plan {
		for _, s := range migration.Statements {
			compared += compare(t, conn, s.SQL)
		}
	}
	require.Greater(t, compared, 20)
}

// And so for kinds of statements that no migration has yet.
func TestPlanIsTrue_ofEachKind(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.EmptyURL(t))
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(t.Context(), `CREATE TABLE a (id int PRIMARY KEY, t text, n int); CREATE TABLE b (id int PRIMARY KEY, a_id int);
		CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
	require.NoError(t, err)
	for _, sql := range []string{
		`ALTER TABLE a ADD COLUMN c1 text`,
		`ALTER TABLE a ADD COLUMN c2 int NOT NULL DEFAULT 0, ADD COLUMN c3 numeric(10, 2)`,
		`ALTER TABLE a ADD COLUMN c4 uuid DEFAULT gen_random_uuid()`,
		`ALTER TABLE a ADD COLUMN c5 bigint GENERATED ALWAYS AS (n + 1) STORED`,
		`ALTER TABLE a ADD COLUMN c6 bigserial`,
		`ALTER TABLE a ADD COLUMN c7 int REFERENCES b (id)`,
		`ALTER TABLE a ALTER COLUMN c2 TYPE bigint`,
		`ALTER TABLE a ALTER COLUMN t SET NOT NULL`,
		`ALTER TABLE a ALTER COLUMN t SET DEFAULT 'a, (b'`,
		`ALTER TABLE a ALTER COLUMN t SET STATISTICS 100`,
		`ALTER TABLE a ALTER COLUMN t SET STORAGE EXTERNAL`,
		`ALTER TABLE a SET (fillfactor = 80)`,
		`ALTER TABLE a ADD CONSTRAINT k CHECK (n > 0) NOT VALID`,
		`ALTER TABLE a VALIDATE CONSTRAINT k`,
		`ALTER TABLE a DROP CONSTRAINT k`,
		`ALTER TABLE a ADD CONSTRAINT k CHECK (n > 0)`,
		`ALTER TABLE b ADD CONSTRAINT f FOREIGN KEY (a_id) REFERENCES a (id) NOT VALID`,
		`ALTER TABLE b VALIDATE CONSTRAINT f`,
		`CREATE UNIQUE INDEX i ON a (n)`,
		`ALTER TABLE a ADD CONSTRAINT u UNIQUE USING INDEX i`,
		`ALTER TABLE a ADD CONSTRAINT u2 UNIQUE (t)`,
		`CREATE TRIGGER x AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()`,
		`ALTER TABLE a DISABLE TRIGGER x`,
		`DROP TRIGGER x ON a`,
		`COMMENT ON TABLE a IS 'x'`,
		`COMMENT ON COLUMN a.t IS 'x'`,
		`COMMENT ON INDEX a_pkey IS 'x'`,
		`UPDATE a SET n = 1`,
		`DELETE FROM a`,
		`DO $$ BEGIN EXECUTE format('CREATE INDEX i2 ON a (n) WITH (fillfactor = %s)', 80); END $$`,
		`DROP INDEX i2`,
		`CREATE TABLE c (id int, b_id int REFERENCES b (id))`,
		`ALTER TABLE a RENAME COLUMN t TO tt`,
		`ALTER TABLE a DROP COLUMN tt`,
		`LOCK TABLE a IN ACCESS EXCLUSIVE MODE`,
		`GRANT SELECT ON a TO PUBLIC`,
	} {
		compare(t, conn, sql)
	}
}

// lockModes are PostgreSQL's names of postgres.Lock.
var lockModes = []string{"", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "AccessExclusiveLock"}

// compare runs a statement and holds what was said of it against what it did. It returns how much there was to compare.
func compare(t *testing.T, conn *pgx.Conn, sql string) (compared int) {
	t.Helper()
	before := tables(t, conn)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err, sql)
	held, after := locks(t, tx), tables(t, tx)
	require.NoError(t, tx.Commit(t.Context()))
	said, rewritten := map[string]postgres.Lock{}, map[string]bool{}
	for _, e := range postgres.Effects(sql) {
		if e.Takes == postgres.Unknown {
			return 0
		}
		table := e.Table
		for name, at := range before { // of an index, its table
			if slices.Contains(at.indexes, e.Table) {
				table = name
			}
		}
		said[table] = max(said[table], e.Lock)
		rewritten[table] = rewritten[table] || e.Takes == postgres.Rewrite
	}
	for name, at := range before {
		got := postgres.NoLock
		for _, mode := range held[at.oid] {
			got = max(got, postgres.Lock(max(slices.Index(lockModes, mode), 0)))
		}
		if strings.HasPrefix(sql, "DROP TABLE") && said[name] == postgres.NoLock {
			continue // what its foreign keys point to stands in the catalog and not in the text
		}
		if got < postgres.ShareUpdateExclusive && said[name] < postgres.ShareUpdateExclusive {
			continue
		}
		compared++
		require.Equal(t, got.String(), said[name].String(), "locks %s: %s", name, sql)
		if now, still := after[name]; still {
			require.Equal(t, now.file != at.file, rewritten[name], "writes %s anew: %s", name, sql)
		}
	}
	return compared
}

// Statements that nobody can judge are rare, and old.
func TestPlanKnowsItsStatements(t *testing.T) {
	t.Parallel()
	plan, err := migrator(t, pgtest.EmptyURL(t)).Plan(t.Context())
	require.NoError(t, err)
	for _, migration := range plan {
		if migration.Version < 16 {
			continue // the job queue's, and a function that makes partitions
		}
		for _, s := range migration.Statements {
			for _, e := range s.Effects {
				require.NotEqual(t, postgres.Unknown, e.Takes, "%s: teach postgres.Effects what this does: %s", migration.Name, s.SQL)
			}
		}
	}
}

type table struct {
	oid     uint32
	file    uint32
	indexes []string
}

// tables are those of the schema; a partition is its parent's.
func tables(t *testing.T, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
},
) map[string]table {
	t.Helper()
	rows, err := db.Query(t.Context(), `
		SELECT c.relname, c.oid, c.relfilenode, array(SELECT i.indexrelid::regclass::text FROM pg_index i WHERE i.indrelid = c.oid)
		FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition`)
	require.NoError(t, err)
	all := map[string]table{}
	var name string
	var one table
	_, err = pgx.ForEachRow(rows, []any{&name, &one.oid, &one.file, &one.indexes}, func() error {
		one.indexes = slices.Clone(one.indexes)
		all[strings.Clone(name)] = one
		return nil
	})
	require.NoError(t, err)
	return all
}

// locks are those that the transaction holds, by the table's oid: one that it has dropped has no name any more.
func locks(t *testing.T, tx pgx.Tx) map[uint32][]string {
	t.Helper()
	rows, err := tx.Query(t.Context(), `SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'`)
	require.NoError(t, err)
	held := map[uint32][]string{}
	var relation uint32
	var mode string
	_, err = pgx.ForEachRow(rows, []any{&relation, &mode}, func() error {
		held[relation] = append(held[relation], mode)
		return nil
	})
	require.NoError(t, err)
	return held
}

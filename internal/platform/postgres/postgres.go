// Package postgres is the way to the database: a pool whose every wait is bounded, transactions that retry what is
// safe to retry, and what PostgreSQL's error codes mean. It knows no table.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// AppRole is the database role that the pool works as. It owns nothing; audit rows it may only insert and read.
const AppRole = "ums_app"

const (
	acquireTimeout = 2 * time.Second
	connectTimeout = 10 * time.Second
	// Session settings of the pool: a statement, a lock wait and an idle transaction each end by themselves, and no statement
	// is compiled, which costs more than any of ours takes.
	sessionSettings = "SET statement_timeout = '5s'; SET lock_timeout = '2s'; " +
		"SET idle_in_transaction_session_timeout = '10s'; SET timezone = 'UTC'; SET jit = off"
	// The same as the role's own in this database, where a session is not ours to set. Migrations make them, and a dump does
	// not carry them.
	roleSettings = `DO $$
DECLARE setting text;
BEGIN
	FOREACH setting IN ARRAY ARRAY['statement_timeout = ''5s''', 'lock_timeout = ''2s''', 'idle_in_transaction_session_timeout = ''10s''',
		'timezone = ''UTC''', 'jit = off'] LOOP
		EXECUTE format('ALTER ROLE ` + AppRole + ` IN DATABASE %I SET %s', current_database(), setting);
	END LOOP;
END $$`
)

// SetRoleSettings gives AppRole its settings in this database again. Only a restore needs it.
func SetRoleSettings(ctx context.Context, tx Tx) error {
	if _, err := tx.Exec(ctx, roleSettings); err != nil {
		return fmt.Errorf("set the settings of %s: %w", AppRole, err)
	}
	return nil
}

// Config says how to reach the database.
type Config struct {
	URL       secret.Text `env:"UMS_DATABASE_URL"`
	DirectURL secret.Text `env:"UMS_DATABASE_DIRECT_URL"`
	MaxConns  int32       `env:"UMS_DATABASE_MAX_CONNS"`
	ExecMode  string      `env:"UMS_DATABASE_EXEC_MODE" envDefault:"cache_statement"`

	Tracer pgx.QueryTracer `env:"-"` // sees each statement; tests count with it
}

// Direct returns the owner's DSN: for migrations and listeners.
func (c Config) Direct() secret.Text {
	if c.DirectURL.Empty() {
		return c.URL
	}
	return c.DirectURL
}

// TwoURLs says whether the pool has a login of its own. With one URL each connection steps down by SET ROLE.
func (c Config) TwoURLs() bool { return !c.DirectURL.Empty() && c.DirectURL != c.URL }

// DB runs statements anywhere: a Pool or a Tx.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Tx is a transaction in progress: the parameter of what must be atomic with its caller.
type Tx struct {
	pgx.Tx
	onCommit *[]func()
}

// OnCommit runs fn in this process once the transaction has committed (or its outcome is unknown), before InTx returns.
func (tx Tx) OnCommit(fn func()) { *tx.onCommit = append(*tx.onCommit, fn) }

// Pool is a bounded set of connections that work as AppRole.
type Pool struct {
	pool *pgxpool.Pool
	log  *slog.Logger
}

var execModes = map[string]pgx.QueryExecMode{
	"cache_statement": pgx.QueryExecModeCacheStatement,
	"cache_describe":  pgx.QueryExecModeCacheDescribe,
	"describe_exec":   pgx.QueryExecModeDescribeExec,
	"exec":            pgx.QueryExecModeExec,
	"simple_protocol": pgx.QueryExecModeSimpleProtocol,
}

// Open prepares the pool. It connects lazily, so that a database that is down at the start is a matter of readiness.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Pool, error) {
	pc, err := pgxpool.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		return nil, errors.New("UMS_DATABASE_URL is no PostgreSQL connection string; use postgres://user:password@host:5432/database")
	}
	mode, ok := execModes[cfg.ExecMode]
	if !ok {
		return nil, fmt.Errorf("UMS_DATABASE_EXEC_MODE: %q is none of cache_statement, cache_describe, describe_exec, exec, simple_protocol", cfg.ExecMode)
	}
	pc.ConnConfig.DefaultQueryExecMode = mode
	pc.ConnConfig.Tracer = cfg.Tracer
	// Longer than anybody waits: a connection that is slow to come serves whoever comes next, instead of being begun anew.
	pc.ConnConfig.ConnectTimeout = connectTimeout
	if pc.ConnConfig.ValidateConnect == nil {
		pc.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if cfg.MaxConns > 0 {
		pc.MaxConns = cfg.MaxConns
	}
	// Half of them stand ready: a burst that had to open all of its connections would wait longer than anybody does.
	pc.MinConns = max(min(4, pc.MaxConns), pc.MaxConns/2)
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.MaxConnLifetime = time.Hour
	pc.MaxConnLifetimeJitter = 10 * time.Minute
	pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		registerUUIDs(conn.TypeMap())
		if cfg.TwoURLs() {
			// Behind a pooler a session is not ours to set; migrations give the role the same settings.
			return nil
		}
		// Below pgx's own tracing: this is no statement of anybody's request.
		if _, err := conn.PgConn().Exec(ctx, "SET ROLE "+AppRole+"; "+sessionSettings).ReadAll(); err != nil {
			return fmt.Errorf("step down to %s: %w", AppRole, err)
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return &Pool{pool: pool, log: log}, nil
}

// Close waits for borrowed connections and closes all.
func (p *Pool) Close() { p.pool.Close() }

// Raw is the pgx pool, for the libraries that need it (the job queue).
func (p *Pool) Raw() *pgxpool.Pool { return p.pool }

// Stat returns the pool's figures, for metrics.
func (p *Pool) Stat() *pgxpool.Stat { return p.pool.Stat() }

// Ping says whether the database answers, as the right role.
func (p *Pool) Ping(ctx context.Context) error {
	var role string
	if err := p.QueryRow(ctx, "SELECT current_user").Scan(&role); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	if role != AppRole {
		return fmt.Errorf("the pool works as %q, not as %s: point UMS_DATABASE_URL at a login of %s, or leave UMS_DATABASE_DIRECT_URL empty", role, AppRole, AppRole)
	}
	return nil
}

func (p *Pool) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	// The wait for a connection is bounded apart from the statement that will use it.
	actx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := p.pool.Acquire(actx)
	if err != nil {
		if ctx.Err() == nil {
			return nil, &acquireError{err}
		}
		return nil, fmt.Errorf("acquire connection: %w", err)
	}
	return conn, nil
}

// acquireError is a wait for a connection that ended without one: the statement has not begun.
type acquireError struct{ err error }

func (e *acquireError) Error() string { return "acquire connection: " + e.err.Error() }
func (e *acquireError) Unwrap() error { return e.err }

// release gives a connection back, or ends it when its server can no longer serve us (read-only, shutting down).
func release(conn *pgxpool.Conn, err error) {
	if c := Code(err); c == codeReadOnly || c == codeAdminShutdown {
		// A failover happened behind this connection; the next one finds the primary.
		_ = conn.Hijack().Close(context.Background())
		return
	}
	conn.Release()
}

// Exec runs one statement in a transaction of its own.
func (p *Pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	for attempt := 0; ; attempt++ {
		conn, err := p.acquire(ctx)
		if err != nil {
			return pgconn.CommandTag{}, err
		}
		tag, err := conn.Exec(ctx, sql, args...)
		release(conn, err)
		if attempt == 0 && stalePlan(err) {
			continue
		}
		return tag, err
	}
}

// Query runs one statement in a transaction of its own; the connection goes back when the rows are closed.
func (p *Pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	for attempt := 0; ; attempt++ {
		conn, err := p.acquire(ctx)
		if err != nil {
			return nil, err
		}
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			rows.Close()
			release(conn, err)
			if attempt == 0 && stalePlan(err) {
				continue
			}
			return nil, err
		}
		return &pooledRows{Rows: rows, conn: conn}, nil
	}
}

// QueryRow is Query for one row; errors come with Scan.
func (p *Pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := p.Query(ctx, sql, args...)
	return &pooledRow{rows: rows, err: err}
}

type pooledRows struct {
	pgx.Rows
	conn *pgxpool.Conn
}

func (r *pooledRows) Close() {
	r.Rows.Close()
	if r.conn != nil {
		release(r.conn, r.Rows.Err())
		r.conn = nil
	}
}

func (r *pooledRows) Next() bool {
	ok := r.Rows.Next()
	if !ok {
		r.Close()
	}
	return ok
}

func (r *pooledRows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close()
	}
	return err
}

type pooledRow struct {
	rows pgx.Rows
	err  error
}

func (r *pooledRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// EscapeLike quotes the wildcards of LIKE in s, for use with ESCAPE '\'.
func EscapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

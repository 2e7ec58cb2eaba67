package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// Facts is what a server says of itself and of a login.
type Facts struct {
	Version     string // as the server writes it: 15.8 (Debian …)
	Major       int
	Place       string // host:port/database, without credentials
	User        string
	Identity    string        // of the database: the same through every URL that leads to it
	Encrypted   bool          // the connection
	Socket      bool          // it is a Unix socket
	Skew        time.Duration // by how much the server's clock is ahead of this machine's
	Uncertain   time.Duration // the skew may be this much more or less
	ReadOnly    bool          // a standby, or set so
	Connections int           // that the login may have, of all that there are: the smallest limit that holds for it
	Limit       string        // which one that is
	Open        int           // connections to this database now
}

// Inspect opens one connection and asks. The error holds no password.
func Inspect(ctx context.Context, dsn secret.Text, now func() time.Time) (f Facts, err error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return f, err
	}
	defer func() { _ = conn.Close(ctx) }()
	cfg := conn.Config()
	f.Place = fmt.Sprintf("%s:%d/%s", cfg.Host, cfg.Port, cfg.Database)
	f.Socket = len(cfg.Host) > 0 && cfg.Host[0] == '/'
	var number int
	var total, reserved, ofRole, ofDatabase int
	var server time.Time
	asked := now()
	if err = conn.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&server); err != nil {
		return f, fmt.Errorf("ask for the time: %w", err)
	}
	answered := now()
	f.Uncertain = answered.Sub(asked) / 2
	f.Skew = server.Sub(asked.Add(f.Uncertain))
	err = conn.QueryRow(ctx, `
		SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_user,
			d.oid || ' ' || coalesce((pg_control_system()).system_identifier::text, ''),
			coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
			current_setting('transaction_read_only')::bool OR pg_is_in_recovery(),
			current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int,
			(SELECT CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END FROM pg_roles WHERE rolname = current_user), d.datconnlimit,
			(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
		FROM pg_database d WHERE d.datname = current_database()`).
		Scan(&f.Version, &number, &f.User, &f.Identity, &f.Encrypted, &f.ReadOnly, &total, &reserved, &ofRole, &ofDatabase, &f.Open)
	if err != nil {
		return f, fmt.Errorf("ask the server about itself: %w", err)
	}
	f.Major = number / 10000
	f.Connections, f.Limit = total-reserved, "max_connections"
	if ofDatabase >= 0 && ofDatabase < f.Connections {
		f.Connections, f.Limit = ofDatabase, "the limit of the database"
	}
	if ofRole >= 0 && ofRole < f.Connections {
		f.Connections, f.Limit = ofRole, "the limit of the role "+f.User
	}
	return f, nil
}

// connect opens one connection; acquireTimeout bounds it.
func connect(ctx context.Context, dsn secret.Text) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn.Reveal())
	if err != nil {
		return nil, errors.New("the URL is no PostgreSQL connection string; use postgres://user:password@host:5432/database")
	}
	cfg.ConnectTimeout = acquireTimeout
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // a pooler may stand between
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// Rights is what AppRole is and may do in a database.
type Rights struct {
	Exists      bool
	Powers      []string // attributes that it must not have: SUPERUSER, CREATEROLE, …
	Member      bool     // the login may become it
	Owns        []string // tables, which it could change and drop
	Missing     []string // statements that give it what it needs
	Excess      []string // statements that take what it must not have
	HasSettings bool     // its timeouts in this database are set
}

// InspectRights asks, as the owner, about AppRole. Of the tables in appendOnly it must not change what is there.
func InspectRights(ctx context.Context, dsn secret.Text, appendOnly ...string) (r Rights, err error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return r, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `
		SELECT array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
				CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL),
			pg_has_role(current_user, oid, 'MEMBER'),
			EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
				WHERE s.setrole = r.oid AND d.datname = current_database() AND s.setconfig::text LIKE '%statement_timeout%')
		FROM pg_roles r WHERE rolname = $1`, AppRole).Scan(&r.Powers, &r.Member, &r.HasSettings)
	if NoRows(err) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("ask about %s: %w", AppRole, err)
	}
	r.Exists = true
	err = conn.QueryRow(ctx, `
		WITH tables AS (
			SELECT c.oid, c.oid::regclass::text AS name, c.relname = ANY ($2) AS log, c.relowner = $1::regrole AS owned
			FROM pg_class c
			WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT LIKE 'goose%'
		), rights AS (
			SELECT t.name, t.log, p.privilege, has_table_privilege($1, t.oid, p.privilege) AS has
			FROM tables t CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p(privilege)
			WHERE NOT t.owned
		)
		SELECT coalesce((SELECT array_agg(name ORDER BY name) FROM tables WHERE owned), '{}'),
			coalesce((SELECT array_agg(s ORDER BY s) FROM (SELECT format('GRANT %s ON %s TO %s', string_agg(rights.privilege, ', '), name, $1) AS s FROM rights
				WHERE NOT has AND (rights.privilege IN ('SELECT', 'INSERT') OR rights.privilege <> 'TRUNCATE' AND NOT log) GROUP BY name) g), '{}'),
			coalesce((SELECT array_agg(s ORDER BY s) FROM (SELECT format('REVOKE %s ON %s FROM %s', string_agg(rights.privilege, ', '), name, $1) AS s FROM rights
				WHERE has AND log AND rights.privilege NOT IN ('SELECT', 'INSERT') GROUP BY name) g), '{}')`, AppRole, appendOnly).
		Scan(&r.Owns, &r.Missing, &r.Excess)
	if err != nil {
		return r, fmt.Errorf("ask what %s may do: %w", AppRole, err)
	}
	return r, nil
}

package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/user-management-service/ums/internal/platform/secret"
)

const (
	migrationLock = 7221943000 // the advisory lock of this service's migrations
	lockPolls     = 300        // one a second: five minutes behind another replica's migration
)

// Migrator brings the schema to a version. It works as the owner, on a connection of its own.
type Migrator struct {
	owner    string // quoted
	files    fs.FS
	db       *sql.DB
	provider *goose.Provider
}

// Migration is the state of one migration.
type Migration struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // null while pending
}

// NewMigrator opens the owner's connection for the migrations in files. Close it afterwards.
func NewMigrator(dsn secret.Text, files fs.FS, log *slog.Logger) (*Migrator, error) {
	cfg, err := pgx.ParseConfig(dsn.Reveal())
	if err != nil {
		return nil, errors.New("the database URL is no PostgreSQL connection string; use postgres://user:password@host:5432/database")
	}
	cfg.ConnectTimeout = acquireTimeout
	// A lock that traffic holds is waited for briefly and then tried again, so that the queue behind it stays short.
	cfg.RuntimeParams["lock_timeout"] = "5s"
	db := stdlib.OpenDB(*cfg)
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(migrationLock), lock.WithLockTimeout(1, lockPolls), lock.WithUnlockTimeout(1, 30))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make migration lock: %w", err), db.Close())
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read migrations: %w", err), db.Close())
	}
	return &Migrator{owner: pgx.Identifier{cfg.User}.Sanitize(), files: files, db: db, provider: provider}, nil
}

// Close ends the connection.
func (m *Migrator) Close() error { return m.db.Close() }

// Pending says whether the schema lacks a migration. It takes no lock.
func (m *Migrator) Pending(ctx context.Context) (bool, error) {
	pending, err := m.provider.HasPending(ctx)
	if err != nil {
		return false, fmt.Errorf("look for pending migrations: %w", err)
	}
	return pending, nil
}

// Up applies what is pending. Any number of processes may call it at once: one works, the others wait for it.
// A migration that met a busy table is tried again.
func (m *Migrator) Up(ctx context.Context) ([]string, error) {
	var applied []string
	for attempt := 1; ; attempt++ {
		results, err := m.provider.Up(ctx)
		var partial *goose.PartialError
		if errors.As(err, &partial) {
			results = partial.Applied
		}
		for _, r := range results {
			applied = append(applied, r.Source.Path)
		}
		switch {
		case err == nil:
			return applied, nil
		case Code(err) == codeLockTimeout && attempt < 10:
			continue // lock_timeout has already waited
		case Code(err) == codeNoPrivilege:
			return applied, fmt.Errorf("migrate: %w\nan administrator must run, as a superuser, in this database: "+
				"CREATE ROLE %[2]s NOLOGIN; GRANT %[2]s TO %[3]s; GRANT CREATE ON SCHEMA public TO %[3]s;", err, AppRole, m.owner)
		}
		return applied, fmt.Errorf("migrate: %w", err)
	}
}

// Down takes the newest migration back and names it; "" when there is none.
func (m *Migrator) Down(ctx context.Context) (string, error) {
	r, err := m.provider.Down(ctx)
	if errors.Is(err, goose.ErrNoNextVersion) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("migrate down: %w", err)
	}
	return r.Source.Path, nil
}

// Status lists every migration, oldest first.
func (m *Migrator) Status(ctx context.Context) ([]Migration, error) {
	states, err := m.provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("read migration status: %w", err)
	}
	out := make([]Migration, 0, len(states))
	for _, s := range states {
		one := Migration{Version: s.Source.Version, Name: s.Source.Path}
		if s.State == goose.StateApplied {
			one.AppliedAt = &s.AppliedAt
		}
		out = append(out, one)
	}
	return out, nil
}

// Migrate opens a Migrator, applies what is pending and closes it.
func Migrate(ctx context.Context, dsn secret.Text, files fs.FS, log *slog.Logger) (err error) {
	m, err := NewMigrator(dsn, files, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	pending, err := m.Pending(ctx)
	if err != nil || !pending {
		return err
	}
	applied, err := m.Up(ctx)
	for _, name := range applied {
		log.InfoContext(ctx, "migration applied", "file", name)
	}
	return err
}

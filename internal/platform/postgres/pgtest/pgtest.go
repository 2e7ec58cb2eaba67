// Package pgtest gives every test a PostgreSQL database of its own: a clone of one migrated template, in some 50 ms,
// so that tests run in parallel and need no cleaning of tables.
//
// The server is the one in UMS_TEST_DATABASE_URL, whose user must be able to create databases and roles; without it
// one is started from the installed binaries for this test process, and ends with it, however that ends.
// `make test` sets the variable, so that all packages share one server and one template.
package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/migrations"
)

// Variable names the server that tests use, as a URL of any database on it.
const Variable = "UMS_TEST_DATABASE_URL"

// timeout bounds each step of the preparation on a machine that is busy with other tests.
const timeout = 2 * time.Minute

// templateLock is the advisory lock under which one process makes the template and the others wait for it.
const templateLock = 7221943001

// URL returns the owner's DSN of a fresh database with the newest schema. It is dropped when t ends, with every
// connection that is still open.
func URL(t testing.TB) string {
	t.Helper()
	template, err := migratedTemplate()
	if err != nil {
		t.Fatalf("prepare the template database: %v", err)
	}
	return create(t, "TEMPLATE "+quote(template))
}

// EmptyURL is URL for a database without a schema, for tests of the migrations themselves.
func EmptyURL(t testing.TB) string {
	t.Helper()
	return create(t, "TEMPLATE template0")
}

func create(t testing.TB, options string) string {
	t.Helper()
	dsn, err := server()
	if err != nil {
		t.Fatalf("find a database server for tests: %v", err)
	}
	name := "ums_test_" + strings.ToLower(rand.Text())
	if err := execute(dsn, "CREATE DATABASE "+quote(name)+" "+options); err != nil {
		t.Fatalf("create a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(dsn, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
			t.Errorf("drop a test database: %v", err)
		}
	})
	return withDatabase(dsn, name)
}

// server returns the DSN of the server, started at the first call where the environment names none.
var server = sync.OnceValues(func() (string, error) {
	if dsn := os.Getenv(Variable); dsn != "" {
		if u, err := url.Parse(dsn); err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
			return "", fmt.Errorf("%s is no postgres:// URL", Variable)
		}
		return dsn, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, err := StartServer(ctx)
	if err != nil {
		return "", err
	}
	return s.URL(), nil
})

// migratedTemplate returns the name of the template, made at the first call on this server.
var migratedTemplate = sync.OnceValues(func() (string, error) {
	dsn, err := server()
	if err != nil {
		return "", err
	}
	name, err := templateName()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return name, makeTemplate(ctx, dsn, name)
})

// templateName is derived from the migrations, so that another schema gets another template.
func templateName() (string, error) {
	files, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return "", fmt.Errorf("list migrations: %w", err)
	}
	h := sha256.New()
	for _, name := range files { // Glob sorts
		text, err := migrations.FS.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read migration: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return "ums_template_" + hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// makeTemplate makes and migrates the template unless it is there. It counts as there once it is marked as a template, which
// is the last step; one that a killed process left half made is made anew.
func makeTemplate(ctx context.Context, dsn, name string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }() // gives the lock back as well
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return fmt.Errorf("wait for the lock of the template: %w", err)
	}
	var ready bool
	err = conn.QueryRow(ctx, "SELECT coalesce((SELECT datistemplate FROM pg_database WHERE datname = $1), false)", name).Scan(&ready)
	if err != nil || ready {
		return err
	}
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS " + quote(name) + " WITH (FORCE)",
		"CREATE DATABASE " + quote(name) + " TEMPLATE template0",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("make the template: %w", err)
		}
	}
	if err := postgres.Migrate(ctx, secret.New(withDatabase(dsn, name)), migrations.FS, slog.New(slog.DiscardHandler)); err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	// Nobody can connect to it any more: a connection to a template makes copying it fail.
	_, err = conn.Exec(ctx, "ALTER DATABASE "+quote(name)+" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
	if err != nil {
		return fmt.Errorf("mark the template as ready: %w", err)
	}
	return nil
}

// execute runs one statement on a connection of its own: nothing stays open between tests, for the sake of those that
// look for leaks.
func execute(dsn, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// withDatabase returns the DSN, which is a URL, with another database.
func withDatabase(dsn, name string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		panic(err) // server has parsed it
	}
	u.Path = "/" + name
	return u.String()
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

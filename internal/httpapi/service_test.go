package httpapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/httpapi"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if lasting.end() {
		code = 1
	}
	os.Exit(code)
}

// common is the service of all tests that neither move the clock nor count what everybody does. It starts with the
// first of them. Guessing passwords is not limited there: they all come from one address.
var common = sync.OnceValue(func() *apptest.Service {
	return apptest.Start(lasting, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
})

// replicas are two services on one database, for tests that move no clock.
var replicas = sync.OnceValue(func() [2]*apptest.Service {
	a := apptest.Start(lasting, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	return [2]*apptest.Service{a, apptest.Start(lasting, apptest.Beside(a), apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))}
})

var lasting = &wholeRun{}

// wholeRun is the owner of what outlives single tests: its cleanups run when the last one is over. A failure in one
// fails the run.
type wholeRun struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

func (w *wholeRun) Helper()                  {}
func (w *wholeRun) Context() context.Context { return context.Background() }

func (w *wholeRun) Cleanup(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleanups = append(w.cleanups, f)
}

func (w *wholeRun) TempDir() string {
	dir, err := os.MkdirTemp("", "ums-test-")
	if err != nil {
		panic(err)
	}
	w.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (w *wholeRun) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = true
	fmt.Fprintf(os.Stderr, "a shared service: "+format+"\n", args...)
}

func (w *wholeRun) Fatalf(format string, args ...any) { w.Errorf(format, args...); w.FailNow() }
func (w *wholeRun) FailNow()                          { runtime.Goexit() }

// end runs the cleanups and reports whether anything failed.
func (w *wholeRun) end() bool {
	for _, f := range slices.Backward(w.cleanups) {
		done := make(chan struct{})
		go func() { defer close(done); f() }() // FailNow ends one cleanup, not the run
		<-done
	}
	return w.failed
}

// scan reads one row as the database's owner.
func scan(t testing.TB, s *apptest.Service, into any, sql string, args ...any) {
	t.Helper()
	conn := connect(t, s)
	require.NoError(t, conn.QueryRow(t.Context(), sql, args...).Scan(into))
	require.NoError(t, conn.Close(t.Context()))
}

func execute(t testing.TB, s *apptest.Service, sql string, args ...any) {
	t.Helper()
	conn := connect(t, s)
	_, err := conn.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

func connect(t testing.TB, s *apptest.Service) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.DSN)
	require.NoError(t, err)
	return conn
}

// surface lists the routes that exist.
func surface(t testing.TB) []*httpapi.Route {
	t.Helper()
	s, err := httpapi.New(httpapi.Deps{
		Config: httpapi.Config{PublicURL: "http://localhost:8080", Version: httpapi.ContractVersion},
		Log:    slog.New(slog.DiscardHandler), Clock: clock.System{}, Metrics: telemetry.NewMetrics(telemetry.Build{}),
		Limits: func(*problem.Writer) *middleware.RateLimits {
			return middleware.NewRateLimits(middleware.RateLimitConfig{}, middleware.RateLimitDeps{})
		},
	})
	require.NoError(t, err)
	return s.Routes()
}

// contract is the contract as a document.
var contract = sync.OnceValue(func() *openapi3.T {
	text, err := httpapi.Contract(true)
	if err != nil {
		panic(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		panic(err)
	}
	return doc
})

// operation is what the contract says of a route.
func operation(t testing.TB, r *httpapi.Route) *openapi3.Operation {
	t.Helper()
	op := contract().Paths.Value("/api/v1" + r.Path).GetOperation(r.Method)
	require.NotNil(t, op)
	return op
}

package httpapi_test

import (
	"context"
	"log/slog"
	"os"
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

// common is the service of all tests that neither move the clock nor count what everybody does. Guessing passwords is
// not limited there: they all come from one address.
func common(t testing.TB) *apptest.Service { t.Helper(); return alone.use(t)[0] }

// replicas are two services on one database, for tests that move no clock.
func replicas(t testing.TB) []*apptest.Service { t.Helper(); return pair.use(t) }

var (
	alone = shared{start: func(t testing.TB) []*apptest.Service {
		return []*apptest.Service{apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))}
	}}
	pair = shared{start: func(t testing.TB) []*apptest.Service {
		a := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
		return []*apptest.Service{a, apptest.Start(t, apptest.Beside(a), apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))}
	}}
)

// shared is what tests at the same time use together: it starts for the first and stops after the last of them.
type shared struct {
	start    func(testing.TB) []*apptest.Service
	mu       sync.Mutex
	users    int
	owner    *owner
	services []*apptest.Service
}

func (x *shared) use(t testing.TB) []*apptest.Service {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.users == 0 {
		x.owner = &owner{TB: t}
		x.services = x.start(x.owner)
	}
	x.users++
	t.Cleanup(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.users--; x.users == 0 {
			x.owner.TB = t
			x.owner.end()
		}
	})
	return x.services
}

// owner stands for the tests that share a service: what it owns outlives each of them but the last.
type owner struct {
	testing.TB // the one that starts it, then the one that ends it
	cleanups   []func()
}

// Context implements testing.TB.
func (o *owner) Context() context.Context { return context.Background() }

// Cleanup implements testing.TB.
func (o *owner) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

// TempDir implements testing.TB.
func (o *owner) TempDir() string {
	dir, err := os.MkdirTemp("", "ums-test-")
	require.NoError(o, err)
	o.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (o *owner) end() {
	for _, f := range slices.Backward(o.cleanups) {
		f()
	}
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

package app_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
)

// statements are what requests ask of the database, by request id; coalesced reads, which belong to no one request,
// by "". What the service does by itself is left out, and so is transaction control.
type statements struct {
	mu        sync.Mutex
	byRequest map[string][]string
}

// TraceQueryStart implements pgx.QueryTracer.
func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	id := middleware.RecordFrom(ctx).RequestID
	coalesced := strings.Contains(q.SQL, "u.id = ANY($1)")
	if id == "" && !coalesced || slices.Contains([]string{"begin", "commit", "rollback"}, q.SQL) || strings.HasPrefix(q.SQL, "SET ") {
		return ctx
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byRequest[id] = append(s.byRequest[id], strings.Join(strings.Fields(q.SQL), " "))
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// during returns what the request of this id, the only one at its time, asks when call makes it.
func (s *statements) during(id string, call func()) []string {
	s.mu.Lock()
	s.byRequest[""] = nil
	s.mu.Unlock()
	call()
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(s.byRequest[id], s.byRequest[""]...)
}

// TestStatementsPerRequest holds the hot paths to their number of statements, once caches are warm.
func TestStatementsPerRequest(t *testing.T) {
	t.Parallel()
	seen := &statements{byRequest: map[string][]string{}}
	s := apptest.Start(t, apptest.Configure(func(c *config.Config) { c.Database.Tracer = seen }))
	admin := s.Admin(t)
	_, ada := s.Person(t, admin, "ada@example.org")
	login := map[string]any{"email": "ada@example.org", "password": apptest.Password}
	refresh := s.POST(t, "/auth/login", login).Want(t, 200).String(t, "refresh_token")
	key := s.Bearer(ada.POST(t, "/api-keys", map[string]any{
		"name": "k", "scopes": []string{"me:read"}, "environment": "live",
	}).Want(t, 201).String(t, "key"))
	ada.GET(t, "/users/me").Want(t, 200)
	key.GET(t, "/users/me").Want(t, 200)

	for _, c := range []struct {
		name string
		most int
		call func(*apptest.Client) *apptest.Answer
		by   *apptest.Client
	}{
		{"me", 1, func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users/me").Want(t, 200) }, ada},
		{"me by key", 1, func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users/me").Want(t, 200) }, key},
		{"list", 1, func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users?limit=50").Want(t, 200) }, admin},
		{"list by name", 1, func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/users?search=ada").Want(t, 200) }, admin},
		{"events", 1, func(c *apptest.Client) *apptest.Answer { return c.GET(t, "/audit-events").Want(t, 200) }, admin},
		{"refresh", 4, func(c *apptest.Client) *apptest.Answer {
			return c.POST(t, "/auth/refresh", map[string]any{"refresh_token": refresh}).Want(t, 200)
		}, s.Client},
		{"login", 6, func(c *apptest.Client) *apptest.Answer { return c.POST(t, "/auth/login", login).Want(t, 200) }, s.Client},
		{"register", 9, func(c *apptest.Client) *apptest.Answer {
			return c.POST(t, "/auth/register", map[string]any{"email": "new@example.org", "password": apptest.Password}).Want(t, 202)
		}, s.Client},
		{"register again", 9, func(c *apptest.Client) *apptest.Answer {
			return c.POST(t, "/auth/register", map[string]any{"email": "new@example.org", "password": apptest.Password}).Want(t, 202)
		}, s.Client},
		{"register a known address", 9, func(c *apptest.Client) *apptest.Answer {
			return c.POST(t, "/auth/register", map[string]any{"email": "ada@example.org", "password": apptest.Password}).Want(t, 202)
		}, s.Client},
	} {
		id := "statements-" + strings.ReplaceAll(c.name, " ", "-")
		asked := seen.during(id, func() { c.call(c.by.With("X-Request-Id", id)) })
		t.Logf("%s: %d of %d", c.name, len(asked), c.most)
		require.NotEmpty(t, asked, "%s: the counter sees nothing", c.name)
		require.LessOrEqual(t, len(asked), c.most, "%s:\n%s", c.name, strings.Join(asked, "\n"))
	}
}

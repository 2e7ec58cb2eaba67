package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/api/client/verify"
	"github.com/user-management-service/ums/internal/app/apptest"
)

type doc = map[string]any

// protect runs the example beside a service; it calls the latter with a key that may ask about keys.
func protect(t *testing.T, s *apptest.Service, root *apptest.Client) *apptest.Client {
	t.Helper()
	mine := root.POST(t, "/api-keys", doc{"name": "orders", "scopes": []string{"api_keys:verify"}, "environment": "live"}).Want(t, 201)
	env := map[string]string{"UMS_URL": s.Base(), "UMS_ISSUER": "http://localhost:8080", "UMS_AUDIENCE": "orders", "UMS_API_KEY": mine.String(t, "key")}
	cfg := configuration(slog.New(slog.DiscardHandler), func(name string) string { return env[name] })
	cfg.Now = s.Clock.Now
	v, err := verify.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(http.StripPrefix("/api", routes(v)))
	t.Cleanup(server.Close)
	return apptest.NewClient(server.URL)
}

// get calls the example, whose answers no contract describes.
func get(t *testing.T, c *apptest.Client, path string) *apptest.Answer {
	t.Helper()
	a, _, err := c.Try("GET", "/api"+path, nil)
	require.NoError(t, err)
	return a
}

func start(t *testing.T) (s *apptest.Service, root, orders *apptest.Client) {
	t.Helper()
	s = apptest.Start(t, apptest.Env("UMS_TOKEN_AUDIENCES=http://localhost:8080,orders", "UMS_RATE_LIMIT_LOGIN=off"))
	root = s.Admin(t)
	root.POST(t, "/permissions", doc{"name": "orders:read"}).Want(t, 201)
	root.POST(t, "/roles", doc{"name": "clerk", "permissions": []string{"orders:read"}}).Want(t, 201)
	return s, root, protect(t, s, root)
}

func TestPeopleAtAnotherService(t *testing.T) {
	t.Parallel()
	s, root, orders := start(t)
	id, _ := s.Person(t, root, "ada@example.com", "clerk")
	login := s.POST(t, "/auth/login", doc{"email": "ada@example.com", "password": apptest.Password}).Want(t, 200)
	text := login.String(t, "access_token")
	ada := orders.Bearer(text)
	who := get(t, ada, "/whoami").Want(t, 200)
	require.Equal(t, id, who.String(t, "user_id"))
	require.Contains(t, who.Get(t, "roles"), "clerk")
	get(t, ada, "/orders").Want(t, 200)
	get(t, ada, "/reports").Want(t, 403, "permission_denied")
	s.Person(t, root, "bob@example.com")
	stranger := s.POST(t, "/auth/login", doc{"email": "bob@example.com", "password": apptest.Password}).Want(t, 200)
	get(t, orders.Bearer(stranger.String(t, "access_token")), "/orders").Want(t, 403, "permission_denied")
	boss := s.POST(t, "/auth/login", doc{"email": apptest.AdminEmail, "password": apptest.AdminPassword}).Want(t, 200)
	get(t, orders.Bearer(boss.String(t, "access_token")), "/reports").Want(t, 200)

	nobody := get(t, orders, "/whoami").Want(t, 401, "unauthenticated")
	require.Equal(t, "Bearer", nobody.Header.Get("WWW-Authenticate"))
	require.Equal(t, "no-store", nobody.Header.Get("Cache-Control"))
	s.GET(t, "/problems/unauthenticated").Want(t, 200) // the type of the answer is a page of the service
	require.Equal(t, "http://localhost:8080/problems/unauthenticated", nobody.String(t, "type"))
	get(t, orders.With("Authorization", "Basic YTpi"), "/whoami").Want(t, 401, "unauthenticated")
	get(t, ada.With("X-API-Key", text), "/whoami").Want(t, 400, "multiple_credentials")
	bad := get(t, orders.Bearer(login.String(t, "refresh_token")), "/whoami").Want(t, 401, "invalid_access_token")
	require.Equal(t, `Bearer error="invalid_token"`, bad.Header.Get("WWW-Authenticate"))
	get(t, orders.Bearer(text[:len(text)-4]+"AAAA"), "/whoami").Want(t, 401, "invalid_access_token")
	a, _, err := orders.Try("GET", "/api/whoami?access_token="+text, nil)
	require.NoError(t, err)
	a.Want(t, 401, "unauthenticated")

	s.Stop() // what has been published is enough
	get(t, ada, "/orders").Want(t, 200)
	s.Clock.Advance(5*time.Minute + 31*time.Second)
	get(t, ada, "/orders").Want(t, 401, "invalid_access_token")
}

func TestProgramsAtAnotherService(t *testing.T) {
	t.Parallel()
	s, root, orders := start(t)
	id, ada := s.Person(t, root, "ada@example.com", "clerk")
	key := func(more ...doc) (string, *apptest.Client) {
		k := doc{"name": "ci", "scopes": []string{"orders:read"}, "environment": "live"}
		for _, m := range more {
			for name, value := range m {
				k[name] = value
			}
		}
		made := ada.POST(t, "/api-keys", k).Want(t, 201)
		return made.String(t, "id"), orders.With("X-API-Key", made.String(t, "key"))
	}
	keyID, program := key()
	who := get(t, program, "/whoami").Want(t, 200)
	require.Equal(t, []any{id, keyID, []any{"orders:read"}}, []any{who.Get(t, "user_id"), who.Get(t, "key_id"), who.Get(t, "permissions")})
	get(t, program, "/orders").Want(t, 200)
	get(t, program, "/reports").Want(t, 403, "session_required")

	_, other := key(doc{"scopes": []string{"me:read"}})
	get(t, other, "/orders").Want(t, 403, "permission_denied")
	_, elsewhere := key(doc{"allowed_ips": []string{"192.0.2.0/24"}})
	get(t, elsewhere, "/orders").Want(t, 403, "ip_denied")
	_, here := key(doc{"allowed_ips": []string{"127.0.0.0/8"}})
	get(t, here, "/orders").Want(t, 200)
	_, seldom := key(doc{"rate_limit": doc{"limit": 1, "window_seconds": 60}})
	get(t, seldom, "/orders").Want(t, 200)
	require.Equal(t, "60", get(t, seldom, "/orders").Want(t, 429, "rate_limited").Header.Get("Retry-After"))
	get(t, orders.Bearer("ums_live_nonsense"), "/orders").Want(t, 401, "invalid_api_key")

	ada.DELETE(t, "/api-keys/"+keyID).Want(t, 204)
	s.Clock.Advance(time.Second)
	get(t, program, "/orders").Want(t, 401, "invalid_api_key")

	s.Stop()
	s.Clock.Advance(time.Second)
	down := get(t, here, "/orders").Want(t, 503, "unavailable")
	require.Equal(t, "1", down.Header.Get("Retry-After"))
}

func TestRunNeedsToKnowTheService(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), slog.New(slog.DiscardHandler), func(string) string { return "" })
	require.ErrorContains(t, err, "URL has to be that of the service")
}

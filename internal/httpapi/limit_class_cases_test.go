package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// spend sends a request n times, which must pass, and once more, which the policy must refuse.
func spend(t *testing.T, c *apptest.Client, method, path string, body any, n int, policy string) *apptest.Answer {
	t.Helper()
	for range n {
		a, _, err := c.Try(method, path, body)
		require.NoError(t, err)
		require.NotEqual(t, http.StatusTooManyRequests, a.Status, "%s", a.Body)
	}
	a := c.Do(t, method, path, body).Want(t, 429, "rate_limited")
	require.Equal(t, policy, a.String(t, "policy"))
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	return a
}

// RL-01: what costs more has a part of the limit, which the rest does not lose; each part is told in the headers.
func TestRL01_ClassesOfRoutesHaveAPartOfTheLimits(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env(
		"UMS_RATE_LIMIT_ADDRESS=200/24h", "UMS_RATE_LIMIT_CALLER=140/24h", "UMS_RATE_LIMIT_LOGIN=off", "UMS_TRUSTED_PROXIES=127.0.0.0/8",
	))
	from := func(host int) *apptest.Client { return s.With("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", host)) }
	wrong := doc{"email": "nobody@example.com", "password": "not the right one"}

	// By address: a hundred tries of credentials, and whoever has spent them can still read, and refresh.
	a := spend(t, from(1), "POST", "/auth/login", wrong, 100, "credential")
	require.Equal(t, `"address";q=200;w=86400, "credential";q=100;w=86400`, a.Header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"address";r=99;t=\d+, "credential";r=0;t=\d+$`, a.Header.Get("RateLimit"))
	from(1).POST(t, "/auth/password/forgot", doc{"email": "nobody@example.com"}).Want(t, 429, "rate_limited")
	from(1).GET(t, "/auth/config").Want(t, 200)
	from(1).POST(t, "/auth/refresh", doc{"refresh_token": "x"}).Want(t, 401, "invalid_refresh_token")
	from(2).POST(t, "/auth/login", wrong).Want(t, 401)

	// By caller, wherever he comes from: seventy changes, and reading goes on.
	root := s.Admin(t)
	_, ada := s.Person(t, root, "ada@example.com")
	id := root.GET(t, "/users/me").String(t, "id")
	caller := func(host int) *apptest.Client {
		return root.With("X-Forwarded-For", fmt.Sprintf("198.51.100.%d", host))
	}
	a = spend(t, caller(1), "PATCH", "/users/me", doc{"display_name": "Root"}, 69, "write") // and ada's making
	require.Equal(t, `"address";q=200;w=86400, "caller";q=140;w=86400, "write";q=70;w=86400`, a.Header.Get("RateLimit-Policy"))
	caller(2).PATCH(t, "/users/"+id, doc{"display_name": "Root"}).Want(t, 429, "rate_limited")
	caller(2).GET(t, "/users/me").Want(t, 200)
	caller(2).GET(t, "/users/export").Want(t, 200)
	ada.PATCH(t, "/users/me", doc{"display_name": "Ada"}).Want(t, 200)
}

// A key with a limit of its own has that and no other: what was given to it is what it has, for all of its requests.
func TestRL01_AKeysOwnLimitHasNoParts(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_CALLER=124/24h"))
	root := s.Admin(t)
	with := func(more doc) *apptest.Client {
		more["scopes"] = []string{"me:write"}
		return s.Bearer(root.POST(t, "/api-keys", newKey(more)).Want(t, 201).String(t, "key"))
	}
	spend(t, with(doc{"rate_limit": doc{"limit": 70, "window_seconds": 86400}}), "PATCH", "/users/me", doc{}, 70, "caller")
	spend(t, with(doc{}), "PATCH", "/users/me", doc{}, 62, "write")
}

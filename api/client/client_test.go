package client

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// road is what lies between a client and the service: it may refuse a request before it arrives, and lose its answer.
type road struct {
	*httptest.Server
	mu    sync.Mutex
	plans []fate // of the next requests to plan's paths; beyond them all goes well
	paths []string
}

type fate int

const (
	well fate = iota
	refused
	limited
	answerLost
)

func newRoad(t *testing.T, s *apptest.Service) *road {
	t.Helper()
	base, err := url.Parse(s.Base())
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(base)
	r := &road{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Host = base.Host
		switch r.next(req.URL.Path) {
		case refused:
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
		case limited:
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(http.StatusTooManyRequests)
		case answerLost:
			proxy.ServeHTTP(httptest.NewRecorder(), req)
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *road) next(path string) fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.plans) == 0 || !slices.Contains(r.paths, path) {
		return well
	}
	now := r.plans[0]
	r.plans = r.plans[1:]
	return now
}

func (r *road) plan(path string, plans ...fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths, r.plans = []string{path}, plans
}

// along is a configuration for this road that does not wait, and the times that it would have waited.
func (r *road) along() (Config, *[]time.Duration) {
	var waits []time.Duration
	return Config{URL: r.URL, sleep: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }}, &waits
}

func signIn(t *testing.T, cfg Config, renewed func(Tokens)) *ClientWithResponses {
	t.Helper()
	stranger, err := New(cfg)
	require.NoError(t, err)
	in, err := stranger.LoginWithResponse(t.Context(), Login{Email: apptest.AdminEmail, Password: apptest.AdminPassword})
	require.NoError(t, err)
	cfg.Session = NewSession(*in.JSON200, renewed)
	ums, err := New(cfg)
	require.NoError(t, err)
	return ums
}

// The main job, from signing in to a key that another program verifies, over a road on which things go wrong.
func TestTheMainJob(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	road := newRoad(t, s)
	cfg, waits := road.along()
	ums := signIn(t, cfg, nil)

	email, name := "ada@example.com", "Ada Lovelace"
	roles := []string{"admin"}
	verified := true
	road.plan("/api/v1/users", answerLost, refused, well)
	made, err := ums.CreateUserWithResponse(t.Context(), nil, NewUser{Email: &email, DisplayName: &name, EmailVerified: &verified, Roles: &roles})
	require.NoError(t, err)
	require.Equal(t, "true", made.HTTPResponse.Header.Get("Idempotency-Replayed"))
	require.Len(t, *waits, 2)
	require.GreaterOrEqual(t, (*waits)[1], 2*time.Second)
	ada := made.JSON201.ID.String()

	tag := made.HTTPResponse.Header.Get("ETag")
	locale := "de-AT"
	changed, err := ums.UpdateUserWithResponse(t.Context(), ada, &UpdateUserParams{IfMatch: &tag}, UserPatch{Locale: &locale})
	require.NoError(t, err)
	require.Equal(t, locale, *changed.JSON200.Locale)
	_, err = ums.UpdateUserWithBodyWithResponse(t.Context(), ada, nil, "application/merge-patch+json", strings.NewReader(`{"locale":null}`))
	require.NoError(t, err)
	var p *Problem
	_, err = ums.UpdateUserWithResponse(t.Context(), ada, &UpdateUserParams{IfMatch: &tag}, UserPatch{Locale: &locale})
	require.ErrorAs(t, err, &p)
	require.Equal(t, "precondition_failed", p.Code)
	_, err = ums.CreateUserWithResponse(t.Context(), nil, NewUser{Email: &email})
	require.ErrorAs(t, err, &p)
	require.Equal(t, "email_taken", p.Code)
	bad := "no address"
	_, err = ums.CreateUserWithResponse(t.Context(), nil, NewUser{Email: &bad})
	require.ErrorAs(t, err, &p)
	require.Equal(t, "/email", p.Faults[0].Pointer)

	page, err := ums.ListUsersWithResponse(t.Context(), &ListUsersParams{Email: &email})
	require.NoError(t, err)
	require.Len(t, page.JSON200.Data, 1)
	require.Nil(t, page.JSON200.Data[0].Locale)
	export, err := ums.ExportUsers(t.Context(), nil)
	require.NoError(t, err)
	lines, err := io.ReadAll(export.Body)
	require.NoError(t, err)
	require.NoError(t, export.Body.Close())
	require.Equal(t, 2, strings.Count(string(lines), "\n"))
	events, err := ums.ListAuditEventsWithResponse(t.Context(), &ListAuditEventsParams{TargetID: &made.JSON201.ID})
	require.NoError(t, err)
	require.NotEmpty(t, events.JSON200.Data)

	road.plan("/api/v1/api-keys", answerLost)
	key, err := ums.CreateAPIKeyWithResponse(t.Context(), nil, NewAPIKey{Name: "k", Environment: "live", Scopes: []string{"api_keys:verify", "users:read"}})
	require.NoError(t, err)
	program := cfg
	program.APIKey = key.JSON201.Key
	integration, err := New(program)
	require.NoError(t, err)
	road.plan("/api/v1/api-keys/verify", limited, answerLost)
	verdict, err := integration.VerifyAPIKeyWithResponse(t.Context(), KeyQuestion{Key: key.JSON201.Key, Permissions: &[]string{"users:read"}})
	require.NoError(t, err)
	require.True(t, verdict.JSON200.Valid)
	_, err = integration.CreateUserWithResponse(t.Context(), nil, NewUser{Email: &email})
	require.ErrorAs(t, err, &p)
	require.Equal(t, "permission_denied", p.Code)

	_, err = ums.RevokeAPIKeyWithResponse(t.Context(), key.JSON201.ID.String(), nil)
	require.NoError(t, err)
	_, err = integration.GetMeWithResponse(t.Context(), nil)
	require.ErrorAs(t, err, &p)
	require.Equal(t, "invalid_api_key", p.Code)
}

// A session outlives its tokens, and answers of refreshes that are lost.
func TestASessionOverABadRoad(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	road := newRoad(t, s)
	cfg, _ := road.along()
	stored := ""
	ums := signIn(t, cfg, func(t Tokens) { stored = *t.RefreshToken })
	for range 3 {
		s.Clock.Advance(6 * time.Minute) // the client's clock stays: the service refuses the token
		road.plan("/api/v1/auth/refresh", answerLost, refused, answerLost)
		me, err := ums.GetMeWithResponse(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, apptest.AdminEmail, *me.JSON200.Email)
	}
	// A program that starts anew goes on with what it has stored.
	cfg.Session = NewSession(Tokens{RefreshToken: &stored}, nil)
	again, err := New(cfg)
	require.NoError(t, err)
	_, err = again.GetMeWithResponse(t.Context(), nil)
	require.NoError(t, err)
	_, err = again.LogoutWithResponse(t.Context(), LogoutRequest{})
	require.NoError(t, err)
	var p *Problem
	_, err = again.GetMeWithResponse(t.Context(), nil)
	require.ErrorAs(t, err, &p)
	require.Equal(t, "invalid_refresh_token", p.Code)
}

// Whatever happens on the road, a creation has one effect when it succeeds, and at most one when it does not.
func TestOneEffectOverABadRoad(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	road := newRoad(t, s)
	cfg, _ := road.along()
	ums := signIn(t, cfg, nil)
	for i := range 40 {
		var plans []fate
		for range rand.IntN(6) {
			plans = append(plans, fate(1+rand.IntN(3)))
		}
		before := permissions(t, ums)
		road.plan("/api/v1/permissions", plans...)
		_, err := ums.CreatePermissionWithResponse(t.Context(), nil, NewPermission{Name: fmt.Sprintf("thing:p%d", i)})
		road.plan("")
		effects := permissions(t, ums) - before
		switch {
		case err == nil:
			require.Equal(t, 1, effects, "%v", plans)
		case !slices.Contains(plans, answerLost):
			require.Zero(t, effects, "%v", plans)
		default:
			require.LessOrEqual(t, effects, 1, "%v", plans)
		}
		require.True(t, err == nil || len(plans) >= defaultAttempts, "%v: %v", plans, err)
	}
}

func permissions(t *testing.T, ums *ClientWithResponses) int {
	t.Helper()
	limit := int64(200)
	page, err := ums.ListPermissionsWithResponse(t.Context(), &ListPermissionsParams{Limit: &limit})
	require.NoError(t, err)
	require.Nil(t, page.JSON200.NextCursor)
	return len(page.JSON200.Data)
}

package httpapi

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

// A route that nobody has given a policy is open by accident, and one without a limit class is cheap by accident: the service
// does not start with it.
func TestAZ02_ARouteWithoutPolicyStopsTheStart(t *testing.T) {
	t.Parallel()
	d := Deps{
		Config: Config{PublicURL: "http://localhost:8080"}, Log: slog.New(slog.DiscardHandler),
		Clock: clock.System{}, Metrics: telemetry.NewMetrics(telemetry.Build{}),
		Limits: func(*problem.Writer) *middleware.RateLimits {
			return middleware.NewRateLimits(middleware.RateLimitConfig{}, middleware.RateLimitDeps{})
		},
	}
	with := func(p Policy, c Class) error {
		_, err := build(d, func(s *Server) {
			s.register()
			handle(s, get("/forgotten", "forgotten", "", p).limited(c), func(context.Context, actor.Actor, *struct{}) (*empty, error) { return &empty{}, nil })
		})
		return err
	}
	require.ErrorContains(t, with(Policy{}, reading), "GET /forgotten has no policy")
	require.ErrorContains(t, with(Policy{}.SessionOnly().Fresh(), reading), "GET /forgotten has no policy")
	require.ErrorContains(t, with(Public(), Class{}), "GET /forgotten has no limit class")
	require.NoError(t, with(Public(), reading))
}

func TestMFA07_FreshnessHasAnEnd(t *testing.T) {
	t.Parallel()
	now := time.Now()
	by := actor.Actor{Kind: actor.User, UserID: id.New()}
	for _, c := range []struct {
		ago  time.Duration
		want error
	}{{0, nil}, {freshFor, nil}, {freshFor + time.Second, errReauthenticate}, {1000 * time.Hour, errReauthenticate}} {
		by.AuthTime = now.Add(-c.ago)
		require.ErrorIs(t, Session().Fresh().check(by, now), c.want, "%s ago", c.ago)
		require.NoError(t, Session().check(by, now))
	}
	by.MFAEnabled, by.AuthTime = true, now
	for acr, want := range map[string]error{"": errReauthenticate, session.AAL1: errReauthenticate, session.AAL2: nil} {
		by.ACR = acr
		require.ErrorIs(t, Session().Fresh().check(by, now), want, "a password alone is below an account with a second factor")
		require.NoError(t, Session().check(by, now))
	}
	by.Kind = actor.APIKey
	by.Permissions, by.AuthTime = actor.Permissions{actor.All}, now
	require.ErrorIs(t, Session().Fresh().check(by, now), actor.ErrSessionRequired)
	require.ErrorIs(t, Permission("users:read").SessionOnly().check(by, now), actor.ErrSessionRequired)
	require.NoError(t, Permission("users:read").check(by, now))
}

package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Warm, a verification asks the database for nothing, whatever its answer; nor does noise, warm or not.
func TestVerifyOfAWarmKeyAsksTheDatabaseForNothing(t *testing.T) {
	t.Parallel()
	seen := &statements{byRequest: map[string][]string{}}
	s := apptest.Start(t, apptest.Configure(func(c *config.Config) { c.Database.Tracer = seen }))
	root := s.Admin(t)
	newKey := func(more map[string]any) *apptest.Answer {
		k := map[string]any{"name": "k", "scopes": []string{"me:read", "api_keys:verify"}, "environment": "live"}
		for name, value := range more {
			k[name] = value
		}
		return root.POST(t, "/api-keys", k).Want(t, 201)
	}
	by := s.Bearer(newKey(nil).String(t, "key"))
	good := newKey(map[string]any{"rate_limit": map[string]any{"limit": 1000, "window_seconds": 60}}).String(t, "key")
	gone := newKey(nil)
	root.DELETE(t, "/api-keys/"+gone.String(t, "id")).Want(t, 204)
	unknown := token.NewAPIKey(token.Live).Text.Reveal()
	for name, key := range map[string]string{"good": good, "revoked": gone.String(t, "key"), "unknown": unknown, "noise": "ums_live_x"} {
		ask := func(state string) []string {
			request := "verify-" + state + "-" + name
			return seen.during(request, func() {
				by.With("X-Request-Id", request).POST(t, "/api-keys/verify", map[string]any{"key": key, "permissions": []string{"me:read"}}).Want(t, 200)
			})
		}
		if cold := ask("cold"); name != "noise" {
			require.NotEmpty(t, cold, "%s: the counter sees nothing", name)
		}
		// When the listener of announcements comes up it ends every answer, once: it may have missed one.
		if len(ask("tepid")) > 0 {
			require.Empty(t, ask("warm"), name)
		}
	}
}

package httpapi

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

// The class of a route follows from what it does.
func TestRL01_EveryRouteHasTheClassOfWhatItCosts(t *testing.T) {
	t.Parallel()
	// The credential of these carries a check of ours: nothing is hashed, mailed or guessed at.
	checked := []string{"refresh", "logout", "revokeToken"}
	// These change nothing, though they are POSTs.
	questions := []string{"introspectToken", "checkPermissions", "verifyApiKey"}
	routes, err := Surface()
	require.NoError(t, err)
	for _, r := range routes {
		switch reads := r.Method == http.MethodGet; {
		case r.Stream || r.Lines:
			require.Equal(t, masses, r.Class, r.Name)
		case reads || slices.Contains(questions, r.Name):
			require.Equal(t, reading, r.Class, r.Name)
		case slices.Contains(checked, r.Name):
			require.Equal(t, writing, r.Class, r.Name)
		case r.Policy.anonymous():
			require.Equal(t, middleware.PolicyAddress, r.Class.limit.Of, "%s: whoever is nobody has no other limit", r.Name)
		default:
			require.Contains(t, []Class{writing, credentials}, r.Class, r.Name)
		}
	}
}

// What the manual says of the defaults.
func TestClassesAtTheDefaultLimits(t *testing.T) {
	t.Parallel()
	minute := func(n int) ratelimit.Rate { return ratelimit.Rate{Limit: n, Window: 60e9} }
	for c, want := range map[Class]int{writing: 600, masses: 60, credentials: 300, leaked: 30} {
		general := minute(600)
		if c.limit.Of == middleware.PolicyCaller {
			general = minute(1200)
		}
		require.Equal(t, minute(want), c.limit.Rate(general), c.Name)
		general.Limit *= 10
		require.Equal(t, minute(want*10), c.limit.Rate(general), "%s grows with its limit", c.Name)
		require.Equal(t, minute(7), c.limit.Rate(minute(7)), "%s of a small limit is all of it", c.Name)
		require.True(t, c.limit.Rate(ratelimit.Rate{}).Off(), c.Name)
	}
}

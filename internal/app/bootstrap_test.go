package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// TestInviteAdmin is `ums admin create`: it says what to do on a database that is not ready, and changes nothing there.
func TestInviteAdmin(t *testing.T) {
	t.Parallel()
	configure := func(dsn string) *config.Config {
		cfg, _, err := config.Load([]string{"UMS_DATABASE_URL=" + dsn, "UMS_DATA_DIR=" + t.TempDir()})
		require.NoError(t, err)
		return cfg
	}
	empty := configure(pgtest.EmptyURL(t))
	for range 2 {
		_, err := app.InviteAdmin(t.Context(), empty, "ada@example.com")
		require.EqualError(t, err, "the database lacks migrations of this version; run ums migrate up first, or start the service once")
	}
	migrated := configure(pgtest.URL(t))
	link, err := app.InviteAdmin(t.Context(), migrated, "ada@example.com")
	require.NoError(t, err)
	require.Contains(t, link, "http://localhost:8080/accept-invitation#token=")
	_, err = app.InviteAdmin(t.Context(), migrated, "ada@")
	require.ErrorIs(t, err, fault.ErrValidation)
}

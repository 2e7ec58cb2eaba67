package user_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/user"
)

// What a seed makes are accounts that every list reads, and a second seed adds only what is missing.
func TestSeed(t *testing.T) {
	t.Parallel()
	pool, _ := open(t)
	made, err := user.Seed(t.Context(), pool, 120)
	require.NoError(t, err)
	require.EqualValues(t, 120, made)
	made, err = user.Seed(t.Context(), pool, 150)
	require.NoError(t, err)
	require.EqualValues(t, 30, made)
	users := walk(t, user.NewService(pool), user.Filter{Sort: user.DefaultSort, Limit: 50}, func() {})
	require.Len(t, users, 150)
	for _, u := range users {
		_, norm, err := user.ParseEmail(*u.Email)
		require.NoError(t, err)
		require.Equal(t, norm, *u.Email)
	}
}

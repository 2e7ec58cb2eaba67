package page_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

func TestPositionRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := page.Position{
			Time: time.UnixMilli(rapid.Int64Range(-1<<45, 1<<45).Draw(t, "ms")).UTC(),
			ID:   id.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
		}
		got, err := page.ParsePosition(want.Keys())
		require.NoError(t, err)
		require.Equal(t, want, *got)
	})
}

func TestPositionOfAnotherList(t *testing.T) {
	t.Parallel()
	start, err := page.ParsePosition(nil)
	require.NoError(t, err)
	require.Nil(t, start)
	row := id.New().String()
	for _, keys := range [][]string{{}, {"1"}, {"1", row, "x"}, {"", row}, {"noon", row}, {"1", ""}, {"1", "x"}} {
		_, err := page.ParsePosition(keys)
		require.ErrorIs(t, err, page.ErrInvalidCursor, "%q", keys)
	}
}

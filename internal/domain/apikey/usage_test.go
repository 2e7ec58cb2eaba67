package apikey_test

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/token"
)

func TestUsageIsWrittenOnceAndAtTheEnd(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	parsed, ok := token.ParseAPIKey(k.Text.Reveal())
	require.True(t, ok)
	at := clock.NewFake(time.Now())
	run := func(uses func(u *apikey.Usage)) {
		u := apikey.NewUsage(b.pool, at, slog.New(slog.DiscardHandler))
		uses(u)
		ctx, cancel := context.WithCancel(b.ctx)
		cancel()
		u.Run(ctx) // what is pending at the end is written
	}

	run(func(u *apikey.Usage) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { u.Used(k.ID, parsed.PublicID, netip.MustParseAddr("192.0.2.1"), "first") })
		}
		wg.Wait()
		u.Used(k.ID, parsed.PublicID, netip.MustParseAddr("::ffff:192.0.2.2"), "last\x00\xff"+strings.Repeat("x", 600))
		u.Used(id.New(), "gone", netip.Addr{}, "") // deleted since
		at.Advance(time.Minute)                    // it was used a minute before it is written
	})
	got, err := b.keys.Get(b.ctx, owner, k.ID)
	require.NoError(t, err)
	require.NotNil(t, got.LastUsedAt)
	require.WithinDuration(t, time.Now().Add(-time.Minute), *got.LastUsedAt, 20*time.Second)
	require.Equal(t, k.Version, got.Version, "a statistic is no change")
	require.Equal(t, k.UpdatedAt, got.UpdatedAt)
	require.Equal(t, "192.0.2.2", read[string](b, `SELECT host(last_used_ip) FROM api_key_secrets`))
	agent := read[string](b, `SELECT last_used_user_agent FROM api_key_secrets`)
	require.True(t, strings.HasPrefix(agent, "last\uFFFD\uFFFDxxx"), agent)
	require.Less(t, len(agent), 520)

	// Another replica writes an older use later: nothing goes back.
	run(func(u *apikey.Usage) {
		u.Used(k.ID, parsed.PublicID, netip.Addr{}, "older")
		at.Advance(time.Hour)
	})
	later, err := b.keys.Get(b.ctx, owner, k.ID)
	require.NoError(t, err)
	require.Equal(t, got.LastUsedAt, later.LastUsedAt)
	require.Equal(t, agent, read[string](b, `SELECT last_used_user_agent FROM api_key_secrets`))
}

package apikey_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
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
			wg.Go(func() { u.Record(used(k.ID, parsed.PublicID, netip.MustParseAddr("192.0.2.1"), "first")) })
		}
		wg.Wait()
		u.Record(used(k.ID, parsed.PublicID, netip.MustParseAddr("::ffff:192.0.2.2"), "last\x00\xff"+strings.Repeat("x", 600)))
		u.Record(used(id.New(), "gone", netip.Addr{}, "")) // deleted since
		at.Advance(time.Minute)                            // it was used a minute before it is written
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
		u.Record(used(k.ID, parsed.PublicID, netip.Addr{}, "older"))
		at.Advance(time.Hour)
	})
	later, err := b.keys.Get(b.ctx, owner, k.ID)
	require.NoError(t, err)
	require.Equal(t, got.LastUsedAt, later.LastUsedAt)
	require.Equal(t, agent, read[string](b, `SELECT last_used_user_agent FROM api_key_secrets`))
}

// A million secrets while the database is away leave a bounded memory behind, and what is counted of a key is exact.
func TestUsageIsBoundedAndExact(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	parsed, ok := token.ParseAPIKey(k.Text.Reveal())
	require.True(t, ok)
	down := &failing{DB: b.pool}
	down.fail.Store(true)
	u := apikey.NewUsage(down, clock.System{}, slog.New(slog.DiscardHandler))
	use := used(k.ID, parsed.PublicID, netip.Addr{}, "")
	u.Record(use, "docs:read")
	for i := range 1_000_000 {
		u.Record(apikey.Use{Key: k.ID, PublicID: strconv.Itoa(i), Outcome: apikey.Denied, Reason: "x"})
	}
	require.Equal(t, 65536, u.Pending())
	for i := range 1000 { // permissions that nobody registered
		u.Record(use, "docs:"+strconv.Itoa(i))
	}
	finish := func() {
		ctx, cancel := context.WithCancel(b.ctx)
		cancel()
		u.Run(ctx)
	}
	finish()
	require.Equal(t, 65536, u.Pending(), "what could not be written waits")
	down.fail.Store(false)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				u.Record(use, "docs:read")
			}
		})
	}
	wg.Wait()
	finish()
	require.Zero(t, u.Pending())
	report, err := b.keys.UsageOf(b.ctx, owner, k.ID, 2)
	require.NoError(t, err)
	var allowed, reads int64
	for _, d := range report.Days {
		allowed, reads = allowed+d.Allowed, reads+d.ByPermission["docs:read"]
		require.LessOrEqual(t, len(d.ByPermission), 1)
	}
	require.EqualValues(t, 9001, allowed)
	require.EqualValues(t, 8001, reads)
	require.Empty(t, report.UnusedScopes)
}

// A process that is killed loses at most what it counted since the last interval: everything older has been written.
func TestUsageIsWrittenEveryFiveSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &writes{}
		u := apikey.NewUsage(db, clock.System{}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			u.Run(ctx)
		}()
		for i := range 3 {
			u.Record(used(id.New(), "a secret", netip.Addr{}, ""), "docs:read")
			require.Equal(t, 1, u.Pending())
			<-time.After(5 * time.Second)
			synctest.Wait()
			require.Zero(t, u.Pending())
			require.EqualValues(t, i+1, db.n.Load())
		}
		for i := range 8192 { // a full batch does not wait
			u.Record(used(id.New(), strconv.Itoa(i), netip.Addr{}, ""))
		}
		synctest.Wait()
		require.Zero(t, u.Pending())
		cancel()
		<-done
	})
}

// writes counts statements.
type writes struct {
	postgres.DB
	n atomic.Int64
}

func (w *writes) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	w.n.Add(1)
	return pgconn.CommandTag{}, nil
}

// failing is a database that can be away.
type failing struct {
	postgres.DB
	fail atomic.Bool
}

func (f *failing) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if f.fail.Load() {
		return pgconn.CommandTag{}, errors.New("away")
	}
	return f.DB.Exec(ctx, sql, args...)
}

func BenchmarkRecord(b *testing.B) {
	u := apikey.NewUsage(nil, clock.System{}, slog.New(slog.DiscardHandler))
	use := apikey.Use{Key: id.New(), PublicID: "k3J9fQ2mX0aLr7Tz5YvB1c", Outcome: apikey.Allowed, Accepted: true}
	b.ReportAllocs()
	for b.Loop() {
		u.Record(use, "orders:read")
	}
}

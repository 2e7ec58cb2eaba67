package apikey_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read", "docs:write")
	before := time.Now()
	n := wanted("docs:write", "docs:read", "docs:write")
	n.Environment = token.Test
	n.AllowedIPs = []string{"2001:db8::/32", "192.0.2.7", "192.0.2.0/24", "::ffff:198.51.100.0/120"}
	n.RateLimit = &apikey.RateLimit{Limit: 100, WindowSeconds: 60}
	n.Metadata = jsontext.Value(`{"team":{"name":"a"}}`)
	k := b.create(owner, n)

	parsed, ok := token.ParseAPIKey(k.Text.Reveal())
	require.True(t, ok)
	require.Equal(t, token.Test, parsed.Environment)
	require.Equal(t, k.Text.Reveal()[len(k.Text.Reveal())-4:], k.Last4)
	require.Equal(t, parsed.Hash[:], read[[]byte](b, `SELECT secret_hash FROM api_key_secrets WHERE public_id = $1`, parsed.PublicID))
	require.Equal(t, []string{"docs:read", "docs:write"}, k.Scopes)
	require.Equal(t, apikey.Active, k.Status)
	require.Equal(t, owner.UserID, k.UserID)
	require.WithinRange(t, *k.ExpiresAt, before.Add(90*day-time.Minute), before.Add(90*day+time.Minute))
	require.Equal(t, []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.2.7/32"),
		netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32"),
	}, k.AllowedIPs)

	got, err := b.keys.Get(b.ctx, owner, k.ID)
	require.NoError(t, err)
	require.Equal(t, k.Key, got)
}

func TestCreateRefusesValues(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	for name, c := range map[string]struct {
		change func(*apikey.New)
		want   []string
	}{
		"everything at once": {
			func(n *apikey.New) {
				*n = apikey.New{
					AllowedIPs: []string{"192.0.2.1/24", "x", "fe80::1%eth0"}, RateLimit: &apikey.RateLimit{},
					Metadata: jsontext.Value(`{"a":"` + strings.Repeat("x", 17<<10) + `"}`),
				}
			},
			[]string{
				"/name required", "/environment not_allowed", "/rate_limit/limit out_of_range", "/rate_limit/window_seconds out_of_range",
				"/scopes too_few", "/allowed_ips/0 host_bits_set", "/allowed_ips/1 invalid_format", "/allowed_ips/2 invalid_format",
				"/metadata too_large",
			},
		},
		"long name":          {func(n *apikey.New) { n.Name = strings.Repeat("ä", 101) }, []string{"/name too_long"}},
		"line break":         {func(n *apikey.New) { n.Name = "a\nb" }, []string{"/name control_character"}},
		"malformed scope":    {func(n *apikey.New) { n.Scopes = []string{"docs:read", "*:read"} }, []string{"/scopes/1 unknown_permission"}},
		"unregistered":       {func(n *apikey.New) { n.Scopes = []string{"docs:burn", "docs:read"} }, []string{"/scopes/0 unknown_permission"}},
		"unknown resource":   {func(n *apikey.New) { n.Scopes = []string{"docs:read", "nothing:*"} }, []string{"/scopes/1 unknown_permission"}},
		"past":               {func(n *apikey.New) { n.ExpiresAt = patch.To(time.Now().Add(-time.Minute)) }, []string{"/expires_at out_of_range"}},
		"too far":            {func(n *apikey.New) { n.ExpiresAt = patch.To(time.Now().Add(366 * day)) }, []string{"/expires_at out_of_range"}},
		"never, not allowed": {func(n *apikey.New) { n.ExpiresAt = patch.Field[time.Time]{Set: true, Null: true} }, []string{"/expires_at required"}},
		"both from data": {
			func(n *apikey.New) { n.ExpiresAt, n.Scopes = patch.To(time.Now().Add(-day)), []string{"docs:burn"} },
			[]string{"/expires_at out_of_range", "/scopes/0 unknown_permission"},
		},
	} {
		n := wanted("docs:read")
		c.change(&n)
		_, err := b.keys.Create(b.ctx, owner, n, nil)
		require.ErrorIs(t, err, fault.ErrValidation, name)
		require.Equal(t, c.want, pointers(err), name)
	}
	require.Zero(t, read[int](b, `SELECT count(*) FROM api_keys`))
}

func TestUnlimitedLife(t *testing.T) {
	t.Parallel()
	b := newBench(t, apikey.Config{DefaultTTL: day, MaxTTL: 0})
	owner := b.person("docs:read")
	n := wanted("docs:read")
	n.ExpiresAt = patch.Field[time.Time]{Set: true, Null: true}
	require.Nil(t, b.create(owner, n).ExpiresAt)
	n.ExpiresAt = patch.To(time.Now().Add(100 * 365 * day))
	require.NotNil(t, b.create(owner, n).ExpiresAt)
}

// KEY-01: a key never holds more than its owner and its maker.
func TestKEY01ScopesLieWithinOwnerAndMaker(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read", "docs:write", "tools:*")
	b.account("human", "docs:burn", "tools:use")
	for name, scopes := range map[string][]string{
		"one above":           {"docs:read", "docs:burn"},
		"everything":          {"*"},
		"wildcard over parts": {"docs:*"},
	} {
		_, err := b.keys.Create(b.ctx, owner, wanted(scopes...), nil)
		require.Equal(t, "privilege_escalation", code(err), name)
	}
	b.create(owner, wanted("docs:read", "tools:use", "tools:*", "me:read"))

	// What counts is what he may do in the database, not what a cache remembers.
	stale := owner
	stale.Permissions = actor.Permissions{"*"}
	_, err := b.keys.Create(b.ctx, stale, wanted("docs:burn"), nil)
	require.Equal(t, "privilege_escalation", code(err))

	// For another.
	other, bot := b.person("docs:read"), b.account("service", "docs:read", "docs:write")
	forOther, forBot := wanted("docs:read"), wanted("docs:read")
	forOther.UserID, forBot.UserID = other.UserID, bot
	for _, n := range []apikey.New{forOther, forBot} {
		_, err = b.keys.Create(b.ctx, owner, n, nil)
		require.ErrorIs(t, err, actor.ErrPermissionDenied)
	}
	keeper := b.person("api_keys:write", "docs:read", "docs:write", "docs:burn")
	_, err = b.keys.Create(b.ctx, keeper, forOther, nil)
	require.ErrorIs(t, err, apikey.ErrOthersKey)
	require.Equal(t, bot, b.create(keeper, forBot).UserID)
	above := forBot
	above.Scopes = []string{"docs:burn"} // the maker has it, the owner has not
	_, err = b.keys.Create(b.ctx, keeper, above, nil)
	require.Equal(t, "privilege_escalation", code(err))
	weaker := b.person("api_keys:write", "docs:read") // may not control an account with docs:write
	_, err = b.keys.Create(b.ctx, weaker, forBot, nil)
	require.ErrorIs(t, err, actor.ErrEscalation)
	nobody := wanted("docs:read")
	nobody.UserID = id.New()
	_, err = b.keys.Create(b.ctx, keeper, nobody, nil)
	require.Equal(t, []string{"/user_id unknown_user"}, pointers(err))

	// What he holds for a week he cannot hand out for a month.
	b.exec(`UPDATE user_roles SET expires_at = now() + interval '7 days' WHERE user_id = $1`, keeper.UserID)
	_, err = b.keys.Create(b.ctx, keeper, forBot, nil)
	require.ErrorIs(t, err, actor.ErrEscalation)
	forBot.ExpiresAt = patch.To(time.Now().Add(6 * day))
	b.create(keeper, forBot)
}

// KEY-01, KEY-03: a key touches no keys, whatever its scopes.
func TestKEY03AKeyTouchesNoKeys(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("*")
	made := b.create(owner, wanted("*"))
	key := asKey(made, owner)
	_, err := b.keys.Create(b.ctx, key, wanted("me:read"), nil)
	require.ErrorIs(t, err, actor.ErrSessionRequired)
	_, err = b.keys.Update(b.ctx, key, made.ID, apikey.Patch{Name: patch.To("other")}, nil)
	require.ErrorIs(t, err, actor.ErrSessionRequired)
	require.ErrorIs(t, b.keys.Revoke(b.ctx, key, made.ID, nil), actor.ErrSessionRequired)

	current, err := b.keys.Current(b.ctx, key)
	require.NoError(t, err)
	require.Equal(t, made.Key, current)
	_, err = b.keys.Current(b.ctx, owner)
	require.ErrorIs(t, err, fault.ErrNotFound)
}

// A session that ended while its request was on the way leaves no key behind; nor does an account that is going.
func TestCreateIsNotOutrun(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	var wg sync.WaitGroup
	err := b.pool.InTx(b.ctx, func(ctx context.Context, tx postgres.Tx) error {
		// A recovery: it has the account's row, and ends sessions and keys.
		if _, err := tx.Exec(ctx, `UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = $1`, owner.UserID); err != nil {
			return err
		}
		wg.Go(func() {
			_, err := b.keys.Create(b.ctx, owner, wanted("docs:read"), nil)
			if code(err) != "invalid_access_token" {
				t.Errorf("want invalid_access_token, got %v", err)
			}
		})
		require.Eventually(t, func() bool {
			var waits bool
			err := tx.QueryRow(ctx, `SELECT EXISTS (
				SELECT FROM pg_locks WHERE NOT granted AND transactionid::text = pg_current_xact_id()::text)`).Scan(&waits)
			return err == nil && waits
		}, 2*time.Second, time.Millisecond)
		_, err := tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1`, owner.UserID)
		return err
	})
	require.NoError(t, err)
	wg.Wait()
	require.Zero(t, read[int](b, `SELECT count(*) FROM api_keys`))
}

func TestRateAboveTheGeneralOneNeedsPermission(t *testing.T) {
	t.Parallel()
	b := standard(t) // 1200 a minute
	owner, keeper := b.person("docs:read"), b.person("docs:read", "api_keys:write")
	for limit, above := range map[apikey.RateLimit]bool{
		{Limit: 1200, WindowSeconds: 60}:      false,
		{Limit: 20, WindowSeconds: 1}:         false,
		{Limit: 21, WindowSeconds: 1}:         true, // in the long run
		{Limit: 1201, WindowSeconds: 86_400}:  true, // at once
		{Limit: 1200, WindowSeconds: 86_400}:  false,
		{Limit: 1_000_000, WindowSeconds: 60}: true,
	} {
		n := wanted("docs:read")
		n.RateLimit = &limit
		_, err := b.keys.Create(b.ctx, owner, n, nil)
		if !above {
			require.NoError(t, err, limit)
			continue
		}
		require.ErrorIs(t, err, actor.ErrPermissionDenied, limit)
		b.create(keeper, n)
	}
	k := b.create(owner, wanted("docs:read"))
	_, err := b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{RateLimit: patch.To(apikey.RateLimit{Limit: 5000, WindowSeconds: 60})}, nil)
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
}

func TestReadingOthers(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner, stranger, reader := b.person("docs:read"), b.person("docs:read"), b.person("api_keys:read")
	k := b.create(owner, wanted("docs:read"))
	_, err := b.keys.Get(b.ctx, stranger, k.ID)
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.ErrorIs(t, err, actor.ErrHidden)
	_, err = b.keys.Get(b.ctx, stranger, id.New())
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.NotErrorIs(t, err, actor.ErrHidden)
	_, err = b.keys.Get(b.ctx, reader, k.ID)
	require.NoError(t, err)
	_, err = b.keys.Update(b.ctx, reader, k.ID, apikey.Patch{Name: patch.To("x")}, nil)
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.ErrorIs(t, b.keys.Revoke(b.ctx, stranger, k.ID, nil), actor.ErrHidden)

	for _, f := range []apikey.Filter{{Everyone: true, Limit: 9}, {UserID: owner.UserID, Limit: 9}, {UserID: id.New(), Limit: 9}} {
		_, err := b.keys.List(b.ctx, stranger, f)
		require.ErrorIs(t, err, actor.ErrPermissionDenied)
		_, err = b.keys.List(b.ctx, reader, f)
		require.NoError(t, err)
	}
	_, err = b.keys.List(b.ctx, reader, apikey.Filter{Everyone: true, UserID: owner.UserID, Limit: 9})
	require.Equal(t, "unsupported_filter", code(err))
}

func TestListFiltersAndWalks(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	b.create(b.person("docs:read"), wanted("docs:read"))
	want := map[apikey.Status]id.ID{}
	for _, status := range []apikey.Status{apikey.Active, apikey.Expired, apikey.Quarantined, apikey.Revoked} {
		n := wanted("docs:read")
		if status == apikey.Active {
			n.Environment = token.Test
		}
		want[status] = b.create(owner, n).ID
	}
	b.exec(`UPDATE api_keys SET expires_at = now() - interval '1 ms' WHERE id = $1`, want[apikey.Expired])
	// The first that holds counts: each of these has also expired.
	b.exec(`UPDATE api_keys SET expires_at = now() - interval '1 ms', quarantined_at = now() WHERE id = $1`, want[apikey.Quarantined])
	b.exec(`UPDATE api_keys SET expires_at = now() - interval '1 ms', quarantined_at = now(), revoked_at = now() WHERE id = $1`, want[apikey.Revoked])
	for status, key := range want {
		rows, err := b.keys.List(b.ctx, owner, apikey.Filter{Status: status, Limit: 9})
		require.NoError(t, err)
		require.Len(t, rows, 1, status)
		require.Equal(t, key, rows[0].ID, status)
		require.Equal(t, status, rows[0].Status)
	}
	rows, err := b.keys.List(b.ctx, owner, apikey.Filter{Environment: token.Test, Limit: 9})
	require.NoError(t, err)
	require.Len(t, rows, 1)

	// Rows of one moment are told apart by their ids, in both directions.
	b.exec(`UPDATE api_keys SET created_at = date_trunc('second', now())`)
	for _, ascending := range []bool{false, true} {
		var seen []string
		var after *page.Position
		for {
			rows, err := b.keys.List(b.ctx, owner, apikey.Filter{Limit: 1, Ascending: ascending, After: after})
			require.NoError(t, err)
			if len(rows) == 0 {
				break
			}
			seen = append(seen, rows[0].ID.String())
			after = &page.Position{Time: rows[0].CreatedAt, ID: rows[0].ID}
		}
		require.Len(t, seen, 4)
		require.Equal(t, ascending, seen[0] < seen[1] && seen[1] < seen[2] && seen[2] < seen[3])
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read", "docs:write")
	n := wanted("docs:read")
	n.Metadata, n.AllowedIPs, n.RateLimit = jsontext.Value(`{"a":{"b":1,"c":2}}`), []string{"192.0.2.0/24"}, &apikey.RateLimit{Limit: 1, WindowSeconds: 1}
	k := b.create(owner, n)

	same, err := b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{Name: patch.To("ci"), Scopes: patch.To([]string{"docs:read"})}, &k.Version)
	require.NoError(t, err)
	require.Equal(t, k.Version, same.Version, "nothing changed")
	events := `SELECT count(*) FROM audit_events WHERE target_id = $1 AND action = 'api_key.update'`
	require.Zero(t, read[int](b, events, k.ID))

	until := time.Now().Add(10 * day).UTC().Truncate(time.Millisecond)
	up, err := b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{
		Name: patch.To("deploy"), Scopes: patch.To([]string{"docs:write", "docs:read"}), ExpiresAt: patch.To(until),
		AllowedIPs: patch.Field[[]string]{Set: true, Null: true}, RateLimit: patch.Field[apikey.RateLimit]{Set: true, Null: true},
		Metadata: patch.To(jsontext.Value(`{"a":{"b":null,"d":3}}`)),
	}, &k.Version)
	require.NoError(t, err)
	require.Greater(t, up.Version, k.Version)
	require.Equal(t, []string{"docs:read", "docs:write"}, up.Scopes)
	require.Equal(t, until, up.ExpiresAt.UTC())
	require.Empty(t, up.AllowedIPs)
	require.Nil(t, up.RateLimit)
	require.JSONEq(t, `{"a":{"c":2,"d":3}}`, string(up.Metadata))
	require.Equal(t, owner.UserID, <-b.cut)
	got, err := b.keys.Get(b.ctx, owner, k.ID)
	require.NoError(t, err)
	require.Equal(t, got, up)

	var changes map[string]map[string]any
	doc := read[[]byte](b, `SELECT changes FROM audit_personal p JOIN audit_events e ON e.id = p.event_id
		WHERE e.target_id = $1 AND e.action = 'api_key.update' AND subject_role = 'target' AND subject_id = $2`, k.ID, owner.UserID)
	require.NoError(t, json.Unmarshal(doc, &changes))
	require.Equal(t, map[string]any{"from": "ci", "to": "deploy"}, changes["name"])
	require.Equal(t, map[string]any{"from": nil, "to": nil}, changes["metadata"])
	require.Len(t, changes, 6)

	_, err = b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{Name: patch.To("late")}, &k.Version)
	require.ErrorIs(t, err, fault.ErrPrecondition)
	_, err = b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{Scopes: patch.To([]string{"*"})}, nil)
	require.Equal(t, "privilege_escalation", code(err))
	_, err = b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{Scopes: patch.To([]string{"docs:read", "docs:x", "a:b"})}, nil)
	require.Equal(t, []string{"/scopes/1 unknown_permission", "/scopes/2 unknown_permission"}, pointers(err))
	_, err = b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{
		Name: patch.Field[string]{Set: true, Null: true}, Scopes: patch.Field[[]string]{Set: true, Null: true},
	}, nil)
	require.Equal(t, []string{"/name required", "/scopes too_few"}, pointers(err))
	_, err = b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{ExpiresAt: patch.Field[time.Time]{Set: true, Null: true}}, nil)
	require.Equal(t, []string{"/expires_at required"}, pointers(err))

	// The longest life counts from the making of the secret, so that no key lives for ever in small steps.
	b.exec(`UPDATE api_key_secrets SET created_at = now() - interval '300 days'`)
	_, err = b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{ExpiresAt: patch.To(time.Now().Add(66 * day))}, nil)
	require.Equal(t, []string{"/expires_at out_of_range"}, pointers(err))
}

func TestUpdateOfOthers(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner, admin := b.person("docs:read", "docs:write"), b.person("users:delete", "docs:read")
	keeper := b.person("api_keys:write", "docs:read")
	theirs, above := b.create(owner, wanted("docs:read")), b.create(admin, wanted("docs:read"))
	_, err := b.keys.Update(b.ctx, keeper, theirs.ID, apikey.Patch{AllowedIPs: patch.To([]string{"192.0.2.1"})}, nil)
	require.NoError(t, err)
	_, err = b.keys.Update(b.ctx, keeper, theirs.ID, apikey.Patch{Scopes: patch.To([]string{"docs:write"})}, nil)
	require.ErrorIs(t, err, actor.ErrEscalation, "neither does he hold docs:write, nor all that the owner holds")
	_, err = b.keys.Update(b.ctx, keeper, above.ID, apikey.Patch{Name: patch.To("x")}, nil)
	require.ErrorIs(t, err, actor.ErrEscalation)
	require.ErrorIs(t, b.keys.Revoke(b.ctx, keeper, above.ID, nil), actor.ErrEscalation)
	require.NoError(t, b.keys.Revoke(b.ctx, keeper, theirs.ID, nil))
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	stale := k.Version - 1
	require.ErrorIs(t, b.keys.Revoke(b.ctx, owner, k.ID, &stale), fault.ErrPrecondition)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := b.keys.Revoke(b.ctx, owner, k.ID, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, owner.UserID, <-b.cut)
	require.Empty(t, b.cut, "announced once")
	require.Equal(t, 1, read[int](b, `SELECT count(*) FROM audit_events WHERE action = 'api_key.revoke' AND target_id = $1`, k.ID))
	got, err := b.keys.Get(b.ctx, owner, k.ID)
	require.NoError(t, err)
	require.Equal(t, apikey.Revoked, got.Status)
	require.Greater(t, got.Version, k.Version)
	require.ErrorIs(t, b.keys.Revoke(b.ctx, owner, id.New(), nil), fault.ErrNotFound)
}

// A key that expires shows another body, so it has another version, although nobody wrote it.
func TestVersionGrowsWithExpiry(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	b.exec(`UPDATE api_keys SET expires_at = now() - interval '1 ms'`)
	expired, err := b.keys.Get(b.ctx, owner, k.ID)
	require.NoError(t, err)
	require.Greater(t, expired.Version, k.Version)
	back, err := b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{ExpiresAt: patch.To(time.Now().Add(day))}, &expired.Version)
	require.NoError(t, err)
	require.Equal(t, apikey.Active, back.Status)
	require.Greater(t, back.Version, expired.Version)

	// With a permission that is gone it stays expired.
	b.exec(`UPDATE api_keys SET expires_at = now() - interval '1 ms', scopes = '{gone:read}'`)
	_, err = b.keys.Update(b.ctx, owner, k.ID, apikey.Patch{ExpiresAt: patch.To(time.Now().Add(day))}, nil)
	require.Equal(t, []string{"/scopes/0 unknown_permission"}, pointers(err))
}

// The answer is kept in the transaction of the effect: when that fails there is no key.
func TestCreateKeepsInItsTransaction(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	var kept apikey.Created
	k, err := b.keys.Create(b.ctx, owner, wanted("docs:read"), func(_ context.Context, _ postgres.Tx, result apikey.Created) error {
		kept = result
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, k, kept)
	_, err = b.keys.Create(b.ctx, owner, wanted("docs:read"), func(context.Context, postgres.Tx, apikey.Created) error {
		return fault.ErrPrecondition
	})
	require.Error(t, err)
	require.Equal(t, 1, read[int](b, `SELECT count(*) FROM api_keys`))
	require.Equal(t, 1, read[int](b, `SELECT count(*) FROM audit_events WHERE action = 'api_key.create'`))
}

// KEY-07: the secret is shown once and stored nowhere.
func TestKEY07SecretIsStoredNowhere(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	text := k.Text.Reveal()
	private := text[len("ums_live_")+22+1:][:43]
	tables := read[[]string](b, `SELECT array_agg(oid::regclass::text) FROM pg_class
		WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND has_table_privilege(oid, 'SELECT')`)
	require.Contains(t, tables, "api_key_secrets")
	for _, table := range tables {
		require.Zero(t, read[int](b, `SELECT count(*) FROM `+table+` x WHERE position($1 IN x::text) > 0`, private), table)
	}
	shown, err := json.Marshal(k)
	require.NoError(t, err)
	require.NotContains(t, string(shown), private)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	require.NoError(t, apikey.Config{DefaultTTL: day, MaxTTL: day}.Validate())
	require.NoError(t, apikey.Config{DefaultTTL: day}.Validate())
	require.Error(t, apikey.Config{DefaultTTL: 2 * day, MaxTTL: day}.Validate())
	require.Error(t, apikey.Config{MaxTTL: day}.Validate())
	require.Error(t, apikey.Config{DefaultTTL: day, MaxTTL: -day}.Validate())
}

package apikey_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// outbox keeps mails instead of sending them; those of a transaction that rolled back stay, so tests count after successes.
type outbox struct {
	mu    sync.Mutex
	mails []notify.Mail
}

func (o *outbox) Enqueue(_ context.Context, _ postgres.Tx, m notify.Mail) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mails = append(o.mails, m)
	return nil
}

func (o *outbox) take() []notify.Mail {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.mails
	o.mails = nil
	return out
}

// used is an accepted use.
func used(key id.ID, publicID string, ip netip.Addr, agent string) apikey.Use {
	return apikey.Use{Key: key, PublicID: publicID, Outcome: apikey.Allowed, Accepted: true, IP: ip, UserAgent: agent}
}

// use writes that the secret was used, as the service would.
func (b *bench) use(k apikey.Created, ip, agent string) {
	b.t.Helper()
	parsed, ok := token.ParseAPIKey(k.Text.Reveal())
	require.True(b.t, ok)
	u := apikey.NewUsage(b.pool, clock.System{}, slog.New(slog.DiscardHandler))
	u.Record(used(k.ID, parsed.PublicID, netip.MustParseAddr(ip), agent))
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	u.Run(ctx)
}

func (b *bench) rotate(by actor.Actor, key id.ID, overlap time.Duration) (apikey.Created, error) {
	b.t.Helper()
	return b.keys.Rotate(b.ctx, by, key, overlap, nil)
}

func TestRotationKeepsTheKeyAndKnowsWhoUsesTheOldSecret(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	old := b.create(owner, wanted("docs:read"))
	made, err := b.rotate(owner, old.ID, time.Hour)
	require.NoError(t, err)
	require.Equal(t, owner.UserID, <-b.cut)
	require.Equal(t, old.ID, made.ID)
	require.NotEqual(t, old.Text.Reveal(), made.Text.Reveal())
	require.Equal(t, old.ExpiresAt, made.ExpiresAt)
	require.Greater(t, made.Version, old.Version)

	b.use(old, "192.0.2.1", "deploy/1")
	got, err := b.keys.Get(b.ctx, owner, old.ID)
	require.NoError(t, err)
	require.Equal(t, made.Version, got.Version, "who used it is a statistic")
	require.Len(t, got.Secrets, 2)
	current, before := got.Secrets[0], got.Secrets[1]
	require.True(t, current.Current())
	require.Equal(t, made.Last4, current.Last4)
	require.Nil(t, current.LastUsedAt)
	require.False(t, before.Current())
	require.Equal(t, old.Last4, before.Last4)
	require.WithinDuration(t, time.Now().Add(time.Hour), *before.ExpiresAt, time.Minute)
	require.Equal(t, "192.0.2.1", before.LastUsedIP.String())
	require.Equal(t, "deploy/1", *before.LastUsedUserAgent)

	_, err = b.rotate(owner, old.ID, 0)
	require.ErrorIs(t, err, apikey.ErrRotating)
	b.exec(`UPDATE api_key_secrets SET expires_at = now() - interval '1 s' WHERE expires_at IS NOT NULL`)
	third, err := b.rotate(owner, old.ID, 0)
	require.NoError(t, err)
	require.Len(t, third.Secrets, 3)
	fourth, err := b.rotate(owner, old.ID, 0)
	require.NoError(t, err, "without an overlap one secret works at any time")
	require.Equal(t, []string{fourth.Last4, third.Last4, made.Last4, old.Last4}, last4s(fourth.Secrets))
	b.exec(`UPDATE api_key_secrets SET expires_at = now() - interval '31 days' WHERE expires_at IS NOT NULL`)
	fifth, err := b.rotate(owner, old.ID, 0)
	require.NoError(t, err)
	require.Equal(t, []string{fifth.Last4, fourth.Last4}, last4s(fifth.Secrets), "what ended long ago is forgotten")
}

func last4s(secrets []apikey.Secret) (out []string) {
	for _, s := range secrets {
		out = append(out, s.Last4)
	}
	return out
}

func TestRotationsAtOnceLeaveTwoSecrets(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	var done atomic.Int64
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			_, err := b.rotate(owner, k.ID, time.Hour)
			if err == nil {
				done.Add(1)
			} else if code(err) != apikey.ErrRotating.Code {
				t.Errorf("rotate: %v", err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, done.Load())
	require.Equal(t, 2, read[int](b, `SELECT count(*) FROM api_key_secrets`))
}

// Whoever rotates holds the key: it takes what making it would.
func TestWhoMayRotate(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner, other := b.person("docs:read"), b.person("docs:read")
	keeper, weak := b.person("api_keys:write", "docs:read"), b.person("api_keys:write")
	k := b.create(owner, wanted("docs:read"))
	n := wanted("docs:read")
	n.UserID = b.account("service", "docs:read")
	robot := b.create(keeper, n)
	for name, c := range map[string]struct {
		by   actor.Actor
		key  id.ID
		code string
	}{
		"a stranger":                       {other, k.ID, "not_found"},
		"a person's, by a keeper of keys":  {keeper, k.ID, "privilege_escalation"},
		"a program's, by one who has less": {weak, robot.ID, "privilege_escalation"},
		"a key":                            {asKey(k, owner), k.ID, "session_required"},
		"nothing":                          {owner, id.New(), "not_found"},
		"a program's, by one who controls": {keeper, robot.ID, ""},
		"one's own":                        {owner, k.ID, ""},
	} {
		_, err := b.rotate(c.by, c.key, 0)
		require.Equal(t, c.code, code(err), name)
	}
	for _, overlap := range []time.Duration{-1, apikey.MaxOverlap + time.Second} {
		_, err := b.rotate(owner, k.ID, overlap)
		require.Equal(t, []string{"/overlap_seconds out_of_range"}, pointers(err))
	}
	for _, end := range []string{"revoked_at = now()", "revoked_at = NULL, quarantined_at = now()", "quarantined_at = NULL, expires_at = now() - interval '1 s'"} {
		b.exec(`UPDATE api_keys SET ` + end)
		_, err := b.rotate(owner, k.ID, 0)
		require.Equal(t, []string{"path/id not_active"}, pointers(err), end)
	}
}

func TestLeakedKeyIsEndedAndItsOwnerTold(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	other := b.create(owner, wanted("docs:read"))
	finder := actor.Nobody(actor.Origin{IP: netip.MustParseAddr("192.0.2.9")})
	report := func(text string) { require.NoError(t, b.keys.Leaked(b.ctx, finder, text)) }
	status := func(k apikey.Created) apikey.Status {
		got, err := b.keys.Get(b.ctx, owner, k.ID)
		require.NoError(t, err)
		return got.Status
	}
	text := k.Text.Reveal()
	forged := token.NewAPIKey(token.Live).Text.Reveal()
	for _, none := range []string{"", "ums_live_", text[:len(text)-1], text + "0", forged} {
		report(none)
	}
	require.Equal(t, apikey.Active, status(k))
	require.Empty(t, b.outbox.take())
	report(text)
	report(text)
	require.Equal(t, apikey.Quarantined, status(k))
	require.Equal(t, apikey.Active, status(other))
	require.Equal(t, owner.UserID, <-b.cut)
	mails := b.outbox.take()
	require.Len(t, mails, 1, "told once")
	require.Equal(t, owner.UserID.String()+"@example.com", mails[0].To)
	leaked, ok := mails[0].Content.(notify.KeyLeaked)
	require.True(t, ok)
	require.Equal(t, []string{"ci", k.Last4}, []string{leaked.Key, leaked.Last4})
	require.Equal(t, []string{"failure not_found", "failure quarantined", "success "}, readAll(b,
		`SELECT e.outcome || ' ' || coalesce(p.reason, '') FROM audit_events e
		LEFT JOIN audit_personal p ON p.event_id = e.id AND p.subject_role = 'target' WHERE e.action = 'api_key.quarantine' ORDER BY 1`))

	// A secret whose overlap is over opens nothing; the one after it is not thereby known.
	_, err := b.rotate(owner, other.ID, 0)
	require.NoError(t, err)
	report(other.Text.Reveal())
	require.Equal(t, apikey.Active, status(other))
	// An expired key could be given a later expiry.
	b.exec(`UPDATE api_keys SET quarantined_at = NULL, expires_at = now() - interval '1 s' WHERE id = $1`, k.ID)
	report(text)
	require.Equal(t, apikey.Quarantined, status(k))
}

func readAll(b *bench, sql string) (out []string) {
	b.t.Helper()
	rows, err := b.pool.Query(b.ctx, sql)
	require.NoError(b.t, err)
	defer rows.Close()
	for rows.Next() {
		var s string
		require.NoError(b.t, rows.Scan(&s))
		out = append(out, s)
	}
	require.NoError(b.t, rows.Err())
	return out
}

func TestOwnersAreToldOnceBeforeAKeyExpires(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner, keeper := b.person("docs:read"), b.person("api_keys:write", "docs:read")
	k := b.create(owner, wanted("docs:read"))
	n := wanted("docs:read")
	n.UserID = b.account("service", "docs:read")
	robot := b.create(keeper, n)
	b.create(owner, wanted("docs:read")) // far away
	told := func() (to []string) {
		var wg sync.WaitGroup
		for range 3 { // replicas
			wg.Go(func() {
				if err := b.keys.SendNotices(b.ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, m := range b.outbox.take() {
			require.IsType(t, notify.KeyExpires{}, m.Content)
			to = append(to, m.To)
		}
		return to
	}
	address := func(a actor.Actor) string { return a.UserID.String() + "@example.com" }
	require.Empty(t, told())
	expire := func(in string) {
		b.exec(`UPDATE api_keys SET created_at = now() - interval '60 days', expires_at = now() + $2::interval WHERE id = ANY($1)`,
			[]id.ID{k.ID, robot.ID}, in)
	}
	expire("14 days 1 minute")
	require.Empty(t, told())
	expire("14 days")
	require.ElementsMatch(t, []string{address(owner), address(keeper)}, told(), "for a program whoever made its key")
	require.Empty(t, told())
	b.exec(`UPDATE api_keys SET expires_at = now() + interval '23 hours' WHERE id = $1`, k.ID)
	require.Equal(t, []string{address(owner)}, told())
	require.Empty(t, told())
	expire("13 days")
	require.Len(t, told(), 2, "a new expiry is a new matter")
	b.exec(`UPDATE api_keys SET created_at = now(), expires_at = now() + interval '5 days'`)
	require.Empty(t, told(), "a key of five days was announced when it was made")
	b.exec(`UPDATE api_keys SET created_at = now() - interval '9 days', expires_at = now() + interval '9 hours', revoked_at = now()`)
	require.Empty(t, told())
}

func TestOwnersAreToldOfAnOldSecretThatIsStillUsed(t *testing.T) {
	t.Parallel()
	b := standard(t)
	owner := b.person("docs:read")
	k := b.create(owner, wanted("docs:read"))
	_, err := b.rotate(owner, k.ID, 4*time.Hour)
	require.NoError(t, err)
	b.use(k, "192.0.2.1", "deploy/1")
	told := func() (contents []notify.Content) {
		require.NoError(t, b.keys.SendNotices(b.ctx))
		for _, m := range b.outbox.take() {
			contents = append(contents, m.Content)
		}
		return contents
	}
	require.Empty(t, told(), "its end is not near")
	// Time passes: the rotation and its end move back by so much.
	pass := func(d time.Duration) {
		b.exec(fmt.Sprintf(`UPDATE api_key_secrets SET created_at = created_at - interval '%[1]d s', expires_at = expires_at - interval '%[1]d s',
			last_used_at = last_used_at - interval '%[1]d s'`, int(d.Seconds())))
	}
	pass(3*time.Hour + time.Minute)
	require.Empty(t, told(), "not used for three hours")
	b.use(k, "192.0.2.2", "deploy/2")
	got := told()
	require.Len(t, got, 1)
	in, ok := got[0].(notify.KeySecretInUse)
	require.True(t, ok)
	require.Equal(t, []string{"ci", k.Last4, "192.0.2.2", "deploy/2"}, []string{in.Key, in.Last4, in.From, in.By})
	require.Empty(t, told(), "once")
}

package access_test

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// model is the definition of what a key may do, by plain words: each of its scopes, as far as a role that the owner holds
// now, or one that such a role inherits, grants it.
type model struct {
	roles    map[string][]string // what a role grants itself
	inherits map[string][]string
	held     []string
	scopes   []string

	active, revoked, quarantined, expired bool
	networks                              []string
}

func (m *model) granted() (all []string) {
	seen := map[string]bool{}
	var walk func(role string)
	walk = func(role string) {
		if seen[role] {
			return
		}
		seen[role] = true
		all = append(all, m.roles[role]...)
		for _, r := range m.inherits[role] {
			walk(r)
		}
	}
	for _, r := range m.held {
		walk(r)
	}
	return append(all, "me:read", "me:write") // of every human
}

// covers says whether one of the grants contains p: the same name, all of its resource, or everything.
func covers(grants []string, p string) bool {
	resource, _, _ := strings.Cut(p, ":")
	return slices.Contains(grants, p) || slices.Contains(grants, "*") || p != "*" && slices.Contains(grants, resource+":*")
}

func (m *model) may(p string) bool { return covers(m.scopes, p) && covers(m.granted(), p) }

func (m *model) decide(ip netip.Addr, environment string, permissions []string) access.Reason {
	near := len(m.networks) == 0 || slices.ContainsFunc(m.networks, func(n string) bool { return netip.MustParsePrefix(n).Contains(ip.Unmap()) })
	switch {
	case m.revoked:
		return access.Revoked
	case m.quarantined:
		return access.Quarantined
	case m.expired:
		return access.Expired
	case !m.active:
		return access.OwnerSuspended
	case environment == "test":
		return access.WrongEnvironment
	case !near:
		return access.IPDenied
	case slices.ContainsFunc(permissions, func(p string) bool { return !m.may(p) }):
		return access.InsufficientScope
	}
	return ""
}

// For random scopes, roles and changes of them, the decision equals the definition: on the replica that changes at once,
// on another that hears nothing after a second.
func TestDecisionsEqualTheDefinition(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := access.NewService(b.pool, actor.NewChanges(postgres.NewBus(slog.New(slog.DiscardHandler))), b.clock)
	b.sql("INSERT INTO permissions (name) VALUES ('orders:read')")
	names := []string{"a", "b", "c", "d"}
	grants := []string{"*", "users:*", "users:read", "users:write", "orders:*", "orders:read", "audit:read", "me:read"}
	asked := append(slices.Clone(grants), "orders:anything", "me:write")
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("2001:db8::1")}
	ids := map[string]id.ID{}
	m := &model{roles: map[string][]string{}, inherits: map[string][]string{}, active: true, scopes: []string{"users:read"}}
	k := b.key(m.scopes)
	for _, name := range names {
		ids[name] = b.role("random-"+name, nil, false)
	}
	rapid.Check(t, func(t *rapid.T) {
		pick := func(of []string, most int, label string) []string {
			if len(of) == 0 {
				return nil
			}
			return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, most, rapid.ID[string]).Draw(t, label)
		}
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			name := rapid.SampledFrom(names).Draw(t, "role")
			switch rapid.IntRange(0, 6).Draw(t, "change") {
			case 0:
				m.roles[name] = pick(grants, 3, "grants")
				b.sql("DELETE FROM role_permissions WHERE role_id = $1", ids[name])
				b.sql("INSERT INTO role_permissions (role_id, permission) SELECT $1, unnest($2::text[])", ids[name], m.roles[name])
			case 1:
				m.inherits[name] = pick(names[slices.Index(names, name)+1:], 2, "inherits") // later ones, so that there is no cycle
				b.sql("DELETE FROM role_inherits WHERE role_id = $1", ids[name])
				for _, r := range m.inherits[name] {
					b.sql("INSERT INTO role_inherits (role_id, inherits_id) VALUES ($1, $2)", ids[name], ids[r])
				}
			case 2:
				m.held = pick(names, 3, "held")
				b.sql("DELETE FROM user_roles WHERE user_id = $1", b.user)
				for _, r := range m.held {
					b.sql("INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)", b.user, ids[r])
				}
			case 3:
				m.scopes = append([]string{"users:read"}, pick(grants, 3, "scopes")...)
				b.sql("UPDATE api_keys SET scopes = $1", m.scopes)
			case 4:
				m.active = rapid.IntRange(0, 9).Draw(t, "active") > 0
				b.sql("UPDATE users SET status = CASE WHEN $1 THEN 'active' ELSE 'suspended' END", m.active)
			case 5:
				m.networks = pick([]string{"192.0.2.0/24", "2001:db8::/32"}, 2, "networks")
				b.sql("UPDATE api_keys SET allowed_ips = $1::text[]::cidr[]", m.networks)
			case 6:
				end := rapid.IntRange(0, 9).Draw(t, "end")
				m.revoked, m.quarantined, m.expired = end == 1, end == 1 || end == 2, end == 3
				b.sql(`UPDATE api_keys SET revoked_at = CASE WHEN $1 THEN now() END, quarantined_at = CASE WHEN $2 THEN now() END,
					expires_at = CASE WHEN $3 THEN now() - interval '1 s' END`, m.revoked, m.quarantined, m.expired)
			}
		}
		b.announced("SELECT 1")
		b.clock.Advance(time.Second)
		for range 5 {
			q := access.Question{
				Key: k, Environment: rapid.SampledFrom([]string{"", "", "live", "live", "test"}).Draw(t, "environment"),
				Permissions: pick(asked, 2, "asked"), IP: rapid.SampledFrom(addresses).Draw(t, "ip"),
			}
			want := m.decide(q.IP, q.Environment, q.Permissions)
			for _, at := range []*access.Service{b.Service, other} {
				v, err := at.Verify(b.t.Context(), q)
				require.NoError(t, err)
				require.Equal(t, want, v.Reason, "%+v %v", m, q)
				if v.Principal == nil {
					continue
				}
				for _, p := range asked {
					require.Equal(t, m.may(p), v.Principal.Permissions.Has(p), "%s: %+v", p, m)
				}
			}
		}
	})
}

// KEY-05: one comparison in constant time on every path, whatever the key and its state, so that a known key takes what
// an unknown one takes.
func TestKEY05_OneComparisonOnEveryPath(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	compared := b.CountComparisons()
	k := b.key([]string{"me:read"})
	wrong, test, unknown := k, k, k
	wrong.SecretHash[rand.IntN(32)] ^= 1
	test.Environment = "test"
	unknown.PublicID = "unknown"
	for _, state := range []string{
		"UPDATE api_keys SET name = 'alive'", "UPDATE api_keys SET allowed_ips = '{203.0.113.0/24}'", "UPDATE users SET status = 'suspended'",
		"UPDATE api_keys SET expires_at = now() - interval '1 s'", "UPDATE api_keys SET quarantined_at = now()", "UPDATE api_keys SET revoked_at = now()",
	} {
		b.announced(state)
		for name, key := range map[string]access.Key{"right": k, "wrong": wrong, "test": test, "unknown": unknown} {
			for range 2 { // cold and warm
				before := compared()
				_, _ = b.Key(t.Context(), key, home) // refused or not
				require.Equal(t, before+1, compared(), "%s after %s", name, state)
				_, err := b.Verify(t.Context(), access.Question{Key: key, IP: home})
				require.NoError(t, err)
				require.Equal(t, before+2, compared(), "%s after %s", name, state)
			}
		}
	}
}

package role_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
)

// key makes a living key of an account.
func (b *bench) key(user id.ID, scopes ...string) id.ID {
	b.t.Helper()
	key := id.New()
	b.sql(`INSERT INTO api_keys (id, user_id, created_by, name, environment, scopes) VALUES ($1, $2, $2, 'k', 'live', $3)`, key, user, scopes)
	return key
}

// bare makes a role by one statement, past the service, for tests that make hundreds.
func (b *bench) bare(name string, permissions []string, inherits ...string) role.Role {
	b.t.Helper()
	r := role.Role{ID: id.New(), Name: name, Permissions: permissions, Inherits: inherits}
	b.sql(`WITH made AS (
			INSERT INTO roles (id, name) VALUES ($1, $2)
		), granted AS (
			INSERT INTO role_permissions (role_id, permission) SELECT DISTINCT $1::uuid, p FROM unnest($3::text[]) p
		)
		INSERT INTO role_inherits (role_id, inherits_id) SELECT $1, id FROM roles WHERE name = ANY($4)`, r.ID, name, permissions, inherits)
	return r
}

// state is everything that an edit of a role touches.
func (b *bench) state() string {
	b.t.Helper()
	var all string
	require.NoError(b.t, b.pool.QueryRow(b.ctx, `SELECT concat(
		(SELECT json_agg(r ORDER BY id) FROM roles r), (SELECT json_agg(p ORDER BY role_id, permission) FROM role_permissions p),
		(SELECT json_agg(i ORDER BY role_id, inherits_id) FROM role_inherits i), (SELECT json_agg(a ORDER BY user_id, role_id) FROM user_roles a),
		(SELECT json_agg(json_build_array(u.id, u.version) ORDER BY id) FROM users u), (SELECT count(*) FROM audit_events))`).Scan(&all))
	return all
}

func TestPreviewsChangeNothingAndTellTheEffect(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	base := b.role("base", []string{"audit:read", "users:read"})
	heir := b.role("heir", []string{"mail:read"}, "base")
	spare := b.role("spare", []string{"users:*"})
	b.user("direct", "active", base)
	b.user("through", "suspended", heir)
	b.user("covered", "active", base, spare) // users:read stays with him
	b.user("stranger", "active", spare)
	keyed := b.user("keyed", "active", heir)
	b.key(keyed.UserID, "audit:read", "me:read")
	b.key(keyed.UserID, "*")
	b.key(keyed.UserID, "mail:read") // not touched
	b.sql("UPDATE api_keys SET revoked_at = now() WHERE id = $1", b.key(keyed.UserID, "audit:read"))
	expired := b.user("expired", "active", base)
	b.sql("UPDATE user_roles SET expires_at = now() - interval '1 s' WHERE user_id = $1", expired.UserID)
	before, heard := b.state(), slices.Clone(b.changes)

	e, err := b.PreviewUpdate(b.ctx, b.root, base.ID, role.Patch{Permissions: patch.To([]string{"audit:*"})}, nil)
	require.NoError(t, err)
	require.Equal(t, role.Effect{Gained: []string{"audit:*"}, Lost: []string{"users:read"}, Users: 4, Keys: 1}, e, "the key for audit:read keeps that")
	e, err = b.PreviewUpdate(b.ctx, b.root, base.ID, role.Patch{Permissions: patch.To([]string{"audit:read"})}, nil)
	require.NoError(t, err)
	require.Equal(t, role.Effect{Gained: []string{}, Lost: []string{"users:read"}, Users: 3, Keys: 1}, e, "users:* of another role covers it")
	e, err = b.PreviewUpdate(b.ctx, b.root, heir.ID, role.Patch{Inherits: patch.To([]string{})}, nil)
	require.NoError(t, err)
	require.Equal(t, role.Effect{Gained: []string{}, Lost: []string{"audit:read", "users:read"}, Users: 2, Keys: 2}, e)
	for _, p := range []role.Patch{{}, {Description: patch.To("x")}, {Permissions: patch.To([]string{"users:read", "audit:read"})}} {
		e, err = b.PreviewUpdate(b.ctx, b.root, base.ID, p, nil)
		require.NoError(t, err)
		require.Equal(t, role.Effect{Gained: []string{}, Lost: []string{}}, e)
	}
	e, err = b.PreviewUpdate(b.ctx, b.root, base.ID, role.Patch{RequireMFA: patch.To(true)}, nil)
	require.NoError(t, err)
	require.Equal(t, role.Effect{Gained: []string{}, Lost: []string{}, Users: 4, Keys: 3}, e, "they are kept out until they have a second factor")
	e, err = b.PreviewUpdate(b.ctx, b.root, role.UserID, role.Patch{Permissions: patch.To([]string{"me:read"})}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"me:write"}, e.Lost)
	require.EqualValues(t, 6, e.Users, "everyone but the administrator, who holds *")

	e, err = b.PreviewDelete(b.ctx, b.root, base.ID, true, nil)
	require.NoError(t, err)
	require.Equal(t, role.Effect{Gained: []string{}, Lost: []string{"audit:read", "users:read"}, Users: 4, Keys: 2}, e)
	require.Equal(t, before, b.state())
	require.Equal(t, heard, b.changes, "nothing was announced")

	// What is refused is refused alike.
	m := b.manager()
	stale := int64(999)
	for name, c := range map[string]struct {
		by      actor.Actor
		role    id.ID
		patch   role.Patch
		ifMatch *int64
		want    error
	}{
		"no permission": {b.user("plain", "active"), base.ID, role.Patch{}, nil, actor.ErrPermissionDenied},
		"unknown":       {b.root, id.New(), role.Patch{}, nil, fault.ErrNotFound},
		"above":         {m, base.ID, role.Patch{}, nil, actor.ErrEscalation},
		"stale":         {b.root, base.ID, role.Patch{}, &stale, fault.ErrPrecondition},
		"admin":         {b.root, role.AdminID, role.Patch{}, nil, role.ErrSystemRole},
		"cycle":         {b.root, base.ID, role.Patch{Inherits: patch.To([]string{"heir"})}, nil, role.ErrRoleCycle},
		"unregistered":  {b.root, base.ID, role.Patch{Permissions: patch.To([]string{"no:such"})}, nil, fault.ErrValidation},
		"too much":      {m, b.role("mine", []string{"users:read"}).ID, role.Patch{Permissions: patch.To([]string{"*"})}, nil, actor.ErrEscalation},
	} {
		_, err := b.PreviewUpdate(b.ctx, c.by, c.role, c.patch, c.ifMatch)
		require.ErrorIs(t, err, c.want, name)
		_, err = b.Update(b.ctx, c.by, c.role, c.patch, c.ifMatch)
		require.ErrorIs(t, err, c.want, name)
	}
	_, err = b.PreviewDelete(b.ctx, b.root, base.ID, false, nil)
	require.ErrorIs(t, err, role.ErrRoleInUse)
	_, err = b.PreviewDelete(b.ctx, m, base.ID, true, nil)
	require.ErrorIs(t, err, actor.ErrEscalation)
	_, err = b.PreviewDelete(b.ctx, b.root, role.UserID, true, nil)
	require.ErrorIs(t, err, role.ErrSystemRole)
	_, err = b.PreviewDelete(b.ctx, b.user("plain2", "active"), base.ID, true, nil)
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
}

// A preview says what the change then does: to every account, as its effective permissions tell before and after.
func TestPreviewsComeTrue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	names := []string{"users:read", "users:*", "audit:read", "mail:read"}
	hour := time.Now().Add(time.Hour)
	serial := 0
	rapid.Check(t, func(rt *rapid.T) {
		serial++
		var roles []role.Role
		for i := range 3 {
			var inherits []string
			if i > 0 && rapid.Bool().Draw(rt, "inherits") {
				inherits = []string{roles[i-1].Name}
			}
			own := rapid.SliceOfN(rapid.SampledFrom(names), 0, 2).Draw(rt, "grants")
			roles = append(roles, b.bare(fmt.Sprintf("p%d-%d", serial, i), own, inherits...))
		}
		var people []actor.Actor
		for i := range 3 {
			u := b.user(fmt.Sprintf("p%d-%d", serial, i), "active")
			for _, r := range roles {
				if rapid.Bool().Draw(rt, "held") {
					b.sql("INSERT INTO user_roles (user_id, role_id, expires_at) VALUES ($1, $2, $3)", u.UserID, r.ID, hour)
				}
			}
			people = append(people, b.fresh(u))
		}
		target := rapid.SampledFrom(roles).Draw(rt, "target")
		var told role.Effect
		var err error
		if rapid.Bool().Draw(rt, "delete") {
			told, err = b.PreviewDelete(b.ctx, b.root, target.ID, true, nil)
			require.NoError(rt, err)
			require.NoError(rt, b.Delete(b.ctx, b.root, target.ID, true, nil))
		} else {
			p := role.Patch{Permissions: patch.To(rapid.SliceOfN(rapid.SampledFrom(names), 0, 2).Draw(rt, "new"))}
			told, err = b.PreviewUpdate(b.ctx, b.root, target.ID, p, nil)
			require.NoError(rt, err)
			_, err = b.Update(b.ctx, b.root, target.ID, p, nil)
			require.NoError(rt, err)
		}
		seen := role.Effect{Gained: []string{}, Lost: []string{}}
		add := func(to *[]string, from, other actor.Permissions) (changed bool) {
			for _, p := range from {
				if !other.Has(p) {
					changed = true
					if !slices.Contains(*to, p) {
						*to = append(*to, p)
					}
				}
			}
			slices.Sort(*to)
			return changed
		}
		for _, u := range people {
			now := b.fresh(u).Permissions
			gained, lost := add(&seen.Gained, now, u.Permissions), add(&seen.Lost, u.Permissions, now)
			if gained || lost {
				seen.Users++
			}
		}
		require.Equal(rt, seen, told)
	})
}

package role_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
)

// check asks for one permission.
func (b *bench) check(by actor.Actor, user id.ID, permission string) role.Decision {
	b.t.Helper()
	all, err := b.Check(b.ctx, by, user, []string{permission})
	require.NoError(b.t, err)
	require.Len(b.t, all, 1)
	require.Equal(b.t, permission, all[0].Permission)
	require.Equal(b.t, all[0].Allowed, all[0].Missing == nil)
	require.Equal(b.t, all[0].Allowed, len(all[0].Via) > 0)
	return all[0]
}

func TestCheckNamesThePathOrTheMissingLink(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.CreatePermission(b.ctx, b.root, role.NewPermission{Name: "invoices:approve"}, nil)
	require.NoError(t, err)
	b.role("clerk", []string{"invoices:*"})
	b.role("office", nil, "clerk")
	lead := b.role("lead", []string{"audit:read"}, "office")
	old := b.role("old", nil, "clerk")
	u := b.user("u", "active", lead)

	require.Equal(t, []string{"lead", "office", "clerk"}, b.check(u, id.Nil, "invoices:approve").Via)
	require.Equal(t, []string{"lead", "office", "clerk"}, b.check(b.root, u.UserID, "invoices:*").Via)
	require.Equal(t, []string{"lead"}, b.check(u, u.UserID, "audit:read").Via)
	require.Equal(t, []string{"user"}, b.check(u, id.Nil, "me:read").Via)
	require.Equal(t, []string{"admin"}, b.check(b.root, id.Nil, "no:such").Via, "containment alone decides")

	m := b.check(u, id.Nil, "users:read").Missing
	require.Equal(t, &role.Missing{Link: role.LinkGrant, Roles: []string{"lead", "user"}}, m)
	require.Equal(t, role.LinkGrant, b.check(u, id.Nil, "audit:*").Missing.Link, "a wildcard is more than its parts")
	require.Equal(t, role.LinkGrant, b.check(u, id.Nil, "*").Missing.Link)
	for _, unregistered := range []string{"invoices:pay", "ghosts:*"} {
		want := unregistered == "invoices:pay" // which invoices:* contains
		d := b.check(u, id.Nil, unregistered)
		require.Equal(t, want, d.Allowed)
		if !want {
			require.Equal(t, &role.Missing{Link: role.LinkRegistration}, d.Missing)
		}
	}

	end := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	require.NoError(t, b.Assign(b.ctx, b.root, b.user("temp", "active").UserID, old.ID, &end))
	temp := actor.Actor{Kind: actor.User, UserID: b.id("SELECT user_id FROM user_roles WHERE role_id = $1", old.ID)}
	require.Equal(t, []string{"old", "clerk"}, b.check(temp, id.Nil, "invoices:approve").Via)
	b.sql("UPDATE user_roles SET expires_at = now() - interval '1 second' WHERE role_id = $1", old.ID)
	m = b.check(temp, id.Nil, "invoices:approve").Missing
	require.Equal(t, role.LinkAssignment, m.Link)
	require.Equal(t, []string{"old", "clerk"}, m.Roles)
	require.WithinDuration(t, time.Now(), *m.ExpiredAt, time.Minute)
	require.Equal(t, role.LinkGrant, b.check(temp, id.Nil, "audit:read").Missing.Link, "the expired role did not give it")

	for _, status := range []string{"suspended", "pending", "deleting"} {
		b.sql("UPDATE users SET status = $2 WHERE id = $1", u.UserID, status)
		require.Equal(t, &role.Missing{Link: role.LinkAccount, Status: status}, b.check(b.root, u.UserID, "audit:read").Missing)
	}
	b.sql("UPDATE users SET status = 'active' WHERE id = $1", u.UserID)
	b.sql("UPDATE roles SET require_mfa = true WHERE name = 'office'")
	require.Equal(t, &role.Missing{Link: role.LinkSecondFactor, Roles: []string{"lead", "office"}}, b.check(b.root, u.UserID, "me:read").Missing)
	b.sql("UPDATE users SET mfa_enabled = true WHERE id = $1", u.UserID)
	require.True(t, b.check(b.root, u.UserID, "me:read").Allowed)
}

func (b *bench) id(sql string, args ...any) (found id.ID) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.ctx, sql, args...).Scan(&found))
	return found
}

func TestCheckAnswersAKeyForItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	desk := b.role("desk", []string{"users:*"})
	u := b.user("u", "active", desk)
	key := actor.Actor{Kind: actor.APIKey, UserID: u.UserID, KeyID: id.New(), Permissions: actor.Permissions{actor.All}}
	b.sql(`INSERT INTO api_keys (id, user_id, created_by, name, environment, scopes)
		VALUES ($1, $2, $2, 'k', 'live', '{users:read,audit:read,me:*}')`, key.KeyID, key.UserID)
	for _, user := range []id.ID{id.Nil, u.UserID} {
		require.Equal(t, []string{"desk"}, b.check(key, user, "users:read").Via)
		require.Equal(t, role.LinkScope, b.check(key, user, "users:write").Missing.Link)
		require.Equal(t, role.LinkGrant, b.check(key, user, "audit:read").Missing.Link, "in its scopes, but not its owner's")
	}
	require.True(t, b.check(b.root, u.UserID, "users:write").Allowed, "others are told of the account")
	gone := key
	gone.KeyID = id.New()
	require.Equal(t, role.LinkScope, b.check(gone, id.Nil, "users:read").Missing.Link)
}

func TestCheckRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.user("u", "active")
	for _, other := range []id.ID{b.root.UserID, id.New()} {
		_, err := b.Check(b.ctx, u, other, []string{"me:read"})
		require.ErrorIs(t, err, actor.ErrPermissionDenied, "alike for every id")
	}
	_, err := b.Check(b.ctx, b.root, id.New(), []string{"me:read"})
	require.ErrorIs(t, err, fault.ErrNotFound)
	_, err = b.Check(b.ctx, u, id.Nil, nil)
	require.Equal(t, []string{"/permissions required"}, fields(t, err))
	_, err = b.Check(b.ctx, u, id.Nil, strings.Split(strings.Repeat("me:read ", 100)+"me:read", " "))
	require.Equal(t, []string{"/permissions too_many"}, fields(t, err))
	_, err = b.Check(b.ctx, u, id.Nil, []string{"me:read", "*:read", "me", "", "me:read:x", "Me:read"})
	require.Len(t, fields(t, err), 5)
}

// What a check says is what the definition of effective permissions says, and its path is one.
func TestCheckAgreesWithWhatIsEffective(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	names := []string{"users:read", "users:write", "audit:read", "users:*", "me:read"}
	serial := 0
	rapid.Check(t, func(rt *rapid.T) {
		serial++
		var roles []role.Role
		for i := range 4 {
			var inherits []string
			for _, r := range roles {
				if rapid.Bool().Draw(rt, "inherits") {
					inherits = append(inherits, r.Name)
				}
			}
			own := rapid.SliceOfN(rapid.SampledFrom(names), 0, 2).Draw(rt, "grants")
			roles = append(roles, b.bare(fmt.Sprintf("c%d-%d", serial, i), own, inherits...))
		}
		var held []role.Role
		for _, r := range roles {
			if rapid.Bool().Draw(rt, "held") {
				held = append(held, r)
			}
		}
		u := b.user(fmt.Sprintf("c%d", serial), "active", held...)
		byName := map[string]role.Role{"user": {Name: "user", Permissions: []string{"me:read", "me:write"}}}
		for _, r := range roles {
			byName[r.Name] = r
		}
		asked := append([]string{"users:delete", "*"}, names...)
		decisions, err := b.Check(b.ctx, u, id.Nil, asked)
		require.NoError(rt, err)
		for i, d := range decisions {
			p := asked[i]
			require.Equal(rt, u.Permissions.Has(p), d.Allowed, p)
			if !d.Allowed {
				continue
			}
			for i := 1; i < len(d.Via); i++ {
				require.Contains(rt, byName[d.Via[i-1]].Inherits, d.Via[i])
			}
			require.True(rt, actor.Permissions(byName[d.Via[len(d.Via)-1]].Permissions).Has(p))
		}
	})
}

package role_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// manager holds everything that handling people needs, and no more.
func (b *bench) manager() actor.Actor {
	r := b.role("manager", []string{"users:read", "users:write", "roles:read", "roles:write", "roles:assign"})
	return b.user("manager", "active", r)
}

func TestAZ03_NobodyGivesMoreThanHeHas(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.manager()
	above := b.role("above", []string{"users:read", "audit:read"})
	hidden := b.role("hidden", []string{"users:read"}, "above") // more than it shows
	wild := b.role("wild", []string{"users:*"})
	within := b.role("within", []string{"users:read"})
	other := b.user("other", "active")

	for name, target := range map[string]id.ID{"self": m.UserID, "other": other.UserID} {
		for _, r := range []id.ID{role.AdminID, above.ID, hidden.ID, wild.ID} {
			require.ErrorIs(t, b.Assign(b.ctx, m, target, r, nil), actor.ErrEscalation, name)
		}
		require.NoError(t, b.Assign(b.ctx, m, target, within.ID, nil))
	}
	for name, n := range map[string]role.New{
		"own grant": {Name: "x", Permissions: []string{"audit:read"}},
		"wildcard":  {Name: "x", Permissions: []string{"users:*"}},
		"all":       {Name: "x", Permissions: []string{"*"}},
		"inherited": {Name: "x", Inherits: []string{"hidden"}},
		"admin":     {Name: "x", Inherits: []string{"admin"}},
	} {
		_, err := b.Create(b.ctx, m, n, nil)
		require.ErrorIs(t, err, actor.ErrEscalation, name)
	}
	mine, err := b.Create(b.ctx, m, role.New{Name: "mine", Permissions: []string{"users:read"}}, nil)
	require.NoError(t, err)
	for name, p := range map[string]role.Patch{
		"own grant": {Permissions: patch.To([]string{"audit:read"})},
		"inherited": {Inherits: patch.To([]string{"above"})},
		"deeper":    {Inherits: patch.To([]string{"hidden"})},
	} {
		_, err := b.Update(b.ctx, m, mine.ID, p, nil)
		require.ErrorIs(t, err, actor.ErrEscalation, name)
	}
	// A role that holds more than its editor is not his to weaken either, shown or hidden.
	for _, r := range []role.Role{above, hidden} {
		_, err := b.Update(b.ctx, m, r.ID, role.Patch{Description: patch.To("x")}, nil)
		require.ErrorIs(t, err, actor.ErrEscalation)
		require.ErrorIs(t, b.Delete(b.ctx, m, r.ID, true, nil), actor.ErrEscalation)
	}
	require.Zero(t, b.count("SELECT count(*) FROM user_roles WHERE role_id = ANY($1)", []id.ID{above.ID, hidden.ID, wild.ID}))
	require.Equal(t, 1, b.count("SELECT count(*) FROM user_roles WHERE role_id = $1", role.AdminID))

	for _, names := range [][]string{{"above"}, {"within", "hidden"}, {"admin"}} {
		err := b.inTx(func(ctx context.Context, tx postgres.Tx) error {
			return b.GrantNames(ctx, tx, m, other.UserID, "/roles", names)
		})
		require.ErrorIs(t, err, actor.ErrEscalation)
	}
	err = b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		return b.GrantNames(ctx, tx, m, other.UserID, "/roles", []string{"within", "user", "ghost"})
	})
	require.Equal(t, []string{"/roles/2 unknown_role"}, fields(t, err))
	require.NoError(t, b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		return b.GrantNames(ctx, tx, m, other.UserID, "/roles", []string{"within", "user", "within"})
	}))
}

func TestAZ03_NobodyTouchesWhoIsAbove(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	m := b.manager()
	within := b.role("within", []string{"users:read"})
	_, err := b.CreatePermission(b.ctx, b.root, role.NewPermission{Name: "orders:read"}, nil)
	require.NoError(t, err)
	clerk := b.user("clerk", "active", b.role("clerk", []string{"orders:*"}))
	auditor := b.user("auditor", "suspended", b.role("auditor", []string{"audit:read"}), within)
	wild := b.user("wild", "pending", b.role("wild", []string{"profiles:*"}), within)

	for name, c := range map[string]struct {
		target         actor.Actor
		touch, control bool
	}{
		"self":                            {m, true, true},
		"plain user":                      {b.user("plain", "active"), true, true},
		"another program's permissions":   {clerk, true, false},
		"built-in one that he lacks":      {auditor, false, false},
		"wildcard over built-in ones":     {wild, false, false},
		"administrator":                   {b.root, false, false},
		"nobody of this id: nothing held": {actor.Actor{UserID: id.New()}, true, true},
	} {
		require.NoError(t, b.inTx(func(ctx context.Context, tx postgres.Tx) error {
			touch, control := b.CheckTarget(ctx, tx, m, c.target.UserID), b.CheckControl(ctx, tx, m, c.target.UserID)
			require.Equal(t, c.touch, touch == nil, name)
			require.Equal(t, c.control, control == nil, name)
			for _, err := range []error{touch, control} {
				if err != nil {
					require.ErrorIs(t, err, actor.ErrEscalation)
				}
			}
			require.NoError(t, b.CheckControl(ctx, tx, actor.Service("test"), c.target.UserID))
			return nil
		}))
	}
	for _, target := range []actor.Actor{auditor, wild} {
		require.ErrorIs(t, b.Assign(b.ctx, m, target.UserID, within.ID, nil), actor.ErrEscalation)
		require.ErrorIs(t, b.Unassign(b.ctx, m, target.UserID, within.ID), actor.ErrEscalation)
	}
	require.ErrorIs(t, b.Unassign(b.ctx, m, b.root.UserID, role.AdminID), actor.ErrEscalation)
	// What is outside his own set he cannot take from anybody.
	held, err := b.RolesOf(b.ctx, b.root, clerk.UserID)
	require.NoError(t, err)
	require.Equal(t, "clerk", held[0].Name)
	require.ErrorIs(t, b.Unassign(b.ctx, m, clerk.UserID, held[0].RoleID), actor.ErrEscalation)
}

func TestNoGrantOutlivesTheGrantorsHold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	assigner := b.role("assigner", []string{"roles:assign", "roles:write"})
	reader := b.role("reader", []string{"audit:read"})
	m := b.user("deputy", "active", assigner)
	other := b.user("other", "active")
	hour, day := time.Now().Add(time.Hour), time.Now().Add(24*time.Hour)
	require.NoError(t, b.Assign(b.ctx, b.root, m.UserID, reader.ID, &hour))
	m = b.fresh(m)
	require.True(t, m.May("audit:read"))

	require.ErrorIs(t, b.Assign(b.ctx, m, other.UserID, reader.ID, nil), actor.ErrEscalation)
	require.ErrorIs(t, b.Assign(b.ctx, m, other.UserID, reader.ID, &day), actor.ErrEscalation)
	require.ErrorIs(t, b.Assign(b.ctx, m, m.UserID, reader.ID, &day), actor.ErrEscalation, "nor his own")
	half := time.Now().Add(30 * time.Minute)
	require.NoError(t, b.Assign(b.ctx, m, other.UserID, reader.ID, &half))
	require.ErrorIs(t, b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		return b.GrantNames(ctx, tx, m, other.UserID, "/roles", []string{"reader"})
	}), actor.ErrEscalation)

	// Into a role that people hold goes only what he holds for good; a new one that nobody holds may have it.
	_, err := b.Update(b.ctx, m, assigner.ID, role.Patch{Inherits: patch.To([]string{"reader"})}, nil)
	require.ErrorIs(t, err, actor.ErrEscalation)
	_, err = b.Create(b.ctx, m, role.New{Name: "new", Permissions: []string{"audit:read"}}, nil)
	require.NoError(t, err)

	until, err := b.Effective(b.ctx, b.pool, m.UserID, &day)
	require.NoError(t, err)
	require.False(t, until.Has("audit:read"))
	b.sql("UPDATE user_roles SET expires_at = now() - interval '1 second' WHERE role_id = $1", reader.ID)
	require.False(t, b.fresh(m).May("audit:read"), "what has expired is not held")
}

func TestAPIKeysStayBelowTheirOwnersAndTouchNoRoles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	key := actor.Actor{Kind: actor.APIKey, UserID: b.root.UserID, KeyID: id.New(), Permissions: actor.Permissions{actor.All}}
	b.sql(`INSERT INTO api_keys (id, user_id, created_by, name, environment, scopes) VALUES ($1, $2, $2, 'k', 'live', '{users:*}')`, key.KeyID, key.UserID)
	auditor := b.user("auditor", "active", b.role("auditor", []string{"audit:read"}))
	require.NoError(t, b.inTx(func(ctx context.Context, tx postgres.Tx) error {
		require.NoError(t, b.CheckOwn(ctx, tx, key, actor.Permissions{"users:write"}))
		require.ErrorIs(t, b.CheckOwn(ctx, tx, key, actor.Permissions{"audit:read"}), actor.ErrEscalation, "whatever the cache says")
		require.ErrorIs(t, b.CheckTarget(ctx, tx, key, auditor.UserID), actor.ErrEscalation)
		require.ErrorIs(t, b.CheckTarget(ctx, tx, key, key.UserID), actor.ErrEscalation, "its owner is above it")
		require.ErrorIs(t, b.GrantNames(ctx, tx, key, auditor.UserID, "/roles", []string{"auditor"}), actor.ErrSessionRequired)
		return nil
	}))
	require.ErrorIs(t, b.Assign(b.ctx, key, auditor.UserID, role.AdminID, nil), actor.ErrSessionRequired)
	require.ErrorIs(t, b.Unassign(b.ctx, key, auditor.UserID, role.AdminID), actor.ErrSessionRequired)
	mine, err := b.MyPermissions(b.ctx, actor.Actor{
		Kind: actor.APIKey, UserID: auditor.UserID, Permissions: actor.Permissions{"me:read", "audit:read"},
	})
	require.NoError(t, err)
	require.Equal(t, []role.Source{
		{Permission: "audit:read", Roles: []string{"auditor"}}, {Permission: "me:read", Roles: []string{"user"}},
	}, mine)
}

func TestAssignments(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	base := b.role("base", []string{"users:read"})
	desk := b.role("desk", []string{"audit:read"}, "base")
	u := b.user("u", "active")
	require.ErrorIs(t, b.Assign(b.ctx, b.root, id.New(), desk.ID, nil), fault.ErrNotFound)
	require.ErrorIs(t, b.Assign(b.ctx, b.root, u.UserID, id.New(), nil), fault.ErrNotFound)
	require.ErrorIs(t, b.Unassign(b.ctx, b.root, u.UserID, desk.ID), fault.ErrNotFound)
	past := time.Now().Add(-time.Second)
	require.Equal(t, []string{"/expires_at in_the_past"}, fields(t, b.Assign(b.ctx, b.root, u.UserID, desk.ID, &past)))

	tomorrow := time.Now().Add(24 * time.Hour)
	for range 2 { // again: nothing happens
		require.NoError(t, b.Assign(b.ctx, b.root, u.UserID, desk.ID, &tomorrow))
	}
	require.Equal(t, []string{u.UserID.String()}, b.changes)
	held, err := b.RolesOf(b.ctx, b.root, u.UserID)
	require.NoError(t, err)
	require.Len(t, held, 2)
	require.Equal(t, "desk", held[0].Name)
	require.WithinDuration(t, tomorrow, *held[0].ExpiresAt, time.Millisecond)
	require.True(t, held[1].Implied)
	sources, err := b.PermissionsOf(b.ctx, b.root, u.UserID)
	require.NoError(t, err)
	require.Equal(t, []role.Source{
		{Permission: "audit:read", Roles: []string{"desk"}},
		{Permission: "me:read", Roles: []string{"user"}},
		{Permission: "me:write", Roles: []string{"user"}},
		{Permission: "users:read", Roles: []string{"base", "desk"}},
	}, sources)

	require.NoError(t, b.Assign(b.ctx, b.root, u.UserID, base.ID, nil))
	require.NoError(t, b.Assign(b.ctx, b.root, u.UserID, desk.ID, nil))
	require.NoError(t, b.Unassign(b.ctx, b.root, u.UserID, desk.ID))
	require.ErrorIs(t, b.Unassign(b.ctx, b.root, u.UserID, desk.ID), fault.ErrNotFound)
	require.Equal(t, 3, b.count("SELECT count(*) FROM audit_events WHERE action = 'role.assign' AND target_id = $1", u.UserID))
	require.Equal(t, 1, b.count("SELECT count(*) FROM audit_events WHERE action = 'role.unassign' AND target_id = $1", u.UserID))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM audit_personal
		WHERE subject_id = $1 AND subject_role = 'target' AND changes @> '{"role": {"from": "desk", "to": null}}'`, u.UserID))

	b.sql("UPDATE user_roles SET expires_at = now() - interval '1 s' WHERE user_id = $1", u.UserID)
	require.ErrorIs(t, b.Unassign(b.ctx, b.root, u.UserID, base.ID), fault.ErrNotFound, "what has expired is not held")
	pending := b.user("pending", "pending")
	held, err = b.RolesOf(b.ctx, b.root, pending.UserID)
	require.NoError(t, err)
	require.Empty(t, held)
	_, err = b.RolesOf(b.ctx, b.root, id.New())
	require.ErrorIs(t, err, fault.ErrNotFound)
	_, err = b.PermissionsOf(b.ctx, b.root, id.New())
	require.ErrorIs(t, err, fault.ErrNotFound)
}

func TestAZ06_TheLastAdministratorStays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	soon := time.Now().Add(time.Hour)
	require.ErrorIs(t, b.Unassign(b.ctx, b.root, b.root.UserID, role.AdminID), role.ErrLastAdmin)
	require.ErrorIs(t, b.Assign(b.ctx, b.root, b.root.UserID, role.AdminID, &soon), role.ErrLastAdmin)

	// None of these can stand in for him.
	inheriting := b.role("deputy", nil, "admin")
	b.user("inheriting", "active", inheriting)
	for name, change := range map[string]string{
		"suspended":    "status = 'suspended'",
		"unverified":   "email_verified = false",
		"passwordless": "password_hash = NULL",
		"service":      "kind = 'service', email = NULL, email_norm = NULL, display_name = 's'",
	} {
		u := b.user(name, "active")
		require.NoError(t, b.Assign(b.ctx, b.root, u.UserID, role.AdminID, nil))
		b.sql("UPDATE users SET "+change+" WHERE id = $1", u.UserID)
	}
	temporary := b.user("temporary", "active")
	require.NoError(t, b.Assign(b.ctx, b.root, temporary.UserID, role.AdminID, &soon))
	require.ErrorIs(t, b.Unassign(b.ctx, b.root, b.root.UserID, role.AdminID), role.ErrLastAdmin)
	require.Equal(t, 1, b.count("SELECT count(*) FROM user_roles WHERE user_id = $1 AND expires_at IS NULL", b.root.UserID))

	second := b.user("second", "active")
	require.NoError(t, b.Assign(b.ctx, b.root, second.UserID, role.AdminID, nil))
	require.NoError(t, b.Unassign(b.ctx, b.root, b.root.UserID, role.AdminID))
}

func TestAZ06_AdministratorsCannotRemoveEachOtherAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	admins := []actor.Actor{b.root}
	for i := range 3 {
		a := b.user(fmt.Sprintf("admin%d", i), "active")
		require.NoError(t, b.Assign(b.ctx, b.root, a.UserID, role.AdminID, nil))
		admins = append(admins, b.fresh(a))
	}
	errs := make([]error, len(admins))
	var wg sync.WaitGroup
	for i, a := range admins {
		wg.Go(func() { errs[i] = b.Unassign(b.ctx, a, admins[(i+1)%len(admins)].UserID, role.AdminID) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil { // the last one, or one who had lost the role himself by then
			require.True(t, fault.As(err) != nil && (fault.As(err).Code == "last_admin" || fault.As(err).Code == "privilege_escalation"), "%v", err)
		}
	}
	require.Positive(t, b.count("SELECT count(*) FROM user_roles WHERE role_id = $1", role.AdminID))
}

// Whatever sequence of acts a manager tries, neither he nor anybody he touches ends with more than he had.
func TestAZ03_NoSequenceOfActsEscalates(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	names := []string{"users:read", "users:write", "audit:read", "users:*", "*"}
	serial := 0
	rapid.Check(t, func(rt *rapid.T) {
		serial++
		var roles []role.Role
		for i := range 3 {
			own := rapid.SliceOfN(rapid.SampledFrom(names), 0, 2).Draw(rt, "grants")
			var inherits []string
			if i > 0 && rapid.Bool().Draw(rt, "inherits") {
				inherits = []string{roles[i-1].Name}
			}
			roles = append(roles, b.role(fmt.Sprintf("r%d-%d", serial, i), own, inherits...))
		}
		m := b.user(fmt.Sprintf("m%d", serial), "active", b.role(fmt.Sprintf("m%d", serial), []string{"roles:write", "roles:assign", "users:read"}))
		other := b.user(fmt.Sprintf("o%d", serial), "active")
		ceiling := m.Permissions
		for step := range rapid.IntRange(1, 6).Draw(rt, "steps") {
			r := rapid.SampledFrom(roles).Draw(rt, "role")
			switch rapid.IntRange(0, 3).Draw(rt, "act") {
			case 0:
				_ = b.Assign(b.ctx, m, rapid.SampledFrom([]id.ID{m.UserID, other.UserID}).Draw(rt, "target"), r.ID, nil)
			case 1:
				parent := rapid.SampledFrom(roles).Draw(rt, "parent").Name
				_, _ = b.Update(b.ctx, m, r.ID, role.Patch{Inherits: patch.To([]string{parent})}, nil)
			case 2:
				_, _ = b.Update(b.ctx, m, r.ID, role.Patch{Permissions: patch.To([]string{rapid.SampledFrom(names).Draw(rt, "grant")})}, nil)
			case 3:
				made, err := b.Create(b.ctx, m, role.New{Name: fmt.Sprintf("n%d-%d", serial, step), Inherits: []string{r.Name}}, nil)
				if err == nil {
					roles = append(roles, made)
				}
			}
			for _, who := range []actor.Actor{m, other} {
				if got := b.fresh(who).Permissions; !ceiling.Contains(got) {
					rt.Fatalf("step %d: %s holds %v, the manager had %v", step, who.Label, got, ceiling)
				}
			}
		}
	})
}

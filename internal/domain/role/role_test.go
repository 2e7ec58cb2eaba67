package role_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// bench is a role service over a database of its own.
type bench struct {
	*role.Service
	t    *testing.T
	ctx  context.Context
	pool *postgres.Pool
	root actor.Actor // an administrator

	mu      sync.Mutex
	changes []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), MaxConns: 8, ExecMode: "cache_statement"}, log)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := &bench{t: t, ctx: t.Context(), pool: pool}
	changes := actor.NewChanges(postgres.NewBus(log))
	changes.Subscribe(func(user id.ID) { b.heard(user.String()) }, func() { b.heard("*") })
	b.Service = role.NewService(pool, changes)
	b.root = b.user("root", "active")
	b.sql("INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)", b.root.UserID, role.AdminID)
	b.root.Permissions = actor.Permissions{actor.All}
	return b
}

func (b *bench) heard(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes = append(b.changes, what)
}

func (b *bench) sql(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

// user makes a human with a verified address and a password, who holds these roles.
func (b *bench) user(name, status string, roles ...role.Role) actor.Actor {
	b.t.Helper()
	user := id.New()
	b.sql(`INSERT INTO users (id, email, email_norm, email_verified, status, password_hash)
		VALUES ($1, $2, $2, true, $3, 'hash')`, user, name+"@example.test", status)
	for _, r := range roles {
		b.sql("INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)", user, r.ID)
	}
	a := actor.Actor{Kind: actor.User, UserID: user, Label: name}
	return b.fresh(a)
}

// fresh gives an actor the permissions that it has now.
func (b *bench) fresh(a actor.Actor) actor.Actor {
	b.t.Helper()
	p, err := b.Effective(b.ctx, b.pool, a.UserID, nil)
	require.NoError(b.t, err)
	a.Permissions = p
	return a
}

func (b *bench) role(name string, permissions []string, inherits ...string) role.Role {
	b.t.Helper()
	r, err := b.Create(b.ctx, b.root, role.New{Name: name, Permissions: permissions, Inherits: inherits}, nil)
	require.NoError(b.t, err)
	return r
}

func (b *bench) inTx(fn func(ctx context.Context, tx postgres.Tx) error) error {
	return b.pool.InTx(b.ctx, fn)
}

func fields(t *testing.T, err error) []string {
	t.Helper()
	require.ErrorIs(t, err, fault.ErrValidation)
	var all []string
	for _, f := range fault.As(err).Fields {
		all = append(all, f.Pointer+" "+f.Code)
	}
	return all
}

func TestBuiltinsAreTheMigrations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rows, err := b.pool.Query(b.ctx, `SELECT name FROM permissions WHERE system ORDER BY name COLLATE "C"`)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, names, role.Builtin)
	for want, known := range map[string]id.ID{role.AdminName: role.AdminID, role.UserName: role.UserID} {
		r, err := b.Get(b.ctx, b.root, known)
		require.NoError(t, err)
		require.Equal(t, want, r.Name)
		require.True(t, r.System)
		text, err := os.ReadFile("../../../migrations/00004_roles.sql")
		require.NoError(t, err)
		require.Regexp(t, regexp.QuoteMeta(known.String()), string(text))
	}
}

func TestRoleRoundTrip(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.role("viewer", []string{"users:read"})
	about := "Runs the desk"
	r, err := b.Create(b.ctx, b.root, role.New{
		Name: "desk", Description: &about, Permissions: []string{"users:write", "audit:read", "audit:read"},
		Inherits: []string{"viewer"}, RequireMFA: true,
	}, func(ctx context.Context, tx postgres.Tx, r role.Role) error {
		var n int
		require.NoError(t, tx.QueryRow(ctx, "SELECT count(*) FROM audit_events WHERE target_id = $1", r.ID).Scan(&n))
		require.Equal(t, 1, n, "the answer is kept last")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"audit:read", "users:write"}, r.Permissions)
	require.Equal(t, []string{"viewer"}, r.Inherits)
	got, err := b.Get(b.ctx, b.root, r.ID)
	require.NoError(t, err)
	require.Equal(t, r, got)

	_, err = b.Create(b.ctx, b.root, role.New{Name: "desk"}, nil)
	require.ErrorIs(t, err, role.ErrRoleExists)

	// A patch of what is already so changes nothing.
	same, err := b.Update(b.ctx, b.root, r.ID, role.Patch{RequireMFA: patch.To(true), Permissions: patch.To([]string{"users:write", "audit:read"})}, nil)
	require.NoError(t, err)
	require.Equal(t, r, same)
	require.Empty(t, b.changes)

	changed, err := b.Update(b.ctx, b.root, r.ID, role.Patch{
		Description: patch.Field[string]{Set: true, Null: true}, Permissions: patch.To([]string{"users:*"}),
		Inherits: patch.Field[[]string]{Set: true, Null: true},
	}, &r.Version)
	require.NoError(t, err)
	require.Nil(t, changed.Description)
	require.Equal(t, []string{"users:*"}, changed.Permissions)
	require.Empty(t, changed.Inherits)
	require.True(t, changed.RequireMFA, "absent stays")
	require.Equal(t, r.Version+1, changed.Version)
	require.Equal(t, []string{"*"}, b.changes)

	_, err = b.Update(b.ctx, b.root, r.ID, role.Patch{RequireMFA: patch.To(false)}, &r.Version)
	require.ErrorIs(t, err, fault.ErrPrecondition)
	require.ErrorIs(t, b.Delete(b.ctx, b.root, r.ID, false, &r.Version), fault.ErrPrecondition)
	require.NoError(t, b.Delete(b.ctx, b.root, r.ID, false, &changed.Version))
	_, err = b.Get(b.ctx, b.root, r.ID)
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.Equal(t, 3, b.count("SELECT count(*) FROM audit_events WHERE target_id = $1 AND outcome = 'success'", r.ID))
}

func TestUnknownNamesAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.Create(b.ctx, b.root, role.New{
		Name: "r", Permissions: []string{"*:read", "users:read", "users:fly", "ghosts:*", "users:*", "*", "", "users"},
		Inherits: []string{"nobody", "user"},
	}, nil)
	require.Equal(t, []string{
		"/permissions/0 unknown_permission", "/permissions/2 unknown_permission", "/permissions/3 unknown_permission",
		"/permissions/6 unknown_permission", "/permissions/7 unknown_permission", "/inherits/0 unknown_role",
	}, fields(t, err))
	for _, name := range []string{"", "A", "1a", "a b", "-a", "a\n", string(make([]byte, 64))} {
		_, err := b.Create(b.ctx, b.root, role.New{Name: name}, nil)
		require.Equal(t, []string{"/name pattern"}, fields(t, err))
	}
}

func TestBuiltinRolesAreGuarded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.Update(b.ctx, b.root, role.AdminID, role.Patch{Permissions: patch.To([]string{"*"})}, nil)
	require.ErrorIs(t, err, role.ErrSystemRole)
	for _, system := range []id.ID{role.AdminID, role.UserID} {
		require.ErrorIs(t, b.Delete(b.ctx, b.root, system, true, nil), role.ErrSystemRole)
	}
	for _, err := range []error{
		b.Assign(b.ctx, b.root, b.root.UserID, role.UserID, nil), b.Unassign(b.ctx, b.root, b.root.UserID, role.UserID),
	} {
		require.ErrorIs(t, err, role.ErrSystemRole)
	}
	// What everyone may do is the operator's to say.
	r, err := b.Update(b.ctx, b.root, role.UserID, role.Patch{Permissions: patch.To([]string{"me:read"})}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"me:read"}, r.Permissions)
	require.Equal(t, int64(1), r.UserCount)
}

func TestNoCycles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.role("a", nil)
	b.role("b", nil, "a")
	c := b.role("c", nil, "b")
	for _, parent := range []string{"a", "b", "c"} {
		_, err := b.Update(b.ctx, b.root, a.ID, role.Patch{Inherits: patch.To([]string{parent})}, nil)
		require.ErrorIs(t, err, role.ErrRoleCycle, parent)
	}
	_, err := b.Update(b.ctx, b.root, c.ID, role.Patch{Inherits: patch.To([]string{"a", "b"})}, nil)
	require.NoError(t, err, "two ways to one role are no cycle")
}

func TestConcurrentEditsMakeNoCycle(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var roles []role.Role
	for i := range 4 {
		roles = append(roles, b.role(fmt.Sprintf("r%d", i), nil))
	}
	for range 5 {
		errs := make([]error, len(roles))
		var wg sync.WaitGroup
		for i := range roles {
			wg.Go(func() {
				next := roles[(i+1)%len(roles)].Name
				_, errs[i] = b.Update(b.ctx, b.root, roles[i].ID, role.Patch{Inherits: patch.To([]string{next})}, nil)
			})
		}
		wg.Wait()
		refused := 0
		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, role.ErrRoleCycle)
				refused++
			}
		}
		require.Equal(t, 1, refused, "the edit that would close the circle")
		for _, r := range roles {
			_, err := b.Update(b.ctx, b.root, r.ID, role.Patch{Inherits: patch.To([]string{})}, nil)
			require.NoError(t, err)
		}
	}
}

func TestDeleteOfARoleInUse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	base := b.role("base", []string{"users:read"})
	heir := b.role("heir", nil, "base")
	holder := b.user("holder", "active", base)
	require.ErrorIs(t, b.Delete(b.ctx, b.root, base.ID, false, nil), role.ErrRoleInUse)
	b.sql("DELETE FROM user_roles WHERE role_id = $1", base.ID)
	require.ErrorIs(t, b.Delete(b.ctx, b.root, base.ID, false, nil), role.ErrRoleInUse, "inherited")
	b.sql("INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)", holder.UserID, base.ID)
	before := b.count("SELECT version FROM users WHERE id = $1", holder.UserID)

	require.NoError(t, b.Delete(b.ctx, b.root, base.ID, true, nil))
	require.Equal(t, actor.Permissions{"me:read", "me:write"}, b.fresh(holder).Permissions)
	require.Greater(t, b.count("SELECT version FROM users WHERE id = $1", holder.UserID), before)
	after, err := b.Get(b.ctx, b.root, heir.ID)
	require.NoError(t, err)
	require.Empty(t, after.Inherits)
	require.Equal(t, heir.Version+1, after.Version)

	expired := b.role("expired", nil)
	b.sql("INSERT INTO user_roles (user_id, role_id, expires_at) VALUES ($1, $2, now() - interval '1 s')", holder.UserID, expired.ID)
	require.NoError(t, b.Delete(b.ctx, b.root, expired.ID, false, nil), "what has expired is no use")
}

func TestPermissionLifeCycle(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, name := range []string{"*", "orders:*", "*:read", "orders", "Orders:read", "orders:read:x", "orders:read\n", ":"} {
		_, err := b.CreatePermission(b.ctx, b.root, role.NewPermission{Name: name}, nil)
		require.Equal(t, []string{"/name pattern"}, fields(t, err), name)
	}
	p, err := b.CreatePermission(b.ctx, b.root, role.NewPermission{Name: "orders:read"}, nil)
	require.NoError(t, err)
	_, err = b.CreatePermission(b.ctx, b.root, role.NewPermission{Name: "orders:read"}, nil)
	require.ErrorIs(t, err, role.ErrPermissionExists)
	listed, err := b.Permissions(b.ctx, b.root, role.PermissionFilter{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, p, listed[0], "newest first")
	rest, err := b.Permissions(b.ctx, b.root, role.PermissionFilter{
		Limit: 100, After: &role.PermissionPosition{CreatedAt: listed[1].CreatedAt, Name: listed[1].Name},
	})
	require.NoError(t, err)
	require.Len(t, rest, len(role.Builtin)-1)

	exact, wild := b.role("exact", []string{"orders:read"}), b.role("wild", []string{"orders:*"})
	require.ErrorIs(t, b.DeletePermission(b.ctx, b.root, "orders:read"), role.ErrPermissionInUse)
	require.NoError(t, b.Delete(b.ctx, b.root, exact.ID, false, nil))
	require.ErrorIs(t, b.DeletePermission(b.ctx, b.root, "orders:read"), role.ErrPermissionInUse, "the last one under orders:*")
	require.NoError(t, b.Delete(b.ctx, b.root, wild.ID, false, nil))
	key := id.New()
	b.sql(`INSERT INTO api_keys (id, user_id, created_by, name, environment, scopes) VALUES ($1, $2, $2, 'k', 'live', '{orders:read}')`, key, b.root.UserID)
	require.ErrorIs(t, b.DeletePermission(b.ctx, b.root, "orders:read"), role.ErrPermissionInUse, "a key's scope")
	b.sql("UPDATE api_keys SET revoked_at = now() WHERE id = $1", key)
	require.NoError(t, b.DeletePermission(b.ctx, b.root, "orders:read"))
	require.ErrorIs(t, b.DeletePermission(b.ctx, b.root, "orders:read"), fault.ErrNotFound)
	require.ErrorIs(t, b.DeletePermission(b.ctx, b.root, "users:read"), role.ErrPermissionInUse)
}

func TestPermissionIsNotGrantedWhileItIsDeleted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 10 {
		name := fmt.Sprintf("p%d:use", i)
		_, err := b.CreatePermission(b.ctx, b.root, role.NewPermission{Name: name}, nil)
		require.NoError(t, err)
		var granted, deleted error
		var wg sync.WaitGroup
		wg.Go(func() {
			_, granted = b.Create(b.ctx, b.root, role.New{Name: fmt.Sprintf("r%d", i), Permissions: []string{name}}, nil)
		})
		wg.Go(func() { deleted = b.DeletePermission(b.ctx, b.root, name) })
		wg.Wait()
		require.NotEqual(t, granted == nil, deleted == nil, "one of both: %v, %v", granted, deleted)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	team := b.role("team", nil)
	for i := range 6 {
		b.user(fmt.Sprintf("u%d", i), []string{"active", "pending", "suspended"}[i%3], team)
	}
	for target, want := range map[id.ID]int{team.ID: 6, role.UserID: 5} { // the pending two are no holders of `user`
		for _, ascending := range []bool{false, true} {
			var seen []id.ID
			f := role.Filter{Limit: 2, Ascending: ascending}
			for {
				holders, err := b.Users(b.ctx, b.root, target, f)
				require.NoError(t, err)
				if len(holders) == 0 {
					break
				}
				for _, h := range holders {
					seen = append(seen, h.UserID)
				}
				last := holders[len(holders)-1]
				f.After = &page.Position{Time: last.CreatedAt, ID: last.UserID}
			}
			require.Len(t, seen, want)
			slices.SortFunc(seen, func(a, b id.ID) int { return slices.Compare(a[:], b[:]) })
			require.Len(t, slices.Compact(seen), want, "each exactly once")
		}
	}
	_, err := b.Users(b.ctx, b.root, id.New(), role.Filter{Limit: 2})
	require.ErrorIs(t, err, fault.ErrNotFound)
	roles, err := b.List(b.ctx, b.root, role.Filter{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, "team", roles[0].Name)
	require.Equal(t, int64(6), roles[0].UserCount)
	require.Len(t, roles, 3)
}

func TestEveryCallNeedsItsPermission(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nobody := b.user("nobody", "active")
	_, list := b.List(b.ctx, nobody, role.Filter{Limit: 1})
	_, get := b.Get(b.ctx, nobody, role.AdminID)
	_, users := b.Users(b.ctx, nobody, role.AdminID, role.Filter{Limit: 1})
	_, of := b.RolesOf(b.ctx, nobody, nobody.UserID)
	_, what := b.PermissionsOf(b.ctx, nobody, nobody.UserID)
	_, names := b.Permissions(b.ctx, nobody, role.PermissionFilter{Limit: 1})
	_, create := b.Create(b.ctx, nobody, role.New{}, nil)
	_, update := b.Update(b.ctx, nobody, id.New(), role.Patch{}, nil)
	_, register := b.CreatePermission(b.ctx, nobody, role.NewPermission{}, nil)
	for needed, errs := range map[string][]error{
		role.ReadPermission:  {list, get, users, of, what, names},
		role.WritePermission: {create, update, register, b.Delete(b.ctx, nobody, id.New(), false, nil), b.DeletePermission(b.ctx, nobody, "x")},
		role.AssignPermission: {
			b.Assign(b.ctx, nobody, id.New(), id.New(), nil), b.Unassign(b.ctx, nobody, id.New(), id.New()),
		},
	} {
		for i, err := range errs {
			require.ErrorIs(t, err, actor.ErrPermissionDenied, "%s %d", needed, i)
			require.Equal(t, needed, fault.As(err).Extra["required"])
		}
	}
}

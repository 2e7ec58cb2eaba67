package httpapi

import (
	"context"
	"slices"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// RegisteredPermission is a registered permission.
type RegisteredPermission struct {
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	System      bool      `json:"system" doc:"Built in: the service itself asks for it."`
	CreatedAt   timestamp `json:"created_at"`
}

// NewPermission is what a permission is registered with.
type NewPermission struct {
	Name        string  `json:"name" pattern:"^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,62}$" doc:"resource:action"`
	Description *string `json:"description,omitempty" maxLength:"500"`
}

func encodePermission(p role.Permission) RegisteredPermission {
	return RegisteredPermission{Name: p.Name, Description: p.Description, System: p.System, CreatedAt: timestamp(p.CreatedAt)}
}

func encodeCreatedPermission(p role.Permission) *single[RegisteredPermission] {
	return &single[RegisteredPermission]{Location: basePath + "/permissions/" + p.Name, Body: encodePermission(p)}
}

func (s *Server) listPermissions(ctx context.Context, by actor.Actor, in *ByCreation) (*listing[RegisteredPermission], error) {
	const route = "GET /permissions"
	f := role.PermissionFilter{Limit: in.Limit + 1, Ascending: in.ascending()}
	cursor, err := in.position(s, by, route, in.Sort)
	if err != nil {
		return nil, err
	}
	if cursor != nil {
		at, err := time.Parse(time.RFC3339Nano, cursor[0])
		if err != nil || len(cursor) != 2 {
			return nil, page.ErrInvalidCursor
		}
		f.After = &role.PermissionPosition{CreatedAt: at, Name: cursor[1]}
	}
	permissions, err := s.Roles.Permissions(ctx, by, f)
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, []string{in.Sort}, permissions, func(p role.Permission) []string {
		return []string{p.CreatedAt.UTC().Format(time.RFC3339Nano), p.Name}
	}, encodePermission), nil
}

func (s *Server) createPermission(ctx context.Context, by actor.Actor, in *struct{ Body NewPermission }) (*single[RegisteredPermission], error) {
	p, err := s.Roles.CreatePermission(ctx, by, role.NewPermission{Name: in.Body.Name, Description: in.Body.Description},
		keep(ctx, encodeCreatedPermission))
	if err != nil {
		return nil, err
	}
	return encodeCreatedPermission(p), nil
}

func (s *Server) deletePermission(ctx context.Context, by actor.Actor, in *struct {
	Name string `path:"name" doc:"The permission's name."`
},
) (*empty, error) {
	return &empty{}, s.Roles.DeletePermission(ctx, by, in.Name)
}

// HeldRole is a role in an account's hands.
type HeldRole struct {
	ID         id.ID      `json:"id" format:"uuid" doc:"The role's."`
	Name       string     `json:"name"`
	Implied    bool       `json:"implied" doc:"Held by every human from activation on; cannot be taken away."`
	ExpiresAt  *timestamp `json:"expires_at" nullable:"true" doc:"null: it lasts."`
	AssignedAt *timestamp `json:"assigned_at" nullable:"true" doc:"null: implied."`
}

func encodeHeldRole(a role.Assignment) HeldRole {
	return HeldRole{ID: a.RoleID, Name: a.Name, Implied: a.Implied, ExpiresAt: stamp(a.ExpiresAt), AssignedAt: stamp(a.CreatedAt)}
}

// EffectivePermission is one effective permission.
type EffectivePermission struct {
	Permission string   `json:"permission" doc:"A permission, resource:* or *."`
	Roles      []string `json:"roles" doc:"Every role held, directly or by inheritance, that gives it."`
}

func encodeSource(s role.Source) EffectivePermission { return EffectivePermission(s) }

type byNameInput struct {
	Identified
	Paging
}

func (s *Server) listUserRoles(ctx context.Context, by actor.Actor, in *byNameInput) (*listing[HeldRole], error) {
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	held, err := s.Roles.RolesOf(ctx, by, target)
	if err != nil {
		return nil, err
	}
	return listByName(ctx, s, by, &in.Paging, "GET /users/{id}/roles", target, held,
		func(a role.Assignment) string { return a.Name }, encodeHeldRole)
}

func (s *Server) listUserPermissions(ctx context.Context, by actor.Actor, in *byNameInput) (*listing[EffectivePermission], error) {
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	sources, err := s.Roles.PermissionsOf(ctx, by, target)
	if err != nil {
		return nil, err
	}
	return listByName(ctx, s, by, &in.Paging, "GET /users/{id}/permissions", target, sources,
		func(s role.Source) string { return s.Permission }, encodeSource)
}

func (s *Server) listMyPermissions(ctx context.Context, by actor.Actor, in *Paging) (*listing[EffectivePermission], error) {
	sources, err := s.Roles.MyPermissions(ctx, by)
	if err != nil {
		return nil, err
	}
	return listByName(ctx, s, by, in, "GET /users/me/permissions", by.UserID, sources,
		func(s role.Source) string { return s.Permission }, encodeSource)
}

// listByName answers with a page of the few rows that one account has, which come sorted by name.
func listByName[R, B any](ctx context.Context, s *Server, by actor.Actor, in *Paging, route string, target id.ID,
	rows []R, name func(R) string, encode func(R) B,
) (*listing[B], error) {
	cursor, err := in.position(s, by, route, target.String())
	if err != nil {
		return nil, err
	}
	if len(cursor) == 1 {
		rows = slices.DeleteFunc(rows, func(r R) bool { return name(r) <= cursor[0] })
	}
	return list(ctx, s, by, in, route, []string{target.String()}, rows[:min(len(rows), in.Limit+1)],
		func(r R) []string { return []string{name(r)} }, encode), nil
}

type assignInput struct {
	Identified
	RoleID string `path:"role_id" doc:"The role's id (UUID)."`
	Body   *RoleAssignment
}

// RoleAssignment says how long a role is given.
type RoleAssignment struct {
	ExpiresAt opt[time.Time] `json:"expires_at,omitzero" doc:"When the role ends; absent or null: it lasts."`
}

func (s *Server) assignRole(ctx context.Context, by actor.Actor, in *assignInput) (*empty, error) {
	user, target, err := bothIDs(in.ID, in.RoleID)
	if err != nil {
		return nil, err
	}
	var until *time.Time
	if in.Body != nil {
		until = in.Body.ExpiresAt.Pointer()
	}
	return &empty{}, s.Roles.Assign(ctx, by, user, target, until)
}

func (s *Server) unassignRole(ctx context.Context, by actor.Actor, in *struct {
	Identified
	RoleID string `path:"role_id" doc:"The role's id (UUID)."`
},
) (*empty, error) {
	user, target, err := bothIDs(in.ID, in.RoleID)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Roles.Unassign(ctx, by, user, target)
}

func bothIDs(userText, roleText string) (user, target id.ID, err error) {
	if user, err = parseID(userText); err != nil {
		return user, target, err
	}
	target, err = parseID(roleText)
	return user, target, err
}

package httpapi

import (
	"context"
	"net/http"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// Role is a role: what it gives and who has it.
type Role struct {
	ID          id.ID     `json:"id" format:"uuid"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	Permissions []string  `json:"permissions" doc:"Its own grants; those of inherited roles come on top."`
	Inherits    []string  `json:"inherits" doc:"Names of the roles whose permissions it has too."`
	RequireMFA  bool      `json:"require_mfa" doc:"Its human holders need a second factor."`
	System      bool      `json:"system" doc:"Built in."`
	UserCount   int64     `json:"user_count" doc:"Accounts that hold it now; no part of the ETag."`
	CreatedAt   timestamp `json:"created_at"`
	UpdatedAt   timestamp `json:"updated_at"`
}

// NewRole is what a role is created with.
type NewRole struct {
	Name        string   `json:"name" pattern:"^[a-z][a-z0-9_-]{0,62}$" doc:"Fixed at creation."`
	Description *string  `json:"description,omitempty" maxLength:"500"`
	Permissions []string `json:"permissions,omitempty" maxItems:"200" doc:"Registered permissions, resource:* or *, within the caller's own."`
	Inherits    []string `json:"inherits,omitempty" maxItems:"50" doc:"Names of roles, within the caller's own permissions."`
	RequireMFA  bool     `json:"require_mfa,omitempty"`
}

// RolePatch changes a role.
type RolePatch struct {
	Description opt[string]   `json:"description,omitzero" maxLength:"500"`
	Permissions opt[[]string] `json:"permissions,omitzero" maxItems:"200" doc:"Replaces all; null empties."`
	Inherits    opt[[]string] `json:"inherits,omitzero" maxItems:"50" doc:"Replaces all; null empties."`
	RequireMFA  opt[bool]     `json:"require_mfa,omitzero"`
}

func encodeRole(r role.Role) Role {
	return Role{
		ID: r.ID, Name: r.Name, Description: r.Description, Permissions: r.Permissions, Inherits: r.Inherits,
		RequireMFA: r.RequireMFA, System: r.System, UserCount: r.UserCount,
		CreatedAt: timestamp(r.CreatedAt), UpdatedAt: timestamp(r.UpdatedAt),
	}
}

func encodeCreatedRole(r role.Role) *single[Role] {
	return created(encodeRole(r), r.Version, "/roles/"+r.ID.String())
}

func (s *Server) listRoles(ctx context.Context, by actor.Actor, in *ByCreation) (*listing[Role], error) {
	const route = "GET /roles"
	after, err := in.after(s, by, route, in.Sort)
	if err != nil {
		return nil, err
	}
	roles, err := s.Roles.List(ctx, by, role.Filter{Limit: in.Limit + 1, Ascending: in.ascending(), After: after})
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, []string{in.Sort}, roles,
		func(r role.Role) []string { return page.Position{Time: r.CreatedAt, ID: r.ID}.Keys() }, encodeRole), nil
}

func (s *Server) createRole(ctx context.Context, by actor.Actor, in *struct{ Body NewRole }) (*single[Role], error) {
	b := in.Body
	r, err := s.Roles.Create(ctx, by, role.New{
		Name: b.Name, Description: b.Description, Permissions: b.Permissions, Inherits: b.Inherits, RequireMFA: b.RequireMFA,
	}, keep(ctx, encodeCreatedRole))
	if err != nil {
		return nil, err
	}
	return encodeCreatedRole(r), nil
}

func (s *Server) getRole(ctx context.Context, by actor.Actor, in *Identified) (*single[Role], error) {
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	r, err := s.Roles.Get(ctx, by, target)
	if err != nil {
		return nil, err
	}
	return one(encodeRole(r), r.Version), nil
}

type rolePatchInput struct {
	Identified
	Conditional
	DryRun
	Body RolePatch
}

func (s *Server) updateRole(ctx context.Context, by actor.Actor, in *rolePatchInput) (*single[changedRole], error) {
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	b := in.Body
	p := role.Patch{
		Description: b.Description.Field, Permissions: b.Permissions.Field, Inherits: b.Inherits.Field, RequireMFA: b.RequireMFA.Field,
	}
	if in.DryRun.DryRun {
		return effectAnswer(s.Roles.PreviewUpdate(ctx, by, target, p, in.version()))
	}
	r, err := s.Roles.Update(ctx, by, target, p, in.version())
	if err != nil {
		return nil, err
	}
	updated := encodeRole(r)
	return one(changedRole{role: &updated}, r.Version), nil
}

func (s *Server) deleteRole(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Conditional
	DryRun
	Force bool `query:"force" doc:"Take it away from everyone who holds it and from every role that inherits it."`
},
) (*removal, error) {
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	if in.DryRun.DryRun {
		return removalEffect(s.Roles.PreviewDelete(ctx, by, target, in.Force, in.version()))
	}
	return &removal{Status: http.StatusNoContent}, s.Roles.Delete(ctx, by, target, in.Force, in.version())
}

// RoleUser is an account that holds a role.
type RoleUser struct {
	ID          id.ID      `json:"id" format:"uuid"`
	Kind        string     `json:"kind" enum:"human,service"`
	Email       *string    `json:"email"`
	DisplayName *string    `json:"display_name"`
	Status      string     `json:"status" enum:"active,pending,suspended,deleting"`
	ExpiresAt   *timestamp `json:"expires_at" nullable:"true" doc:"When the role ends; null: it lasts."`
	CreatedAt   timestamp  `json:"created_at" doc:"Of the account."`
}

func encodeHolder(h role.Holder) RoleUser {
	return RoleUser{
		ID: h.UserID, Kind: h.Kind, Email: h.Email, DisplayName: h.DisplayName, Status: h.Status,
		ExpiresAt: stamp(h.ExpiresAt), CreatedAt: timestamp(h.CreatedAt),
	}
}

func (s *Server) listRoleUsers(ctx context.Context, by actor.Actor, in *struct {
	Identified
	ByCreation
},
) (*listing[RoleUser], error) {
	const route = "GET /roles/{id}/users"
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	after, err := in.after(s, by, route, target.String(), in.Sort)
	if err != nil {
		return nil, err
	}
	holders, err := s.Roles.Users(ctx, by, target, role.Filter{Limit: in.Limit + 1, Ascending: in.ascending(), After: after})
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, []string{target.String(), in.Sort}, holders,
		func(h role.Holder) []string { return page.Position{Time: h.CreatedAt, ID: h.UserID}.Keys() }, encodeHolder), nil
}

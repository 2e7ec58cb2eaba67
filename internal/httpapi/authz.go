package httpapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
)

// PermissionCheck asks what an account may do.
type PermissionCheck struct {
	UserID      string   `json:"user_id,omitempty" format:"uuid" doc:"Another's account, with roles:read; absent: one's own. A key is answered for itself."`
	Permissions []string `json:"permissions" minItems:"1" maxItems:"100" doc:"Permissions, resource:* or *. A name that nobody registered is no fault."`
}

// PermissionDecisions answers in the order of the question.
type PermissionDecisions struct {
	Results []PermissionDecision `json:"results"`
}

// PermissionDecision says whether something is allowed, and by what or why not.
type PermissionDecision struct {
	Permission string       `json:"permission"`
	Allowed    bool         `json:"allowed"`
	Via        []string     `json:"via" doc:"The shortest path of role names, from the one held to the one that grants it; empty: not allowed."`
	Missing    *missingLink `json:"missing" nullable:"true" doc:"The first link that is missing; null: allowed."`
}

// missingLink is why something is not allowed. Its schema stands where it is used, so that it can be null there.
type missingLink struct {
	Link      string     `json:"link"`
	Roles     []string   `json:"roles"`
	Status    *string    `json:"status"`
	ExpiredAt *timestamp `json:"expired_at"`
}

// Schema implements huma.SchemaProvider.
func (missingLink) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"link", "roles", "status", "expired_at"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"link": {
				Type: huma.TypeString,
				Enum: []any{
					string(role.LinkAccount), string(role.LinkSecondFactor), string(role.LinkScope), string(role.LinkAssignment),
					string(role.LinkRegistration), string(role.LinkGrant),
				},
				Description: "account: it is not active. second_factor: a role asks for one that it lacks. scope: its owner may, the key may not. " +
					"assignment: the role that gave it has expired. registration: no permission of this name exists. grant: no role that it holds has it.",
			},
			"roles": {
				Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString},
				Description: "assignment: the path that has expired. grant: the roles held, none of which leads to it. second_factor: the path to the role that asks for one.",
			},
			"status":     {Type: huma.TypeString, Nullable: true, Description: "account: what it is instead of active."},
			"expired_at": {Type: huma.TypeString, Format: "date-time", Nullable: true, Description: "assignment: when it ended."},
		},
	}
}

func encodeMissing(m *role.Missing) *missingLink {
	if m == nil {
		return nil
	}
	out := &missingLink{Link: string(m.Link), Roles: append([]string{}, m.Roles...), ExpiredAt: stamp(m.ExpiredAt)}
	if m.Status != "" {
		out.Status = &m.Status
	}
	return out
}

func (s *Server) checkPermissions(
	ctx context.Context, by actor.Actor, in *struct{ Body PermissionCheck },
) (*unversioned[PermissionDecisions], error) {
	user := id.Nil
	if in.Body.UserID != "" {
		var ok bool
		if user, ok = id.Parse(in.Body.UserID); !ok {
			return nil, fault.InvalidField("/user_id", "invalid_format", "Give the account's id, a UUID.")
		}
	}
	decisions, err := s.Roles.Check(ctx, by, user, in.Body.Permissions)
	if err != nil {
		return nil, err
	}
	out := PermissionDecisions{Results: make([]PermissionDecision, len(decisions))}
	for i, d := range decisions {
		out.Results[i] = PermissionDecision{Permission: d.Permission, Allowed: d.Allowed, Via: d.Via, Missing: encodeMissing(d.Missing)}
	}
	return &unversioned[PermissionDecisions]{Body: out}, nil
}

package httpapi

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// User is an account.
type User struct {
	ID            id.ID      `json:"id" format:"uuid"`
	Kind          string     `json:"kind" enum:"human,service"`
	Email         *string    `json:"email" nullable:"true" doc:"null: a service account."`
	EmailVerified bool       `json:"email_verified"`
	DisplayName   *string    `json:"display_name" nullable:"true"`
	Locale        *string    `json:"locale" nullable:"true" doc:"BCP 47, canonical."`
	Timezone      *string    `json:"timezone" nullable:"true" doc:"A name of the IANA database."`
	Status        string     `json:"status" enum:"active,pending,suspended,deleting"`
	Roles         []string   `json:"roles" doc:"Names of the roles that it holds directly, at this moment."`
	Metadata      object     `json:"metadata" doc:"The owner's."`
	AppMetadata   object     `json:"app_metadata" doc:"The application's; its owner can read it."`
	ExternalID    *string    `json:"external_id" nullable:"true"`
	MFAEnabled    bool       `json:"mfa_enabled"`
	LastLoginAt   *timestamp `json:"last_login_at" nullable:"true" doc:"No part of the ETag."`
	CreatedAt     timestamp  `json:"created_at"`
	UpdatedAt     timestamp  `json:"updated_at"`
}

// NewUser is what POST /users takes.
type NewUser struct {
	Email         string   `json:"email,omitempty" maxLength:"254" doc:"Required for a human; a service account has none."`
	Password      string   `json:"password,omitempty" maxLength:"1024" doc:"Absent: none yet."`
	SendInvite    bool     `json:"send_invite,omitempty" doc:"Mails an invitation, by which its owner sets the password; not with password or email_verified."`
	Roles         []string `json:"roles,omitempty" maxItems:"50" doc:"Names. Needs a session and roles:assign."`
	Kind          string   `json:"kind,omitempty" enum:"human,service" doc:"human unless said."`
	EmailVerified bool     `json:"email_verified,omitempty" doc:"You vouch for the address: active at once, no mail."`
	DisplayName   *string  `json:"display_name,omitempty" minLength:"1" maxLength:"120" doc:"Required for a service account."`
	Locale        *string  `json:"locale,omitempty" maxLength:"35" doc:"BCP 47, such as de-AT."`
	ExternalID    *string  `json:"external_id,omitempty" minLength:"1" maxLength:"255" doc:"Another system's name for it; unique."`
	Metadata      object   `json:"metadata,omitempty"`
	AppMetadata   object   `json:"app_metadata,omitempty"`
}

// MePatch is what PATCH /users/me takes.
type MePatch struct {
	DisplayName opt[string] `json:"display_name,omitzero" minLength:"1" maxLength:"120"`
	Locale      opt[string] `json:"locale,omitzero" maxLength:"35" doc:"BCP 47, such as de-AT."`
	Timezone    opt[string] `json:"timezone,omitzero" maxLength:"64" doc:"A name of the IANA database, such as Europe/Vienna."`
	Metadata    opt[object] `json:"metadata,omitzero" doc:"Merged deeply; null empties."`
}

// UserPatch is what PATCH /users/{id} takes.
type UserPatch struct {
	MePatch
	AppMetadata opt[object] `json:"app_metadata,omitzero" doc:"Merged deeply; null empties."`
	ExternalID  opt[string] `json:"external_id,omitzero" minLength:"1" maxLength:"255"`
	Email       opt[string] `json:"email,omitzero" maxLength:"254" doc:"Corrects the address: unverified again, sessions end, both addresses are told. Takes a session, not a key."`
}

// Suspension is what POST /users/{id}/suspend takes.
type Suspension struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"For the audit log."`
}

func (p MePatch) changes() user.Changes {
	return user.Changes{
		DisplayName: p.DisplayName.Field, Locale: p.Locale.Field, Timezone: p.Timezone.Field,
		Metadata: convert(p.Metadata, func(o object) jsontext.Value { return jsontext.Value(o) }),
	}
}

func (p UserPatch) domain() account.Changes {
	return account.Changes{
		AdminChanges: user.AdminChanges{
			Changes: p.changes(), ExternalID: p.ExternalID.Field,
			AppMetadata: convert(p.AppMetadata, func(o object) jsontext.Value { return jsontext.Value(o) }),
		},
		Email: p.Email.Field,
	}
}

// Resolve implements huma.Resolver.
func (p *MePatch) Resolve(huma.Context) []error {
	return ruleFaults(user.Check(user.AdminChanges{Changes: p.changes()}, nil))
}

// Resolve implements huma.Resolver.
func (p *UserPatch) Resolve(ctx huma.Context) []error {
	return ruleFaults(callFrom(ctx.Context()).server.Accounts.CheckChanges(p.domain()))
}

func encodeUser(u *user.User) User {
	return User{
		ID: u.ID, Kind: string(u.Kind), Email: u.Email, EmailVerified: u.EmailVerified, DisplayName: u.DisplayName,
		Locale: u.Locale, Timezone: u.Timezone, Status: string(u.Status), Roles: u.Roles, Metadata: object(u.Metadata),
		AppMetadata: object(u.AppMetadata), ExternalID: u.ExternalID, MFAEnabled: u.MFAEnabled,
		LastLoginAt: stamp(u.LastLoginAt), CreatedAt: timestamp(u.CreatedAt), UpdatedAt: timestamp(u.UpdatedAt),
	}
}

func userAnswer(u *user.User, err error) (*single[User], error) {
	if err != nil {
		return nil, err
	}
	return one(encodeUser(u), u.Version), nil
}

func encodeCreatedUser(u *user.User) *single[User] {
	return created(encodeUser(u), u.Version, "/users/"+u.ID.String())
}

func (s *Server) getMe(ctx context.Context, by actor.Actor, _ *struct{}) (*single[User], error) {
	return userAnswer(s.Users.Me(ctx, by))
}

type mePatchInput struct {
	Conditional
	Body MePatch
}

func (s *Server) updateMe(ctx context.Context, by actor.Actor, in *mePatchInput) (*single[User], error) {
	return userAnswer(s.Users.UpdateMe(ctx, by, in.Body.changes(), in.version()))
}

func (s *Server) deleteMe(ctx context.Context, by actor.Actor, in *struct{ Conditional }) (*empty, error) {
	return &empty{}, s.Accounts.DeleteMe(ctx, by, in.version())
}

// UserFilter is what lists and exports of accounts narrow by.
type UserFilter struct {
	Email         string    `query:"email" maxLength:"254" doc:"Exactly this identity, however it is spelled."`
	Status        string    `query:"status" enum:"active,pending,suspended,deleting" doc:"Absent: all but deleting."`
	Role          string    `query:"role" maxLength:"63" doc:"Holds this role directly, at this moment."`
	Kind          string    `query:"kind" enum:"human,service"`
	CreatedAfter  time.Time `query:"created_after" doc:"Later than this time."`
	CreatedBefore time.Time `query:"created_before" doc:"Earlier than this time."`
	Search        string    `query:"search" maxLength:"200" doc:"Part of the name or address, in any case."`
}

func (f *UserFilter) domain() user.Filter {
	return user.Filter{
		Email: f.Email, Status: user.Status(f.Status), Role: f.Role, Kind: user.Kind(f.Kind), Search: f.Search,
		CreatedAfter: f.CreatedAfter, CreatedBefore: f.CreatedBefore,
	}
}

type userListInput struct {
	Paging
	UserFilter
	Sort    string `query:"sort" enum:"created_at,-created_at,email,-email,last_login_at,-last_login_at" default:"-created_at" doc:"Accounts without the value come last."`
	Include string `query:"include" enum:"total" doc:"total: about how many accounts the filters leave, whatever the page."`
}

// UserPage is a page of accounts.
type UserPage struct {
	page.Page[User]
	Total *int64 `json:"total,omitempty" doc:"With include=total: an estimate, exact where one page holds everything."`
}

// userListing is listing with a total.
type userListing struct {
	Link string `header:"Link" doc:"The next page, rel=next (RFC 8288)."`
	Body UserPage
}

func (s *Server) listUsers(ctx context.Context, by actor.Actor, in *userListInput) (*userListing, error) {
	const route = "GET /users"
	sort, err := page.ParseSort(in.Sort, user.DefaultSort, user.Sorts...)
	if err != nil {
		return nil, err
	}
	binding := []string{
		in.Sort, in.Email, in.Status, in.Role, in.Kind, in.Search,
		in.CreatedAfter.UTC().Format(time.RFC3339Nano), in.CreatedBefore.UTC().Format(time.RFC3339Nano),
	}
	after, err := in.position(s, by, route, binding...)
	if err != nil {
		return nil, err
	}
	filter := in.domain()
	filter.Sort, filter.After, filter.Limit = sort, after, in.Limit+1
	users, err := s.Users.List(ctx, by, filter)
	if err != nil {
		return nil, err
	}
	l := list(ctx, s, by, &in.Paging, route, binding, users, func(u *user.User) []string { return u.SortKeys(sort) }, encodeUser)
	out := &userListing{Link: l.Link, Body: UserPage{Page: l.Body}}
	if in.Include == "total" {
		total := int64(len(l.Body.Data))
		if in.Cursor != "" || l.Body.NextCursor != nil {
			estimate, err := s.Users.Total(ctx, by, filter)
			if err != nil {
				return nil, err
			}
			total = max(total, estimate)
		}
		out.Body.Total = &total
	}
	return out, nil
}

func (n *NewUser) domain() account.New {
	return account.New{
		Kind: user.Kind(n.Kind), Email: n.Email, Password: secret.New(n.Password), SendInvite: n.SendInvite,
		EmailVerified: n.EmailVerified, Roles: n.Roles,
		DisplayName: n.DisplayName, Locale: n.Locale, ExternalID: n.ExternalID,
		Metadata: jsontext.Value(n.Metadata), AppMetadata: jsontext.Value(n.AppMetadata),
	}
}

// Resolve implements huma.Resolver.
func (n *NewUser) Resolve(ctx huma.Context) []error {
	return ruleFaults(callFrom(ctx.Context()).server.Accounts.Check(n.domain()))
}

func (s *Server) createUser(ctx context.Context, by actor.Actor, in *struct{ Body NewUser }) (*single[User], error) {
	u, err := s.Accounts.Create(ctx, by, in.Body.domain(), keep(ctx, encodeCreatedUser))
	if err != nil {
		return nil, err
	}
	return encodeCreatedUser(u), nil
}

func (s *Server) getUser(ctx context.Context, by actor.Actor, in *Identified) (*single[User], error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return userAnswer(s.Users.Get(ctx, by, of))
}

type userPatchInput struct {
	Identified
	Conditional
	Body UserPatch
}

func (s *Server) updateUser(ctx context.Context, by actor.Actor, in *userPatchInput) (*single[User], error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return userAnswer(s.Accounts.Update(ctx, by, of, in.Body.domain(), in.version()))
}

func (s *Server) deleteUser(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Conditional
},
) (*empty, error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Accounts.Delete(ctx, by, of, in.version())
}

func (s *Server) suspendUser(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Body Suspension
},
) (*single[User], error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return userAnswer(s.Accounts.Suspend(ctx, by, of, in.Body.Reason))
}

func (s *Server) reactivateUser(ctx context.Context, by actor.Actor, in *Identified) (*single[User], error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return userAnswer(s.Accounts.Reactivate(ctx, by, of))
}

func (s *Server) inviteUser(ctx context.Context, by actor.Actor, in *Identified) (*empty, error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Accounts.Invite(ctx, by, of)
}

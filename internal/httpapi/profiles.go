package httpapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/platform/id"
)

// Profile is a profile as far as the caller sees it: everything, or the public part alone.
type Profile struct {
	UserID      id.ID             `json:"user_id" format:"uuid"`
	GivenName   *string           `json:"given_name" nullable:"true"`
	FamilyName  *string           `json:"family_name" nullable:"true"`
	Nickname    *string           `json:"nickname" nullable:"true"`
	Bio         *string           `json:"bio" nullable:"true"`
	Website     *string           `json:"website" nullable:"true"`
	SocialLinks map[string]string `json:"social_links" doc:"https URLs by name."`
	AvatarURL   *string           `json:"avatar_url" nullable:"true" doc:"Path of a square of 512 pixels, for anybody who knows it; with 128 at its end a small one."`
	*ProfilePrivatePart
}

// ProfilePrivatePart is absent from the profiles of others, but for callers with profiles:read.
type ProfilePrivatePart struct {
	Phone      *string         `json:"phone" required:"false" nullable:"true" doc:"E.164."`
	BirthDate  *string         `json:"birth_date" required:"false" nullable:"true" format:"date"`
	Address    *profileAddress `json:"address" required:"false" nullable:"true"`
	Visibility string          `json:"visibility" required:"false" enum:"private,public"`
	Attributes object          `json:"attributes" required:"false"`
	UpdatedAt  timestamp       `json:"updated_at" required:"false"`
}

// profileAddress is a postal address. Its schema stands where it is used, so that it can be null there.
type profileAddress profile.Address

// Schema implements huma.SchemaProvider.
func (profileAddress) Schema(huma.Registry) *huma.Schema { return addressSchema() }

type addressPatch struct {
	Street     opt[string] `json:"street,omitzero"`
	Locality   opt[string] `json:"locality,omitzero"`
	Region     opt[string] `json:"region,omitzero"`
	PostalCode opt[string] `json:"postal_code,omitzero"`
	Country    opt[string] `json:"country,omitzero"`
}

// Schema implements huma.SchemaProvider, like profileAddress.
func (addressPatch) Schema(huma.Registry) *huma.Schema { return addressSchema() }

func addressSchema() *huma.Schema {
	text := func(doc string, most int) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Nullable: true, MaxLength: &most, Description: doc}
	}
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"street": text("", profile.MaxLine), "locality": text("City or town.", profile.MaxLine), "region": text("", profile.MaxLine),
			"postal_code": text("", profile.MaxPostalCode), "country": text("ISO 3166-1 alpha-2.", 2),
		},
	}
}

// links are social links in a patch: a null removes one.
type links map[string]*string

// Schema implements huma.SchemaProvider.
func (links) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: &huma.Schema{Type: huma.TypeString, Nullable: true, MaxLength: new(profile.MaxURL)},
		Description: "https URLs by name, 20 at most.",
	}
}

// ProfileFields are the fields of a profile that are set: by PUT all of them, where absent is empty; by PATCH those
// that are there.
type ProfileFields struct {
	GivenName   opt[string]       `json:"given_name,omitzero" minLength:"1" maxLength:"100"`
	FamilyName  opt[string]       `json:"family_name,omitzero" minLength:"1" maxLength:"100"`
	Nickname    opt[string]       `json:"nickname,omitzero" minLength:"1" maxLength:"100"`
	Bio         opt[string]       `json:"bio,omitzero" minLength:"1" maxLength:"2000" doc:"Line feeds and tabs are allowed."`
	Phone       opt[string]       `json:"phone,omitzero" maxLength:"16" doc:"E.164, such as +431234567."`
	Website     opt[string]       `json:"website,omitzero" maxLength:"500" doc:"An https URL."`
	BirthDate   opt[string]       `json:"birth_date,omitzero" format:"date" doc:"A date of the past."`
	Address     opt[addressPatch] `json:"address,omitzero"`
	SocialLinks opt[links]        `json:"social_links,omitzero"`
	Visibility  opt[string]       `json:"visibility,omitzero" enum:"private,public" doc:"public: everyone who is signed in sees the public part."`
	Attributes  opt[object]       `json:"attributes,omitzero" doc:"PATCH merges deeply; null empties."`
}

func (f ProfileFields) changes() profile.Changes {
	return profile.Changes{
		GivenName: f.GivenName.Field, FamilyName: f.FamilyName.Field, Nickname: f.Nickname.Field, Bio: f.Bio.Field,
		Phone: f.Phone.Field, Website: f.Website.Field, BirthDate: f.BirthDate.Field,
		Address: convert(f.Address, func(a addressPatch) profile.AddressChanges {
			return profile.AddressChanges{
				Street: a.Street.Field, Locality: a.Locality.Field, Region: a.Region.Field,
				PostalCode: a.PostalCode.Field, Country: a.Country.Field,
			}
		}),
		SocialLinks: convert(f.SocialLinks, func(l links) map[string]*string { return l }),
		Visibility:  convert(f.Visibility, func(v string) profile.Visibility { return profile.Visibility(v) }),
		Attributes:  convert(f.Attributes, func(o object) jsontext.Value { return jsontext.Value(o) }),
	}
}

// Resolve implements huma.Resolver.
func (f *ProfileFields) Resolve(ctx huma.Context) []error {
	return ruleFaults(callFrom(ctx.Context()).server.Profiles.Check(f.changes()))
}

func encodeProfile(p *profile.Profile) Profile {
	b := Profile{
		UserID: p.UserID, GivenName: p.GivenName, FamilyName: p.FamilyName, Nickname: p.Nickname, Bio: p.Bio,
		Website: p.Website, SocialLinks: p.SocialLinks, AvatarURL: avatarURL(p.Avatar),
	}
	if p.Whole {
		b.ProfilePrivatePart = &ProfilePrivatePart{
			Phone: p.Phone, BirthDate: p.BirthDate, Address: (*profileAddress)(p.Address), Visibility: string(p.Visibility),
			Attributes: object(p.Attributes), UpdatedAt: timestamp(p.UpdatedAt),
		}
	}
	return b
}

func profileAnswer(p *profile.Profile, err error) (*single[Profile], error) {
	if err != nil {
		return nil, err
	}
	return one(encodeProfile(p), p.Version), nil
}

// OwnedBy is the input of every route to one account's profile.
type OwnedBy struct {
	UserID string `path:"user_id" doc:"The account's id (UUID)."`
}

type ownedByMe struct {
	Conditional
	Body ProfileFields
}

type ownedByOther struct {
	OwnedBy
	Conditional
	Body ProfileFields
}

func (s *Server) getMyProfile(ctx context.Context, by actor.Actor, _ *struct{}) (*single[Profile], error) {
	return profileAnswer(s.Profiles.Get(ctx, by, by.UserID))
}

func (s *Server) replaceMyProfile(ctx context.Context, by actor.Actor, in *ownedByMe) (*single[Profile], error) {
	return profileAnswer(s.Profiles.Replace(ctx, by, by.UserID, in.Body.changes(), in.version()))
}

func (s *Server) updateMyProfile(ctx context.Context, by actor.Actor, in *ownedByMe) (*single[Profile], error) {
	return profileAnswer(s.Profiles.Update(ctx, by, by.UserID, in.Body.changes(), in.version()))
}

func (s *Server) getProfile(ctx context.Context, by actor.Actor, in *OwnedBy) (*single[Profile], error) {
	owner, err := parseID(in.UserID)
	if err != nil {
		return nil, err
	}
	return profileAnswer(s.Profiles.Get(ctx, by, owner))
}

func (s *Server) replaceProfile(ctx context.Context, by actor.Actor, in *ownedByOther) (*single[Profile], error) {
	owner, err := parseID(in.UserID)
	if err != nil {
		return nil, err
	}
	return profileAnswer(s.Profiles.Replace(ctx, by, owner, in.Body.changes(), in.version()))
}

func (s *Server) updateProfile(ctx context.Context, by actor.Actor, in *ownedByOther) (*single[Profile], error) {
	owner, err := parseID(in.UserID)
	if err != nil {
		return nil, err
	}
	return profileAnswer(s.Profiles.Update(ctx, by, owner, in.Body.changes(), in.version()))
}

func (s *Server) listProfiles(ctx context.Context, by actor.Actor, in *struct {
	Paging
	Search string `query:"search" maxLength:"200" doc:"Part of a name or nickname, in any case."`
},
) (*listing[Profile], error) {
	const route = "GET /profiles"
	filter := profile.Filter{Search: in.Search, Attributes: attributeFilters(ctx), Limit: in.Limit + 1}
	binding := []string{in.Search}
	for _, name := range slices.Sorted(maps.Keys(filter.Attributes)) {
		binding = append(binding, name, filter.Attributes[name])
	}
	var err error
	if filter.After, err = in.after(s, by, route, binding...); err != nil {
		return nil, err
	}
	found, err := s.Profiles.List(ctx, by, filter)
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, binding, found, func(l profile.Listed) []string { return l.Position().Keys() },
		func(l profile.Listed) Profile { return encodeProfile(l.Profile) }), nil
}

// attributePrefix begins the parameters that filter by an attribute.
const attributePrefix = "attributes."

func attributeFilters(ctx context.Context) map[string]string {
	filters := map[string]string{}
	for name, values := range requestFrom(ctx).URL.Query() {
		if attribute, ok := strings.CutPrefix(name, attributePrefix); ok && values[0] != "" {
			filters[attribute] = values[0]
		}
	}
	return filters
}

package httpapi

import (
	"context"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/token"
)

// APIKey is a key without its secret.
type APIKey struct {
	ID          id.ID          `json:"id" format:"uuid"`
	Name        string         `json:"name"`
	UserID      id.ID          `json:"user_id" format:"uuid" doc:"The owner: the key acts for this account."`
	Environment string         `json:"environment" enum:"live,test" doc:"A label: test keys act on real data."`
	Scopes      []string       `json:"scopes" doc:"What the key may do, as far as its owner may do it at that moment."`
	Last4       string         `json:"last4" doc:"The last four characters of the key, to recognise it."`
	Status      string         `json:"status" enum:"active,expired,revoked,quarantined"`
	ExpiresAt   *timestamp     `json:"expires_at" nullable:"true"`
	LastUsedAt  *timestamp     `json:"last_used_at" nullable:"true" doc:"Up to some seconds late; no part of the ETag."`
	AllowedIPs  []netip.Prefix `json:"allowed_ips" doc:"Networks that the key works from; empty: any."`
	RateLimit   *keyRate       `json:"rate_limit" nullable:"true" doc:"Instead of the limit of all callers; null: that one."`
	Metadata    object         `json:"metadata"`
	Secrets     []APIKeySecret `json:"secrets" doc:"The current secret first, then earlier ones, newest first. Through the overlap of a rotation two work."`
	CreatedAt   timestamp      `json:"created_at"`
	UpdatedAt   timestamp      `json:"updated_at"`
}

// APIKeySecret is one of the secrets of a key: whether an old one is still in use, and by whom.
type APIKeySecret struct {
	Last4             string      `json:"last4" doc:"The last four characters of the key's text with this secret."`
	Current           bool        `json:"current" doc:"The key was last rotated to this one."`
	CreatedAt         timestamp   `json:"created_at"`
	ExpiresAt         *timestamp  `json:"expires_at" nullable:"true" doc:"The end of its overlap; null: it ends with the key."`
	LastUsedAt        *timestamp  `json:"last_used_at" nullable:"true" doc:"Up to some seconds late, as are the next two; no part of the ETag."`
	LastUsedIP        *netip.Addr `json:"last_used_ip" nullable:"true"`
	LastUsedUserAgent *string     `json:"last_used_user_agent" nullable:"true"`
}

// CreatedAPIKey is the one answer that has the key itself.
type CreatedAPIKey struct {
	APIKey
	Key string `json:"key" doc:"The key. It is shown here only; nobody can read it again."`
}

// keyRate is a key's own rate limit. Its schema stands where it is used, so that it can be null there.
type keyRate apikey.RateLimit

// Schema implements huma.SchemaProvider.
func (keyRate) Schema(huma.Registry) *huma.Schema {
	integer := func(doc string, most float64) *huma.Schema {
		return &huma.Schema{Type: huma.TypeInteger, Minimum: new(1.0), Maximum: new(most), Description: doc}
	}
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"limit", "window_seconds"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"limit":          integer("Requests in a window.", apikey.MaxRateLimit),
			"window_seconds": integer("Length of the window.", apikey.MaxRateWindow),
		},
	}
}

// NewAPIKey makes an API key.
type NewAPIKey struct {
	Name        string         `json:"name" minLength:"1" maxLength:"100" doc:"By which you will know it."`
	Scopes      []string       `json:"scopes" minItems:"1" maxItems:"100" doc:"Registered permissions, resource:* or *."`
	Environment string         `json:"environment" enum:"live,test" doc:"A label: test keys act on real data."`
	UserID      string         `json:"user_id,omitempty" format:"uuid" doc:"A service account's, with api_keys:write; absent: one's own."`
	ExpiresAt   opt[time.Time] `json:"expires_at,omitzero" doc:"Absent: the configured life; null: never, where that is allowed."`
	AllowedIPs  []string       `json:"allowed_ips,omitempty" maxItems:"100" doc:"Networks (CIDR) and single addresses; empty: any."`
	RateLimit   *keyRate       `json:"rate_limit,omitempty" doc:"Above the limit of all callers it needs api_keys:write."`
	Metadata    object         `json:"metadata,omitempty"`
}

// APIKeyPatch changes an API key.
type APIKeyPatch struct {
	Name       opt[string]    `json:"name,omitzero" minLength:"1" maxLength:"100"`
	Scopes     opt[[]string]  `json:"scopes,omitzero" minItems:"1" maxItems:"100"`
	ExpiresAt  opt[time.Time] `json:"expires_at,omitzero" doc:"null: never, where that is allowed."`
	AllowedIPs opt[[]string]  `json:"allowed_ips,omitzero" maxItems:"100" doc:"null or empty: any."`
	RateLimit  opt[keyRate]   `json:"rate_limit,omitzero" doc:"null: the limit of all callers."`
	Metadata   opt[object]    `json:"metadata,omitzero" doc:"Merged deeply; null empties."`
}

// KeyRotation replaces the secret of a key.
type KeyRotation struct {
	OverlapSeconds *int `json:"overlap_seconds,omitempty" minimum:"0" maximum:"2592000" default:"86400" doc:"How long the secret before still works."`
}

// LeakedKey is a key that somebody found.
type LeakedKey struct {
	Key string `json:"key" maxLength:"4096" doc:"The whole key; possession proves that it leaked."`
}

func encodeKey(k apikey.Key) APIKey {
	secrets := make([]APIKeySecret, len(k.Secrets))
	for i, x := range k.Secrets {
		secrets[i] = APIKeySecret{
			Last4: x.Last4, Current: x.Current(), CreatedAt: timestamp(x.CreatedAt), ExpiresAt: stamp(x.ExpiresAt),
			LastUsedAt: stamp(x.LastUsedAt), LastUsedIP: x.LastUsedIP, LastUsedUserAgent: x.LastUsedUserAgent,
		}
	}
	networks := k.AllowedIPs
	if networks == nil {
		networks = []netip.Prefix{}
	}
	return APIKey{
		ID: k.ID, Name: k.Name, UserID: k.UserID, Environment: string(k.Environment), Scopes: k.Scopes, Last4: k.Last4,
		Status: string(k.Status), ExpiresAt: stamp(k.ExpiresAt), LastUsedAt: stamp(k.LastUsedAt), AllowedIPs: networks,
		RateLimit: (*keyRate)(k.RateLimit), Metadata: object(k.Metadata), Secrets: secrets,
		CreatedAt: timestamp(k.CreatedAt), UpdatedAt: timestamp(k.UpdatedAt),
	}
}

func encodeCreatedKey(k apikey.Created) *single[CreatedAPIKey] {
	return created(CreatedAPIKey{encodeKey(k.Key), k.Text.Reveal()}, k.Version, "/api-keys/"+k.ID.String())
}

func (s *Server) createKey(ctx context.Context, by actor.Actor, in *struct{ Body NewAPIKey }) (*single[CreatedAPIKey], error) {
	b := in.Body
	n := apikey.New{
		Name: b.Name, Environment: token.Environment(b.Environment), Scopes: b.Scopes, ExpiresAt: b.ExpiresAt.Field,
		AllowedIPs: b.AllowedIPs, RateLimit: (*apikey.RateLimit)(b.RateLimit), Metadata: jsontext.Value(b.Metadata),
	}
	if b.UserID != "" {
		var ok bool
		if n.UserID, ok = id.Parse(b.UserID); !ok {
			return nil, fault.InvalidField("/user_id", "invalid_format", "Give the account's id, a UUID.")
		}
	}
	k, err := s.Keys.Create(ctx, by, n, keep(ctx, encodeCreatedKey))
	if err != nil {
		return nil, err
	}
	return encodeCreatedKey(k), nil
}

type keyListInput struct {
	Paging
	UserID      string `query:"user_id" format:"uuid" doc:"Whose keys; another's need api_keys:read. Absent: one's own."`
	Scope       string `query:"scope" enum:"own,all" default:"own" doc:"all: everyone's, with api_keys:read."`
	Status      string `query:"status" enum:"active,expired,revoked,quarantined"`
	Environment string `query:"environment" enum:"live,test"`
	Sort        string `query:"sort" enum:"created_at,-created_at" default:"-created_at"`
}

func (s *Server) listKeys(ctx context.Context, by actor.Actor, in *keyListInput) (*listing[APIKey], error) {
	const route = "GET /api-keys"
	f := apikey.Filter{
		Everyone: in.Scope == "all", Status: apikey.Status(in.Status), Environment: token.Environment(in.Environment),
		Limit: in.Limit + 1, Ascending: in.Sort == "created_at",
	}
	var err error
	if f.UserID, err = filterID("user_id", in.UserID); err != nil {
		return nil, err
	}
	binding := []string{in.Sort, in.Scope, f.UserID.String(), in.Status, in.Environment}
	if f.After, err = in.after(s, by, route, binding...); err != nil {
		return nil, err
	}
	keys, err := s.Keys.List(ctx, by, f)
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, binding, keys,
		func(k apikey.Key) []string { return page.Position{Time: k.CreatedAt, ID: k.ID}.Keys() }, encodeKey), nil
}

func (s *Server) currentKey(ctx context.Context, by actor.Actor, _ *struct{}) (*single[APIKey], error) {
	return keyAnswer(s.Keys.Current(ctx, by))
}

func (s *Server) getKey(ctx context.Context, by actor.Actor, in *Identified) (*single[APIKey], error) {
	key, err := in.id()
	if err != nil {
		return nil, err
	}
	return keyAnswer(s.Keys.Get(ctx, by, key))
}

type keyPatchInput struct {
	Identified
	Conditional
	Body APIKeyPatch
}

func (s *Server) updateKey(ctx context.Context, by actor.Actor, in *keyPatchInput) (*single[APIKey], error) {
	key, err := in.id()
	if err != nil {
		return nil, err
	}
	b := in.Body
	return keyAnswer(s.Keys.Update(ctx, by, key, apikey.Patch{
		Name: b.Name.Field, Scopes: b.Scopes.Field, ExpiresAt: b.ExpiresAt.Field, AllowedIPs: b.AllowedIPs.Field,
		RateLimit: convert(b.RateLimit, func(r keyRate) apikey.RateLimit { return apikey.RateLimit(r) }),
		Metadata:  convert(b.Metadata, func(o object) jsontext.Value { return jsontext.Value(o) }),
	}, in.version()))
}

func (s *Server) revokeKey(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Conditional
},
) (*empty, error) {
	key, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Keys.Revoke(ctx, by, key, in.version())
}

func (s *Server) rotateKey(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Body *KeyRotation
},
) (*single[CreatedAPIKey], error) {
	key, err := in.id()
	if err != nil {
		return nil, err
	}
	overlap := apikey.DefaultOverlap
	if in.Body != nil && in.Body.OverlapSeconds != nil {
		overlap = time.Duration(*in.Body.OverlapSeconds) * time.Second
	}
	k, err := s.Keys.Rotate(ctx, by, key, overlap, keep(ctx, encodeCreatedKey))
	if err != nil {
		return nil, err
	}
	return encodeCreatedKey(k), nil
}

func (s *Server) reportLeakedKey(ctx context.Context, by actor.Actor, in *struct{ Body LeakedKey }) (*empty, error) {
	return &empty{}, s.Keys.Leaked(ctx, by, in.Body.Key)
}

func keyAnswer(k apikey.Key, err error) (*single[APIKey], error) {
	if err != nil {
		return nil, err
	}
	return one(encodeKey(k), k.Version), nil
}

// APIKeyUsage is what a key did.
type APIKeyUsage struct {
	Days         []APIKeyDay `json:"days" doc:"Newest first; days without a use are left out."`
	UnusedScopes []string    `json:"unused_scopes" doc:"Scopes of the key that nothing needed within 90 days."`
}

// APIKeyDay is what a key did on one day.
type APIKeyDay struct {
	Date         string           `json:"date" format:"date" doc:"UTC."`
	Allowed      int64            `json:"allowed"`
	Denied       int64            `json:"denied"`
	Limited      int64            `json:"limited"`
	ByReason     map[string]int64 `json:"by_reason" doc:"What was denied or limited, by the code of the refusal."`
	ByPermission map[string]int64 `json:"by_permission" doc:"What was allowed, by the permission that it needed; a use may need several or none."`
}

func (s *Server) keyUsage(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Days int `query:"days" minimum:"1" maximum:"365" default:"90" doc:"How many days back, today included."`
},
) (*unversioned[APIKeyUsage], error) {
	key, err := in.id()
	if err != nil {
		return nil, err
	}
	report, err := s.Keys.UsageOf(ctx, by, key, in.Days)
	if err != nil {
		return nil, err
	}
	out := APIKeyUsage{Days: make([]APIKeyDay, len(report.Days)), UnusedScopes: report.UnusedScopes}
	for i, d := range report.Days {
		out.Days[i] = APIKeyDay{
			Date: d.Date.Format(time.DateOnly), Allowed: d.Allowed, Denied: d.Denied, Limited: d.Limited,
			ByReason: d.ByReason, ByPermission: d.ByPermission,
		}
	}
	return &unversioned[APIKeyUsage]{Body: out}, nil
}

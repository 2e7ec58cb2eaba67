package httpapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// Passkey is a WebAuthn credential of an account.
type Passkey struct {
	ID             id.ID      `json:"id" format:"uuid"`
	Name           string     `json:"name"`
	AAGUID         id.ID      `json:"aaguid" format:"uuid" doc:"The authenticator's model; all zero when it does not say."`
	Transports     []string   `json:"transports" doc:"How the authenticator is reached, as the browser said: internal, hybrid, usb, …"`
	BackupEligible bool       `json:"backup_eligible" doc:"Whether it can be synchronised between devices."`
	BackedUp       bool       `json:"backed_up" doc:"Whether it was, when it was last used."`
	CreatedAt      timestamp  `json:"created_at"`
	LastUsedAt     *timestamp `json:"last_used_at" nullable:"true" doc:"No part of the ETag."`
}

func encodePasskey(p passkey.Passkey) Passkey {
	return Passkey{
		ID: p.ID, Name: p.Name, AAGUID: p.AAGUID, Transports: p.Transports, BackupEligible: p.BackupEligible, BackedUp: p.BackedUp,
		CreatedAt: timestamp(p.CreatedAt), LastUsedAt: stamp(p.LastUsedAt),
	}
}

// webauthnJSON is a JSON object whose members the WebAuthn specification names.
type webauthnJSON jsontext.Value

// MarshalJSON implements json.Marshaler.
func (o webauthnJSON) MarshalJSON() ([]byte, error) { return o, nil }

// UnmarshalJSON keeps the text.
func (o *webauthnJSON) UnmarshalJSON(b []byte) error {
	*o = append((*o)[:0], b...)
	return nil
}

// Schema implements huma.SchemaProvider.
func (webauthnJSON) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// PasskeyOptions are what a browser needs for a ceremony. They are good once, for five minutes.
type PasskeyOptions struct {
	PublicKey webauthnJSON `json:"publicKey" doc:"For PublicKeyCredential.parseCreationOptionsFromJSON or parseRequestOptionsFromJSON (WebAuthn Level 3, section 5.1)."`
}

func encodePasskeyOptions(o passkey.Options, err error) (*unversioned[PasskeyOptions], error) {
	if err != nil {
		return nil, err
	}
	return &unversioned[PasskeyOptions]{Body: PasskeyOptions{webauthnJSON(o.PublicKey)}}, nil
}

func (s *Server) passkeyRegistrationOptions(ctx context.Context, by actor.Actor, _ *struct{}) (*unversioned[PasskeyOptions], error) {
	return encodePasskeyOptions(s.Auth.PasskeyRegistrationOptions(ctx, by))
}

// NewPasskey is a credential that a browser has made.
type NewPasskey struct {
	Credential webauthnJSON `json:"credential" doc:"What navigator.credentials.create gave, by its toJSON()."`
	Name       string       `json:"name,omitempty" minLength:"1" maxLength:"100" doc:"By which you will know it."`
}

func (s *Server) registerPasskey(ctx context.Context, by actor.Actor, in *struct{ Body NewPasskey }) (*single[Passkey], error) {
	p, err := s.Auth.RegisterPasskey(ctx, by, in.Body.Credential, in.Body.Name)
	if err != nil {
		return nil, err
	}
	return created(encodePasskey(p), p.Version, "/auth/passkeys/"+p.ID.String()), nil
}

// PasskeyLoginStart begins a sign-in by passkey.
type PasskeyLoginStart struct {
	MFAToken string `json:"mfa_token,omitempty" doc:"Of a first factor that was right: then the passkey is the second one. Absent: it is all there is, and says who signs in."`
}

func (s *Server) passkeyLoginOptions(ctx context.Context, _ actor.Actor, in *struct{ Body *PasskeyLoginStart }) (*unversioned[PasskeyOptions], error) {
	var ticket string
	if in.Body != nil {
		ticket = in.Body.MFAToken
	}
	return encodePasskeyOptions(s.Auth.PasskeyLoginOptions(ctx, ticket))
}

// PasskeyLogin is a sign-in by passkey.
type PasskeyLogin struct {
	Credential webauthnJSON `json:"credential" doc:"What navigator.credentials.get gave, by its toJSON()."`
	MFAToken   string       `json:"mfa_token,omitempty" doc:"The one of the options; it is used up."`
	DeviceName string       `json:"device_name,omitempty" maxLength:"100" doc:"By which the list of sessions shows it; with an mfa_token the first factor's counts."`
	Cookie     bool         `json:"cookie,omitempty" doc:"For browsers: the refresh token goes into an HttpOnly cookie and not into the body; with an mfa_token the first factor's counts."`
}

func (s *Server) passkeyLogin(ctx context.Context, by actor.Actor, in *struct{ Body PasskeyLogin }) (*issued, error) {
	if err := s.mayUseCookie(ctx, in.Body.Cookie); err != nil {
		return nil, err
	}
	return s.issue(ctx)(s.Auth.LoginPasskey(ctx, by, auth.PasskeyLogin{
		Credential: in.Body.Credential, MFAToken: in.Body.MFAToken, DeviceName: in.Body.DeviceName, Cookie: in.Body.Cookie,
	}))
}

func (s *Server) passkeyReauthenticationOptions(ctx context.Context, by actor.Actor, _ *struct{}) (*unversioned[PasskeyOptions], error) {
	return encodePasskeyOptions(s.Auth.PasskeyReauthenticationOptions(ctx, by))
}

func (s *Server) listPasskeys(ctx context.Context, by actor.Actor, in *ByCreation) (*listing[Passkey], error) {
	const route = "GET /auth/passkeys"
	after, err := in.after(s, by, route, in.Sort)
	if err != nil {
		return nil, err
	}
	keys, err := s.Passkeys.List(ctx, by, passkey.Filter{Limit: in.Limit + 1, Ascending: in.ascending(), After: after})
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, []string{in.Sort}, keys,
		func(p passkey.Passkey) []string { return page.Position{Time: p.CreatedAt, ID: p.ID}.Keys() }, encodePasskey), nil
}

// PasskeyPatch changes a passkey.
type PasskeyPatch struct {
	Name opt[string] `json:"name,omitzero" minLength:"1" maxLength:"100"`
}

func (s *Server) renamePasskey(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Conditional
	Body PasskeyPatch
},
) (*single[Passkey], error) {
	key, err := in.id()
	if err != nil {
		return nil, err
	}
	p, err := s.Passkeys.Rename(ctx, by, key, in.Body.Name.Field, in.version())
	if err != nil {
		return nil, err
	}
	return one(encodePasskey(p), p.Version), nil
}

func (s *Server) removePasskey(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Conditional
},
) (*empty, error) {
	key, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Auth.RemovePasskey(ctx, by, key, in.version())
}

package httpapi

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// AuthConfig is what a sign-in page must know.
type AuthConfig struct {
	Registration string         `json:"registration" enum:"open,closed"`
	Verification string         `json:"verification" enum:"required,optional" doc:"Whether an address must be proven before it signs in."`
	Password     PasswordLength `json:"password"`
	Methods      []string       `json:"methods" doc:"Ways to sign in."`
	ProductName  string         `json:"product_name"`
}

// PasswordLength bounds passwords.
type PasswordLength struct {
	Min int `json:"min" doc:"Code points."`
	Max int `json:"max" doc:"Code points."`
}

func (s *Server) authConfig(context.Context, actor.Actor, *struct{}) (*unversioned[AuthConfig], error) {
	c := s.Auth.Public()
	return &unversioned[AuthConfig]{Body: AuthConfig{
		Registration: c.Registration, Verification: c.Verification,
		Password: PasswordLength{c.MinPassword, c.MaxPassword}, Methods: c.Methods, ProductName: c.ProductName,
	}}, nil
}

// Registration is what somebody registers with.
type Registration struct {
	Email       string  `json:"email" maxLength:"1024" doc:"Where the mail goes that proves it."`
	Password    string  `json:"password" maxLength:"1024" doc:"Its length is in GET /auth/config; common and guessable ones are refused."`
	DisplayName *string `json:"display_name,omitempty" maxLength:"120"`
	Locale      *string `json:"locale,omitempty" maxLength:"35" doc:"BCP 47; mails come in this language where there is one."`
}

// PendingRegistration is the answer to a registration, the same for every address.
type PendingRegistration struct {
	Status         string `json:"status" enum:"pending_verification"`
	RegistrationID string `json:"registration_id" doc:"Proves, with the token or code of the mail, who registered. Keep it to yourself."`
}

// registered is a pending registration, or the account where verification is optional.
type registered struct {
	pending *PendingRegistration
	account *User
}

// MarshalJSON writes whichever it is.
func (r registered) MarshalJSON() ([]byte, error) {
	if r.account != nil {
		return json.Marshal(r.account)
	}
	return json.Marshal(r.pending)
}

// Schema implements huma.SchemaProvider.
func (registered) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{
		r.Schema(reflect.TypeFor[PendingRegistration](), true, "PendingRegistration"), r.Schema(reflect.TypeFor[User](), true, "User"),
	}}
}

func encodeRegistered(r auth.Registered) *single[registered] {
	if r.User == nil {
		return &single[registered]{Status: http.StatusAccepted, Body: registered{pending: &PendingRegistration{
			Status: "pending_verification", RegistrationID: r.RegistrationID.Reveal(),
		}}}
	}
	account := encodeUser(r.User)
	out := created(registered{account: &account}, r.User.Version, "/users/"+r.User.ID.String())
	out.Status = http.StatusCreated
	return out
}

func (r *Registration) domain() auth.Registration {
	return auth.Registration{Email: r.Email, Password: secret.New(r.Password), DisplayName: r.DisplayName, Locale: r.Locale}
}

// Resolve implements huma.Resolver.
func (r *Registration) Resolve(ctx huma.Context) []error {
	return ruleFaults(callFrom(ctx.Context()).server.Auth.CheckRegistration(r.domain()))
}

func (s *Server) registerAccount(ctx context.Context, by actor.Actor, in *struct{ Body Registration }) (*single[registered], error) {
	r, err := s.Auth.Register(ctx, by, in.Body.domain(), keep(ctx, encodeRegistered))
	if err != nil {
		return nil, err
	}
	return encodeRegistered(r), nil
}

// EmailProof has one of three shapes: token and password, token and registration_id, code and registration_id.
type EmailProof struct {
	Token          *string `json:"token,omitempty" doc:"From the link in the mail."`
	Code           *string `json:"code,omitempty" doc:"The eight digits in the mail: 10 minutes, 5 tries."`
	RegistrationID *string `json:"registration_id,omitempty" doc:"From the answer to the registration."`
	Password       *string `json:"password,omitempty" maxLength:"1024" doc:"That was chosen at the registration; of an active account, its own."`
}

func (s *Server) verifyEmail(ctx context.Context, by actor.Actor, in *struct{ Body EmailProof }) (*empty, error) {
	v := auth.Verification{Token: in.Body.Token, Code: in.Body.Code, RegistrationID: in.Body.RegistrationID}
	if in.Body.Password != nil {
		v.Password = new(secret.New(*in.Body.Password))
	}
	return &empty{}, s.Auth.VerifyEmail(ctx, by, v)
}

// VerificationRequest asks for the verification mail again.
type VerificationRequest struct {
	Email          string `json:"email" maxLength:"1024"`
	RegistrationID string `json:"registration_id,omitempty" doc:"Of which registration; absent: the newest."`
}

func (s *Server) resendVerification(ctx context.Context, by actor.Actor, in *struct{ Body VerificationRequest }) (*empty, error) {
	return &empty{}, s.Auth.ResendVerification(ctx, by, in.Body.Email, in.Body.RegistrationID)
}

// Login is a sign-in by password.
type Login struct {
	Email      string `json:"email" maxLength:"1024"`
	Password   string `json:"password" maxLength:"1024"`
	DeviceName string `json:"device_name,omitempty" maxLength:"100" doc:"By which the list of sessions shows it."`
	Cookie     bool   `json:"cookie,omitempty" doc:"For browsers: the refresh token goes into an HttpOnly cookie and not into the body."`
}

func (s *Server) login(ctx context.Context, by actor.Actor, in *struct{ Body Login }) (*issued, error) {
	if err := s.mayUseCookie(ctx, in.Body.Cookie); err != nil {
		return nil, err
	}
	return s.issue(ctx)(s.Auth.Login(ctx, by, auth.Login{
		Email: in.Body.Email, Password: secret.New(in.Body.Password), DeviceName: in.Body.DeviceName, Cookie: in.Body.Cookie,
	}))
}

// RefreshRequest presents a refresh token.
type RefreshRequest struct {
	RefreshToken string `json:"refresh_token,omitempty" doc:"Absent: the one in the cookie."`
}

func (s *Server) refresh(ctx context.Context, by actor.Actor, in *struct{ Body *RefreshRequest }) (*issued, error) {
	var body string
	if in.Body != nil {
		body = in.Body.RefreshToken
	}
	presented, err := s.presented(ctx, body)
	if err != nil {
		return nil, err
	}
	return s.issue(ctx)(s.Auth.Refresh(ctx, by, presented))
}

// LogoutRequest may present a refresh token, when there is no access token any more.
type LogoutRequest struct {
	RefreshToken string `json:"refresh_token,omitempty" doc:"Absent: the one in the cookie, if any."`
}

func (s *Server) logout(ctx context.Context, by actor.Actor, in *struct{ Body *LogoutRequest }) (*signedOut, error) {
	var body string
	if in.Body != nil {
		body = in.Body.RefreshToken
	}
	presented, err := s.presented(ctx, body)
	if err != nil {
		return nil, err
	}
	out := &signedOut{}
	if callFrom(ctx).byCookie {
		out.SetCookie = s.cookie("", 0)
	}
	return out, s.Auth.Logout(ctx, by, presented)
}

// Reauthentication proves who the person of a session is, once more: by password, by method and code, or by method
// and credential.
type Reauthentication struct {
	Password   *string       `json:"password,omitempty" maxLength:"1024" doc:"Of an account with a second factor it is too little for calls that need a recent authentication."`
	Method     *string       `json:"method,omitempty" enum:"totp,recovery_code,passkey"`
	Code       *string       `json:"code,omitempty" maxLength:"1024"`
	Credential *webauthnJSON `json:"credential,omitempty" doc:"Of method passkey: what navigator.credentials.get gave for the options of /auth/passkeys/reauthentication/options, by its toJSON()."`
}

func (s *Server) reauthenticate(ctx context.Context, by actor.Actor, in *struct{ Body Reauthentication }) (*issued, error) {
	r := auth.Reauthentication{Method: in.Body.Method}
	if in.Body.Password != nil {
		r.Password = new(secret.New(*in.Body.Password))
	}
	if in.Body.Code != nil {
		r.Code = new(secret.New(*in.Body.Code))
	}
	if in.Body.Credential != nil {
		r.Credential = *in.Body.Credential
	}
	return s.issue(ctx)(s.Auth.Reauthenticate(ctx, by, r))
}

// InvitationAcceptance takes an invitation; the address and roles come with it.
type InvitationAcceptance struct {
	Token       string  `json:"token" doc:"From the link."`
	Password    string  `json:"password" maxLength:"1024"`
	DisplayName *string `json:"display_name,omitempty" maxLength:"120"`
}

func (s *Server) acceptInvitation(ctx context.Context, by actor.Actor, in *struct{ Body InvitationAcceptance }) (*empty, error) {
	return &empty{}, s.Auth.AcceptInvitation(ctx, by, auth.Acceptance{
		Token: in.Body.Token, Password: secret.New(in.Body.Password), DisplayName: in.Body.DisplayName,
	})
}

package httpapi

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// SecondStep finishes a sign-in that answered mfa_required.
type SecondStep struct {
	MFAToken string `json:"mfa_token" doc:"From the answer to the first step: 5 minutes, 5 tries, good once."`
	Method   string `json:"method" enum:"totp,recovery_code"`
	Code     string `json:"code" maxLength:"1024" doc:"Six digits, or a recovery code in any case, with or without its dashes."`
}

func (s *Server) verifyMFA(ctx context.Context, by actor.Actor, in *struct{ Body SecondStep }) (*issued, error) {
	return s.issue(ctx)(s.Auth.VerifySecond(ctx, by, auth.SecondStep{
		Token: secret.New(in.Body.MFAToken), Code: mfa.Code{Method: in.Body.Method, Text: secret.New(in.Body.Code)},
	}))
}

// Factor is a second factor that shares a secret with a device. Passkeys have a list of their own.
type Factor struct {
	ID         id.ID      `json:"id" format:"uuid"`
	Type       string     `json:"type" enum:"totp"`
	Name       *string    `json:"name"`
	Confirmed  bool       `json:"confirmed" doc:"False while it waits for its first code."`
	CreatedAt  timestamp  `json:"created_at"`
	LastUsedAt *timestamp `json:"last_used_at" nullable:"true"`
}

// Factors are all of an account.
type Factors struct {
	Data              []Factor `json:"data"`
	NextCursor        *string  `json:"next_cursor" doc:"Always null: there are at most eleven."`
	RecoveryCodesLeft int      `json:"recovery_codes_left" doc:"Recovery codes that have not been used."`
}

func (s *Server) listFactors(ctx context.Context, by actor.Actor, _ *struct{}) (*unversioned[Factors], error) {
	factors, left, err := s.Factors.List(ctx, by)
	if err != nil {
		return nil, err
	}
	out := Factors{Data: make([]Factor, len(factors)), RecoveryCodesLeft: left}
	for i, f := range factors {
		out.Data[i] = Factor{
			ID: f.ID, Type: f.Kind, Name: f.Name, Confirmed: f.ActivatedAt != nil,
			CreatedAt: timestamp(f.CreatedAt), LastUsedAt: stamp(f.LastUsedAt),
		}
	}
	return &unversioned[Factors]{Body: out}, nil
}

func (s *Server) removeFactor(ctx context.Context, by actor.Actor, in *Identified) (*empty, error) {
	factor, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Auth.RemoveFactor(ctx, by, factor)
}

// TOTPRequest may name the device.
type TOTPRequest struct {
	Name *string `json:"name,omitempty" maxLength:"100" doc:"By which the list of factors shows it."`
}

// TOTPEnrolment is a factor that waits for its first code. Its secret is shown here only.
type TOTPEnrolment struct {
	ID         id.ID  `json:"id" format:"uuid"`
	Secret     string `json:"secret" doc:"Base32, for those who type it."`
	OTPAuthURI string `json:"otpauth_uri"`
	QRPNG      string `json:"qr_png" doc:"The URI as a QR code: a data URL of a PNG."`
}

// enrolment is the answer that shows it.
type enrolment struct {
	Location string `header:"Location" doc:"Where the factor can be removed."`
	Body     TOTPEnrolment
}

func (s *Server) startTOTP(ctx context.Context, by actor.Actor, in *struct{ Body *TOTPRequest }) (*enrolment, error) {
	var name *string
	if in.Body != nil {
		name = in.Body.Name
	}
	e, err := s.Factors.Start(ctx, by, name)
	if err != nil {
		return nil, err
	}
	return &enrolment{
		Location: basePath + "/auth/mfa/factors/" + e.ID.String(),
		Body: TOTPEnrolment{
			ID: e.ID, Secret: e.Secret.Reveal(), OTPAuthURI: e.URI.Reveal(), QRPNG: e.QR.Reveal(),
		},
	}, nil
}

// TOTPActivation shows a code of the new factor.
type TOTPActivation struct {
	Code string `json:"code" maxLength:"1024" doc:"Six digits. It counts as used: the next sign-in takes the next one."`
}

// RecoveryCodes stand in for a second factor that is lost, each once. They are shown here only.
type RecoveryCodes struct {
	RecoveryCodes []string `json:"recovery_codes" minItems:"10" maxItems:"10"`
}

func encodeRecoveryCodes(codes []secret.Text, err error) (*unversioned[RecoveryCodes], error) {
	if err != nil {
		return nil, err
	}
	out := RecoveryCodes{RecoveryCodes: make([]string, len(codes))}
	for i, c := range codes {
		out.RecoveryCodes[i] = c.Reveal()
	}
	return &unversioned[RecoveryCodes]{Body: out}, nil
}

func (s *Server) activateTOTP(ctx context.Context, by actor.Actor, in *struct {
	Identified
	Body TOTPActivation
},
) (*unversioned[RecoveryCodes], error) {
	factor, err := in.id()
	if err != nil {
		return nil, err
	}
	return encodeRecoveryCodes(s.Auth.ActivateTOTP(ctx, by, factor, secret.New(in.Body.Code)))
}

func (s *Server) newRecoveryCodes(ctx context.Context, by actor.Actor, _ *struct{}) (*unversioned[RecoveryCodes], error) {
	return encodeRecoveryCodes(s.Auth.NewRecoveryCodes(ctx, by))
}

// resetMFA lets an administrator take another's factors. One's own go by this way, too, only where they could go by the
// other: with a fresh session.
func (s *Server) resetMFA(ctx context.Context, by actor.Actor, in *Identified) (*empty, error) {
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	if by.Is(target) && by.Kind == actor.User && !fresh(by, s.Clock.Now()) {
		return nil, errReauthenticate
	}
	return &empty{}, s.Accounts.ResetMFA(ctx, by, target)
}

package httpapi

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Mailbox names whose mailbox a link goes to. The answer is the same whether there is such an account or not.
type Mailbox struct {
	Email string `json:"email" maxLength:"1024"`
}

func (s *Server) forgotPassword(ctx context.Context, by actor.Actor, in *struct{ Body Mailbox }) (*empty, error) {
	return &empty{}, s.Auth.ForgotPassword(ctx, by, in.Body.Email)
}

// PasswordReset sets a new password by a mailed link.
type PasswordReset struct {
	Token       string `json:"token" doc:"From the link: 30 minutes, one use. A password that is refused does not use it."`
	NewPassword string `json:"new_password" maxLength:"1024"`
}

func (s *Server) resetPassword(ctx context.Context, by actor.Actor, in *struct{ Body PasswordReset }) (*empty, error) {
	return &empty{}, s.Auth.ResetPassword(ctx, by, in.Body.Token, secret.New(in.Body.NewPassword))
}

// PasswordChange replaces the password of whoever is signed in.
type PasswordChange struct {
	CurrentPassword string `json:"current_password" maxLength:"1024"`
	NewPassword     string `json:"new_password" maxLength:"1024"`
}

func (s *Server) changePassword(ctx context.Context, by actor.Actor, in *struct{ Body PasswordChange }) (*empty, error) {
	return &empty{}, s.Auth.ChangePassword(ctx, by, auth.PasswordChange{
		Current: secret.New(in.Body.CurrentPassword), New: secret.New(in.Body.NewPassword),
	})
}

func (s *Server) sendPasswordReset(ctx context.Context, by actor.Actor, in *Identified) (*empty, error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Accounts.SendPasswordReset(ctx, by, of)
}

func (s *Server) sendMagicLink(ctx context.Context, by actor.Actor, in *struct{ Body Mailbox }) (*empty, error) {
	return &empty{}, s.Auth.SendMagicLink(ctx, by, in.Body.Email)
}

// MagicLink signs in by a mailed link.
type MagicLink struct {
	Token  string `json:"token" doc:"From the link: 15 minutes, one use."`
	Cookie bool   `json:"cookie,omitempty" doc:"For browsers: the refresh token goes into an HttpOnly cookie and not into the body."`
}

func (s *Server) verifyMagicLink(ctx context.Context, by actor.Actor, in *struct{ Body MagicLink }) (*issued, error) {
	if err := s.mayUseCookie(ctx, in.Body.Cookie); err != nil {
		return nil, err
	}
	return s.issue(ctx)(s.Auth.EnterByMagicLink(ctx, by, in.Body.Token, in.Body.Cookie))
}

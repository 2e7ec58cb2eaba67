package auth

import (
	"fmt"
	"time"

	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Tokens are what a sign-in, a refresh or a reauthentication answers with.
type Tokens struct {
	AccessToken      secret.Text
	ExpiresIn        time.Duration
	RefreshToken     secret.Text
	RefreshExpiresIn time.Duration
	SessionID        id.ID
	Cookie           bool // the refresh token must travel in a cookie, never in a body
}

// mint signs an access token of the session. Call it after the commit: a signature costs more than a row lock should wait.
func (s *Service) mint(g session.Grant) (Tokens, error) {
	text, claims, err := s.Issuer.Sign(token.Claims{
		Subject: g.UserID.String(), SessionID: g.SessionID.String(), AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR, Roles: g.Roles,
	})
	if err != nil {
		return Tokens{}, fmt.Errorf("mint tokens: %w", err)
	}
	return Tokens{
		AccessToken: text, ExpiresIn: claims.ExpiresAt.Sub(claims.IssuedAt),
		RefreshToken: g.RefreshToken, RefreshExpiresIn: g.RefreshTTL, SessionID: g.SessionID, Cookie: g.Cookie,
	}, nil
}

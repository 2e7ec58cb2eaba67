package auth

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

// The types of tokens in an introspection (RFC 7662, section 2.2).
const (
	typeAccess  = "Bearer"
	typeRefresh = "refresh_token"
)

// Introspection is what a living token says.
type Introspection struct {
	TokenType string
	ClientID  string
	Username  string // the account's address
	Subject   id.ID
	SessionID id.ID
	ID        string // jti
	Issuer    string
	Audience  []string
	IssuedAt  time.Time
	ExpiresAt time.Time
	AuthTime  time.Time
	ACR       string
	AMR       []string
}

// Introspect says what a token is good for, nil for one that is good for nothing now: unknown, expired, ended, or no
// access or refresh token. An access token is alive when this service itself would take it, a refresh token when a
// refresh would. Asking changes nothing: a refresh token that came back ends its session only when it is used.
// The caller's permission is the route's to check.
func (s *Service) Introspect(ctx context.Context, text secret.Text) (*Introspection, error) {
	if presented, ok := s.Sessions.Parse(text.Reveal()); ok {
		return s.introspectRefresh(ctx, presented)
	}
	claims, err := s.Verifier.Verify(ctx, text.Reveal())
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // whatever is wrong with it, it is not active
	}
	user, session, ok := subject(claims)
	if !ok {
		return nil, nil //nolint:nilnil // not active
	}
	p, err := s.Access.Session(ctx, access.Session{UserID: user, SessionID: session})
	if errors.Is(err, actor.ErrSession) {
		return nil, nil //nolint:nilnil // not active
	}
	if err != nil {
		return nil, err
	}
	return &Introspection{
		TokenType: typeAccess, ClientID: claims.ClientID, Username: p.Label, Subject: user, SessionID: session, ID: claims.ID,
		Issuer: claims.Issuer, Audience: claims.Audience, IssuedAt: claims.IssuedAt, ExpiresAt: claims.ExpiresAt,
		AuthTime: claims.AuthTime, ACR: claims.ACR, AMR: claims.AMR,
	}, nil
}

func (s *Service) introspectRefresh(ctx context.Context, presented token.Refresh) (*Introspection, error) {
	g, alive, err := s.Sessions.Standing(ctx, presented)
	if err != nil || !alive {
		return nil, err
	}
	return &Introspection{
		TokenType: typeRefresh, ClientID: token.ClientID, Username: g.Email, Subject: g.UserID, SessionID: g.SessionID,
		ID:     g.SessionID.String() + "." + strconv.FormatInt(presented.Counter, 10),
		Issuer: s.Issuer.Name(), Audience: []string{s.Issuer.Name()}, IssuedAt: g.IssuedAt, ExpiresAt: g.ExpiresAt,
		AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR,
	}, nil
}

// Revoke ends the session of a refresh token, whichever of its tokens it is, or of an access token. Who holds one may end
// it. Every other text is fine and ends nothing (RFC 7009, section 2.2).
func (s *Service) Revoke(ctx context.Context, by actor.Actor, text secret.Text) error {
	if presented, ok := s.Sessions.Parse(text.Reveal()); ok {
		_, err := s.Sessions.EndByToken(ctx, by, presented)
		return err
	}
	claims, err := s.Verifier.Verify(ctx, text.Reveal())
	if err != nil {
		return nil //nolint:nilerr // a token that is not valid needs no revocation
	}
	user, session, ok := subject(claims)
	if !ok {
		return nil
	}
	return s.Sessions.EndByAccess(ctx, by, session, user)
}

// subject reads the ids of a verified token.
func subject(c *token.Claims) (user, session id.ID, ok bool) {
	user, okUser := id.Parse(c.Subject)
	session, okSession := id.Parse(c.SessionID)
	return user, session, okUser && okSession
}

package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/token"
)

// authenticate finds out who calls and puts it into the call. It returns nil for a caller who is nobody.
func (s *Server) authenticate(c *call, r *http.Request) (*access.Principal, error) {
	c.actor = actor.Nobody(origin(r))
	credential, isKey, err := readCredential(r.Header)
	if err != nil || c.route.Policy.access == open {
		return nil, err
	}
	if credential == "" {
		if c.route.Policy.access == optional {
			return nil, nil
		}
		return nil, errUnauthenticated
	}
	// A replica that has not come up yet knows no keys; it must not call a good token bad.
	if err := s.Up(); err != nil {
		return nil, err
	}
	p, err := s.principal(r.Context(), c, credential, isKey || token.LooksLikeAPIKey(credential))
	if err != nil {
		if f := fault.As(err); c.route.Policy.access == optional && f != nil && f.Kind == fault.Unauthenticated {
			return nil, nil
		}
		return nil, err
	}
	c.actor = p.Actor(c.actor.Origin)
	rec := middleware.RecordFrom(r.Context())
	rec.UserID, rec.KeyID, rec.SessionID = p.UserID, p.KeyID, p.SessionID
	return p, nil
}

// readCredential returns the one credential of a request, "" when there is none. It is never looked for in the URL.
func readCredential(h http.Header) (credential string, isKey bool, err error) {
	bearer, keys := h["Authorization"], h["X-Api-Key"]
	switch {
	case len(bearer)+len(keys) > 1:
		return "", false, errMultipleCredentials
	case len(keys) == 1:
		return keys[0], true, nil
	case len(bearer) == 1:
		scheme, rest, _ := strings.Cut(bearer[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimLeft(rest, " "), false, nil
		}
	}
	return "", false, nil
}

// principal is who presents the credential. One that cannot be read is refused by the very words that refuse one which
// has ended.
func (s *Server) principal(ctx context.Context, c *call, credential string, isKey bool) (*access.Principal, error) {
	if isKey {
		key, ok := token.ParseAPIKey(credential)
		if !ok {
			s.Metrics.UnreadableCredentials.WithLabelValues("api_key").Inc()
			return nil, access.ErrKey
		}
		p, err := s.Access.Key(ctx, access.Key{PublicID: key.PublicID, SecretHash: key.Hash, Environment: string(key.Environment)}, c.actor.Origin.IP)
		if err != nil {
			return nil, s.keyRefused(ctx, c, key, p, err)
		}
		return p, nil
	}
	claims, err := s.Verifier.Verify(ctx, credential)
	if err != nil {
		s.Metrics.UnreadableCredentials.WithLabelValues("access_token").Inc()
		return nil, actor.ErrSession.Because(err)
	}
	user, okUser := id.Parse(claims.Subject)
	session, okSession := id.Parse(claims.SessionID)
	if !okUser || !okSession {
		return nil, actor.ErrSession
	}
	return s.Access.Session(ctx, access.Session{UserID: user, SessionID: session})
}

// keyRefused records an attempt with a well-formed key: who made it is not known, whose key it is may be.
func (s *Server) keyRefused(ctx context.Context, c *call, key token.ParsedAPIKey, p *access.Principal, err error) error {
	f := fault.As(err)
	if f == nil || f.Kind != fault.Unauthenticated && f.Kind != fault.Forbidden {
		return err
	}
	e := audit.Event{
		Action: "api_key.authenticate", Outcome: audit.Failure, Reason: f.Code,
		Target: audit.Target{Type: "api_key", Label: key.PublicID},
	}
	var refusal *access.Refusal
	switch {
	case errors.As(err, &refusal):
		e.Reason, e.Target.ID, e.Target.Owner = string(refusal.Reason), refusal.KeyID, refusal.UserID
	case p != nil:
		e.Target.ID, e.Target.Owner = p.KeyID, p.UserID
	}
	if e.Target.ID != id.Nil && e.Reason != string(access.WrongSecret) { // whoever cannot prove a key does not use it
		s.KeyUsage.Record(apikey.Use{Key: e.Target.ID, PublicID: key.PublicID, Outcome: apikey.Denied, Reason: e.Reason})
	}
	if auditErr := audit.Record(ctx, s.DB, c.actor, e); auditErr != nil {
		return auditErr
	}
	return err
}

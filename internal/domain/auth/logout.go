package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Logout ends the caller's session and the one that the refresh token belongs to, whichever are there. That there is
// nothing to end is no fault.
func (s *Service) Logout(ctx context.Context, by actor.Actor, refresh secret.Text) error {
	if by.SessionID != id.Nil {
		if err := s.Sessions.End(ctx, by, by.SessionID); err != nil && !errors.Is(err, fault.ErrNotFound) {
			return err
		}
	}
	presented, ok := s.Sessions.Parse(refresh.Reveal())
	if !ok || presented.SessionID == by.SessionID {
		return nil
	}
	_, err := s.Sessions.EndByToken(ctx, by, presented)
	return err
}

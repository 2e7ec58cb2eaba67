package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Reauthenticate lets the person of a session prove himself again: a new access token with a fresh authentication time,
// and the session's current refresh token, not rotated. It counts like a login. The faults: ErrInvalidCredentials,
// throttle.ErrLimited.
func (s *Service) Reauthenticate(ctx context.Context, by actor.Actor, password secret.Text) (Tokens, error) {
	a, err := byID(ctx, s.DB, by.UserID)
	if postgres.NoRows(err) {
		return Tokens{}, actor.ErrSession
	}
	if err != nil {
		return Tokens{}, err
	}
	event := audit.Event{
		Action:  "auth.reauthenticate",
		Outcome: audit.Success,
		Target:  audit.Target{Type: "session", ID: by.SessionID, Owner: by.UserID},
	}
	attempt := throttle.Attempt{EmailNorm: a.EmailNorm, IP: by.Origin.IP}
	if err := s.admit(ctx, by, attempt, event); err != nil {
		return Tokens{}, err
	}
	ok, _, err := s.judge(ctx, attempt, password, a.PasswordHash)
	if err != nil {
		return Tokens{}, err
	}
	if !ok {
		if err := s.fail(ctx, by, event, ErrInvalidCredentials); err != nil {
			return Tokens{}, err
		}
		return Tokens{}, ErrInvalidCredentials
	}
	var grant session.Grant
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if grant, err = s.Sessions.Reauthenticated(ctx, tx, by, session.ByPassword()); err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, by, event); err != nil {
			return err
		}
		return s.Limits.GiveBack(ctx, tx, attempt)
	})
	if errors.Is(err, fault.ErrNotFound) {
		return Tokens{}, actor.ErrSession
	}
	if err != nil {
		return Tokens{}, err
	}
	return s.mint(grant)
}

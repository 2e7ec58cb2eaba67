package account

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Sessions returns at most f.Limit of an account's sessions. Needs users:write, and an account that is not above the
// caller: where an administrator works from is not for those to know who may not manage him. Keys never touch sessions.
func (s *Service) Sessions(ctx context.Context, by actor.Actor, of id.ID, f session.Filter) (sessions []session.Session, err error) {
	if by.Kind == actor.APIKey {
		return nil, actor.ErrSessionRequired
	}
	if !by.May(user.WritePermission) {
		return nil, actor.Denied(user.WritePermission)
	}
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if _, err := user.FindOne(ctx, tx, of); err != nil {
			return err
		}
		if err := s.Authorizer.CheckTarget(ctx, tx, by, of); err != nil {
			return err
		}
		sessions, err = session.List(ctx, tx, of, f)
		return err
	})
	return sessions, err
}

// EndSessions ends every session of an account, the caller's own included when it is his. Its keys stay. Needs
// users:write, a session, and an account that is not above the caller. One event, and none when there was nothing to end.
func (s *Service) EndSessions(ctx context.Context, by actor.Actor, of id.ID) error {
	if by.Kind == actor.APIKey {
		return actor.ErrSessionRequired
	}
	if !by.May(user.WritePermission) {
		return actor.Denied(user.WritePermission)
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		u, err := s.lock(ctx, tx, by, of, nil)
		if err != nil {
			return err
		}
		ended, err := session.EndAll(ctx, tx, of)
		if err != nil || ended == 0 {
			return err
		}
		if err := s.Changes.Of(ctx, tx, of); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{Action: "user.end_sessions", Outcome: audit.Success, Target: u.Target()})
	})
}

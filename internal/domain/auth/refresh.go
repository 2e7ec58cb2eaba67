package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Refresh rotates a refresh token: the session's current one, or its parent within the grace. Everything else is
// ErrRefreshToken; a token that is older than that ends its session, which commits although the answer is a refusal,
// and its owner is told by mail. One statement for the current token.
func (s *Service) Refresh(ctx context.Context, by actor.Actor, text secret.Text) (Tokens, error) {
	presented, ok := s.Sessions.Parse(text.Reveal())
	if !ok {
		return Tokens{}, ErrRefreshToken
	}
	grant, rotated, err := s.Sessions.Rotate(ctx, by, presented)
	if err != nil {
		return Tokens{}, err
	}
	if !rotated {
		if grant, err = s.refreshAgain(ctx, by, presented); err != nil {
			return Tokens{}, err
		}
	}
	return s.mint(grant)
}

// refreshAgain deals with a token that is not its session's current one.
func (s *Service) refreshAgain(ctx context.Context, by actor.Actor, presented token.Refresh) (session.Grant, error) {
	var j session.Judgement
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if j, err = s.Sessions.Judge(ctx, tx, presented); err != nil {
			return err
		}
		target := audit.Target{Type: "session", ID: presented.SessionID, Owner: j.Grant.UserID}
		switch j.Outcome {
		case session.Repeated:
			return audit.Record(ctx, tx, by.As(j.Grant.UserID, j.Grant.Email), audit.Event{
				Action: "session.refresh", Outcome: audit.Success, Target: target,
			})
		case session.Reused:
			return s.reused(ctx, tx, by, j, target)
		case session.Refused:
		}
		return nil
	})
	if err == nil && j.Outcome != session.Repeated {
		err = ErrRefreshToken
	}
	return j.Grant, err
}

// reused records that a token came back after it was used, and tells the owner: it may have been copied.
func (s *Service) reused(ctx context.Context, tx postgres.Tx, by actor.Actor, j session.Judgement, target audit.Target) error {
	device := session.Session{DeviceName: j.DeviceName, UserAgent: j.UserAgent}.Device()
	target.Label = orEmpty(device)
	err := audit.Record(ctx, tx, by, audit.Event{
		Action: "session.reuse", Outcome: audit.Failure, Target: target, Reason: "an older refresh token was presented",
	})
	if err != nil {
		return err
	}
	return s.Outbox.Enqueue(ctx, tx, notify.Mail{
		UserID: j.Grant.UserID, To: j.Grant.Email, Locale: orEmpty(j.Locale),
		Content: notify.SessionReuse{Device: orEmpty(device), At: s.Clock.Now()},
	})
}

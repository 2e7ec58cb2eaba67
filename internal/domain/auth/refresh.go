package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Refresh rotates a refresh token: the session's current one, or its parent within the grace. Everything else is
// ErrRefreshToken; a token that is older than that ends its session, which commits although the answer is a refusal,
// and its owner is told by mail. Two statements.
func (s *Service) Refresh(ctx context.Context, by actor.Actor, text secret.Text) (Tokens, error) {
	presented, ok := s.Sessions.Parse(text.Reveal())
	if !ok {
		return Tokens{}, ErrRefreshToken
	}
	var r session.Rotation
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if r, err = s.Sessions.Rotate(ctx, tx, presented, by.Origin); err != nil {
			return err
		}
		target := audit.Target{Type: "session", ID: presented.SessionID, Owner: r.Grant.UserID}
		switch r.Outcome {
		case session.Rotated, session.Repeated:
			return audit.Record(ctx, tx, by.As(r.Grant.UserID, r.Grant.Email), audit.Event{
				Action: "session.refresh", Outcome: audit.Success, Target: target,
			})
		case session.Reused:
			return s.reused(ctx, tx, by, r, target)
		case session.Refused:
		}
		return nil
	})
	if err != nil {
		return Tokens{}, err
	}
	if r.Outcome != session.Rotated && r.Outcome != session.Repeated {
		return Tokens{}, ErrRefreshToken
	}
	return s.mint(r.Grant)
}

// reused records that a token came back after it was used, and tells the owner: it may have been copied.
func (s *Service) reused(ctx context.Context, tx postgres.Tx, by actor.Actor, r session.Rotation, target audit.Target) error {
	device := r.DeviceName
	if device == nil {
		device = r.UserAgent
	}
	target.Label = orEmpty(device)
	err := audit.Record(ctx, tx, by, audit.Event{
		Action: "session.reuse", Outcome: audit.Failure, Target: target, Reason: "an older refresh token was presented",
	})
	if err != nil {
		return err
	}
	return s.Outbox.Enqueue(ctx, tx, notify.Mail{
		UserID: r.Grant.UserID, To: r.Grant.Email, Locale: orEmpty(r.Locale),
		Content: notify.SessionReuse{Device: orEmpty(device), At: s.Clock.Now()},
	})
}

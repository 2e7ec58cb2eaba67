package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// PasswordChange is a new password, by somebody who knows the old one.
type PasswordChange struct{ Current, New secret.Text }

// ChangePassword replaces the password of whoever is signed in and knows it. The other sessions end, and every claim
// that waits for its proof; this session goes on, and API keys stay. It counts like a login. The faults: validation,
// ErrInvalidCredentials, throttle.ErrLimited, password.ErrOverloaded.
//
// The account's epoch is raised, which ends at once whatever is bound to it: sign-ins that wait for a second factor,
// mailed links, other sessions. The session that goes on is bound to the new epoch in the same transaction. Keys are
// bound to none.
func (s *Service) ChangePassword(ctx context.Context, by actor.Actor, in PasswordChange) error {
	a, err := byID(ctx, s.DB, by.UserID)
	if postgres.NoRows(err) {
		return actor.ErrSession
	}
	if err != nil {
		return err
	}
	var v fault.Validation
	s.checkNewPassword(&v, in.New, a)
	if err := v.Err(); err != nil {
		return err
	}
	event := audit.Event{
		Action: "auth.password_change", Outcome: audit.Success, Target: s.target(a.ID, a.Email, a.EmailNorm),
	}
	attempt := throttle.Attempt{EmailNorm: a.EmailNorm, IP: by.Origin.IP}
	if err := s.admit(ctx, by, attempt, event); err != nil {
		return err
	}
	ok, _, err := s.judge(ctx, attempt, in.Current, a.PasswordHash)
	if err != nil {
		return err
	}
	if !ok {
		if err := s.fail(ctx, by, event, ErrInvalidCredentials); err != nil {
			return err
		}
		return ErrInvalidCredentials
	}
	hash, err := s.Hasher.Hash(ctx, in.New)
	if err != nil {
		return err
	}
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		epoch, err := setPassword(ctx, tx, a, hash)
		if err != nil {
			return err
		}
		if err := session.KeepOnly(ctx, tx, a.ID, by.SessionID, epoch); err != nil {
			return err
		}
		if err := onetime.EndClaims(ctx, tx, a.ID); err != nil {
			return err
		}
		if err := s.Changes.Of(ctx, tx, a.ID); err != nil {
			return err
		}
		err = s.tell(ctx, tx, owner(a), notify.PasswordChanged{Name: orEmpty(a.DisplayName), At: s.Clock.Now()})
		if err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, by, event); err != nil {
			return err
		}
		return s.knew(ctx, tx, attempt, a.MFAEnabled)
	})
	if errors.Is(err, fault.ErrNotFound) {
		return actor.ErrSession
	}
	return err
}

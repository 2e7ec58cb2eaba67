package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Delete removes an account: at once, or after the grace, in which it is only marked, and tells its owner. Needs
// users:delete.
func (s *Service) Delete(ctx context.Context, by actor.Actor, of id.ID, ifMatch *int64) error {
	if !by.May(user.DeletePermission) {
		return actor.Denied(user.DeletePermission)
	}
	return s.delete(ctx, by, of, ifMatch)
}

// DeleteMe is Delete for the caller's own account; it needs no permission. That the caller has a fresh session is the
// route's to ask.
func (s *Service) DeleteMe(ctx context.Context, by actor.Actor, ifMatch *int64) error {
	return s.delete(ctx, by, by.UserID, ifMatch)
}

func (s *Service) delete(ctx context.Context, by actor.Actor, of id.ID, ifMatch *int64) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		u, keepAnAdmin, err := s.target(ctx, tx, by, of, ifMatch)
		if err != nil {
			return err
		}
		switch {
		case s.Config.DeletionGrace == 0:
			err = s.purge(ctx, tx, by, of, "user.delete")
		case u.Status == user.Deleting:
			return nil
		default:
			_, err = s.move(ctx, tx, by, u, user.Deleting, "user.delete", "")
		}
		if err != nil {
			return err
		}
		if err := s.tellDeleted(ctx, tx, u); err != nil {
			return err
		}
		return keepAnAdmin(ctx)
	})
}

// tellDeleted mails the owner, where the address is proven. Without a grace his row is gone by then: the mail belongs to
// no account, and nothing of it stays when it has been sent.
func (s *Service) tellDeleted(ctx context.Context, tx postgres.Tx, u *user.User) error {
	if u.Email == nil || !u.EmailVerified {
		return nil
	}
	m := notify.Mail{To: *u.Email, Locale: orEmpty(u.Locale)}
	content := notify.AccountDeleted{Name: orEmpty(u.DisplayName)}
	if s.Config.DeletionGrace > 0 {
		m.UserID, content.Until = u.ID, s.Clock.Now().Add(s.Config.DeletionGrace)
	}
	m.Content = content
	return s.Outbox.Enqueue(ctx, tx, m)
}

// purge removes the account's row with everything that hangs on it, and the person from the audit log. What is
// recorded of it afterwards brings nothing of the person back: ids alone, also when the person does it himself.
func (s *Service) purge(ctx context.Context, tx postgres.Tx, by actor.Actor, of id.ID, action string) error {
	if s.Avatars != nil {
		if err := s.Avatars.Release(ctx, tx, of); err != nil {
			return err
		}
	}
	if err := onetime.Disable(ctx, tx, of); err != nil { // the invitations that it sent outlive it, void
		return err
	}
	if err := user.Remove(ctx, tx, of); err != nil {
		return err
	}
	if err := idempotency.Forget(ctx, tx, of); err != nil {
		return err
	}
	if err := audit.Erase(ctx, tx, of); err != nil {
		return err
	}
	if by.Is(of) {
		by.Label = ""
		by.Origin = actor.Origin{RequestID: by.Origin.RequestID}
	}
	err := audit.Record(ctx, tx, by, audit.Event{
		Action: action, Outcome: audit.Success, Target: audit.Target{Type: "user", ID: of},
	})
	if err != nil {
		return err
	}
	return s.Changes.Of(ctx, tx, of)
}

const purgeBatch = 100

// PurgeDue removes the accounts whose grace has ended, each in a transaction of its own, and returns how many. It is
// the service's own periodic work; several replicas may do it at once.
func (s *Service) PurgeDue(ctx context.Context) (int, error) {
	purged := 0
	by := actor.Service("purge")
	for {
		due, err := user.Expired(ctx, s.DB, s.Config.DeletionGrace, purgeBatch)
		if err != nil {
			return purged, err
		}
		for _, of := range due {
			gone, err := s.purgeOne(ctx, by, of)
			if err != nil {
				return purged, fmt.Errorf("purge user %s: %w", of, err)
			}
			if gone {
				purged++
			}
		}
		if len(due) < purgeBatch {
			return purged, nil
		}
	}
}

func (s *Service) purgeOne(ctx context.Context, by actor.Actor, of id.ID) (gone bool, err error) {
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		gone = false
		u, err := user.Lock(ctx, tx, of)
		if errors.Is(err, fault.ErrNotFound) || err == nil && u.Status != user.Deleting {
			return nil // another replica was faster, or somebody reactivated it
		}
		if err != nil {
			return err
		}
		gone = true
		return s.purge(ctx, tx, by, of, "user.purge")
	})
	return gone, err
}

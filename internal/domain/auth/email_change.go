package auth

import (
	"context"
	"errors"
	"net/netip"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// errNewEmail is what an address that is none gets.
var errNewEmail = fault.InvalidField("/new_email", "invalid_email",
	"Give one plain address such as name@example.org: no quotes, no display name, no letters outside ASCII before the @.")

// ChangeEmail asks for another address of the caller's own account; that he has a fresh session is the route's to ask.
// The address in force stays so until the other one is confirmed, and is told, with a way back. Nobody can tell whether
// the other address has an account: its owner gets a mail that tells him, and all else is the same. One's own address is
// no change. When the other address has had its mails nothing happens. The only fault of its own is an address that is none.
func (s *Service) ChangeEmail(ctx context.Context, by actor.Actor, to string) error {
	to, norm, err := user.ParseEmail(to)
	if err != nil {
		return errNewEmail
	}
	return evenly(ctx, func() error {
		return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			a, err := lockActive(ctx, tx, by.UserID)
			if postgres.NoRows(err) {
				return actor.ErrSession
			}
			if err != nil || norm == a.EmailNorm {
				return err
			}
			// No network of the caller's counts: that it is one where the other address signs in must not show.
			allowed, err := s.Limits.AllowMail(ctx, tx, norm, netip.Addr{})
			if err != nil || !allowed {
				return err
			}
			if err := s.tellOldAddress(ctx, tx, a); err != nil {
				return err
			}
			if err := s.askNewAddress(ctx, tx, a, to, norm); err != nil {
				return err
			}
			return audit.Record(ctx, tx, by, audit.Event{
				Action: "email_change.request", Outcome: audit.Success, Target: s.target(a.ID, a.Email, a.EmailNorm),
				Changes: map[string]audit.Change{"email": {From: a.Email, To: to}},
			})
		})
	})
}

// tellOldAddress mails the notice to the address in force. Where nobody has proven that address there is no way back to
// it: it may be a stranger's, by a slip.
func (s *Service) tellOldAddress(ctx context.Context, tx postgres.Tx, a account) error {
	notice := notify.EmailChangeNotice{Name: orEmpty(a.DisplayName), At: s.Clock.Now(), Life: onetime.EmailUndoLife}
	if a.EmailVerified {
		var err error
		if notice.Token, err = s.OneTime.EmailUndo(ctx, tx, a.recipient()); err != nil {
			return err
		}
	}
	return s.tell(ctx, tx, owner(a), notice)
}

func (s *Service) askNewAddress(ctx context.Context, tx postgres.Tx, a account, to, norm string) error {
	holder, err := byAddress(ctx, tx, norm)
	if err != nil {
		return err
	}
	if holder.ID == id.Nil {
		token, err := s.OneTime.StartEmailChange(ctx, tx, a.recipient(), to)
		if err != nil {
			return err
		}
		return s.Outbox.Enqueue(ctx, tx, notify.Mail{
			UserID: a.ID, To: to, Locale: orEmpty(a.Locale),
			Content: notify.EmailChangeConfirm{Name: orEmpty(a.DisplayName), Token: token, Life: onetime.EmailChangeLife},
		})
	}
	if err := onetime.EndEmailChange(ctx, tx, a.ID); err != nil || holder.Status != user.Active && holder.Status != user.Pending {
		return err
	}
	return s.Outbox.Enqueue(ctx, tx, notify.Mail{
		UserID: holder.ID, To: holder.Email, Locale: orEmpty(holder.Locale),
		Content: notify.EmailChangeTaken{Name: orEmpty(holder.DisplayName)},
	})
}

// ConfirmEmailChange gives the account the address that the token was mailed to, proven by it. What was mailed to the old
// one is dead, but for the way back. Sessions and keys go on: whoever asked had just proven himself, the address is no
// factor, and who did not ask has the way back, which ends the sessions. The faults: onetime.ErrInvalid,
// user.ErrEmailTaken when somebody took the address meanwhile (the token lives on).
func (s *Service) ConfirmEmailChange(ctx context.Context, by actor.Actor, token string) error {
	p, err := s.OneTime.EmailChange(ctx, token)
	if err != nil {
		return err
	}
	return s.moveEmail(ctx, by, p, "email_change.confirm", func(ctx context.Context, tx postgres.Tx, norm string) error {
		if err := moveAddress(ctx, tx, p, norm); err != nil {
			return err
		}
		return s.OneTime.ConsumeEmailChange(ctx, tx, p)
	})
}

// UndoEmailChange gives the account the address back that the token was mailed to, whether the change has been confirmed,
// has been followed by others, or is still pending: then it is canceled. Sessions end, and everything that was mailed
// since; the password is the owner's to reset. The faults: onetime.ErrInvalid, user.ErrEmailTaken when somebody has
// proven the address meanwhile (the token lives on).
func (s *Service) UndoEmailChange(ctx context.Context, by actor.Actor, token string) error {
	p, err := s.OneTime.EmailRestoration(ctx, token)
	if err != nil {
		return err
	}
	return s.moveEmail(ctx, by, p, "email_change.undo", func(ctx context.Context, tx postgres.Tx, norm string) error {
		if err := s.evictClaim(ctx, tx, by, p.UserID, norm); err != nil {
			return err
		}
		if err := restoreAddress(ctx, tx, p, norm); err != nil {
			return err
		}
		if err := s.OneTime.ConsumeEmailUndo(ctx, tx, p); err != nil {
			return err
		}
		_, err := session.EndAll(ctx, tx, p.UserID)
		return err
	})
}

// evictClaim removes a registration of the address that nobody has proven: it must not be a means of keeping the owner
// of the mailbox from coming back.
func (s *Service) evictClaim(ctx context.Context, tx postgres.Tx, by actor.Actor, of id.ID, norm string) error {
	claim, err := removeClaim(ctx, tx, norm, of)
	if err != nil || claim == id.Nil {
		return err
	}
	if err := idempotency.Forget(ctx, tx, claim); err != nil {
		return err
	}
	if err := audit.Erase(ctx, tx, claim); err != nil {
		return err
	}
	return audit.Record(ctx, tx, by, audit.Event{
		Action: "user.purge", Outcome: audit.Success, Target: audit.Target{Type: "user", ID: claim},
	})
}

// moveEmail is what both have in common: move in a transaction, the limits of the address that is now proven, the event.
func (s *Service) moveEmail(
	ctx context.Context, by actor.Actor, p onetime.EmailProof, action string,
	move func(ctx context.Context, tx postgres.Tx, norm string) error,
) error {
	_, norm, err := user.ParseEmail(p.Gives)
	if err != nil {
		return err
	}
	event := audit.Event{Action: action, Outcome: audit.Success, Target: s.target(p.UserID, p.Email, p.EmailNorm)}
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := move(ctx, tx, norm); err != nil {
			return err
		}
		if err := s.Limits.Reset(ctx, tx, norm); err != nil {
			return err
		}
		if err := s.Changes.Of(ctx, tx, p.UserID); err != nil {
			return err
		}
		event := event
		if p.EmailNorm != norm {
			event.Changes = map[string]audit.Change{"email": {From: p.Email, To: p.Gives}}
		}
		return audit.Record(ctx, tx, by.As(p.UserID, p.Email), event)
	})
	if errors.Is(err, user.ErrEmailTaken) {
		if err := s.fail(ctx, by, event, user.ErrEmailTaken); err != nil {
			return err
		}
	}
	return err
}

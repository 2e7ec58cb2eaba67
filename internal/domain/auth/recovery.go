package auth

import (
	"context"

	accounts "github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// mailLink mails a link to the owner of an address, and records that under action. Nobody can tell whether it did: an
// address without an account counts against the same limits and takes the same time. Accounts that are neither active
// nor pending get no mail. The only fault of its own is an address that is none.
func (s *Service) mailLink(
	ctx context.Context, by actor.Actor, email, action string, mail func(context.Context, postgres.Tx, onetime.Recipient) error,
) error {
	_, norm, err := user.ParseEmail(email)
	if err != nil {
		return err
	}
	return evenly(ctx, func() error {
		return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			a, err := lockAddress(ctx, tx, norm)
			if err != nil {
				return err
			}
			allowed, err := s.Limits.AllowMail(ctx, tx, norm, by.Origin.IP)
			if err != nil || !allowed || !enterable(a.Status) {
				return err
			}
			if err := mail(ctx, tx, a.recipient()); err != nil {
				return err
			}
			return audit.Record(ctx, tx, by, audit.Event{
				Action: action, Outcome: audit.Success, Target: s.target(a.ID, a.Email, norm),
			})
		})
	})
}

// enterable says whether a proof of the mailbox may open the account.
func enterable(s user.Status) bool { return s == user.Active || s == user.Pending }

// claimed returns the account of a proof that nobody has used, as it is now; onetime.ErrInvalid when it is none that a
// proof of the mailbox opens.
func (s *Service) claimed(ctx context.Context, p onetime.Proof) (account, error) {
	a, err := byID(ctx, s.DB, p.UserID)
	if postgres.NoRows(err) || err == nil && !enterable(a.Status) {
		return account{}, onetime.ErrInvalid
	}
	return a, err
}

// recovered is what a recovery has ended.
type recovered struct {
	account   account // as it is now
	events    map[string]audit.Change
	keysEnded bool
}

// recover gives an account back to whoever proved its mailbox. Everything that somebody else may have got hold of ends:
// sessions, API keys, every other claim, and the epoch to which the rest is bound. A pending account becomes active, with
// the roles of its invitation only where somebody vouches for them.
// Second factors stay (the mailbox is one factor), unless no address of the account was ever proven: then nothing shows
// that they, or the password, are its owner's. A nil hash leaves the password of an account that was proven before.
// onetime.ErrInvalid when another transaction was faster, or the account is not what it was in a; tx must then roll back.
func (s *Service) recover(ctx context.Context, tx postgres.Tx, a account, p onetime.Proof, hash *string) (recovered, error) {
	now, unproven, err := takeBack(ctx, tx, a, hash)
	if postgres.NoRows(err) {
		return recovered{}, onetime.ErrInvalid
	}
	if err != nil {
		return recovered{}, err
	}
	r := recovered{account: now, events: map[string]audit.Change{}}
	if a.Status == user.Pending {
		dropped, err := s.dropUnvouched(ctx, tx, a.ID)
		if err != nil {
			return recovered{}, err
		}
		if len(dropped) > 0 {
			r.events["roles"] = audit.Change{From: dropped, To: []string{}}
		}
	}
	if err := s.OneTime.Consume(ctx, tx, p); err != nil {
		return recovered{}, err
	}
	if unproven {
		// Whoever set them up did not show that he is the owner (REG-05).
		if _, err := accounts.EndFactors(ctx, tx, a.ID); err != nil {
			return recovered{}, err
		}
		r.account.MFAEnabled = false
		if err := forgetSignIns(ctx, tx, a.ID); err != nil {
			return recovered{}, err
		}
	}
	sessions, err := session.EndAll(ctx, tx, a.ID)
	if err != nil {
		return recovered{}, err
	}
	if sessions > 0 {
		r.events["sessions"] = audit.Change{From: sessions, To: 0}
	}
	keys, err := apikey.RevokeAll(ctx, tx, a.ID)
	if err != nil {
		return recovered{}, err
	}
	if r.keysEnded = len(keys) > 0; r.keysEnded {
		r.events["api_keys"] = audit.Change{From: keys, To: []id.ID{}}
	}
	if a.Status != now.Status {
		r.events["status"] = audit.Change{From: a.Status, To: now.Status}
	}
	if !a.EmailVerified {
		r.events["email_verified"] = audit.Change{From: false, To: true}
	}
	if err := s.Changes.Of(ctx, tx, a.ID); err != nil {
		return recovered{}, err
	}
	return r, s.Limits.Reset(ctx, tx, a.EmailNorm)
}

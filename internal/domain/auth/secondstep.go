package auth

import (
	"context"
	"errors"
	"net/netip"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// SecondStep is the second factor of a sign-in that waits for it.
type SecondStep struct {
	Token secret.Text // mfa_token
	Code  mfa.Code
}

// VerifySecond finishes a sign-in with a code. The try at the ticket and the attempt at the account are counted and
// committed before the code is looked at. The faults: mfa.ErrTicket, mfa.ErrCode, throttle.ErrLimited. A code that was used
// meanwhile, here or on another replica, is a wrong one.
func (s *Service) VerifySecond(ctx context.Context, by actor.Actor, in SecondStep) (Tokens, error) {
	t, err := s.Factors.Try(ctx, in.Token.Reveal())
	if err != nil {
		return Tokens{}, err
	}
	attempt := throttle.Attempt{EmailNorm: t.EmailNorm, IP: by.Origin.IP}
	event := audit.Event{Action: "auth.mfa_verify", Target: s.target(t.UserID, t.Email, t.EmailNorm)}
	if err := s.admit(ctx, by, attempt, event); err != nil {
		return Tokens{}, err
	}
	var grant session.Grant
	p, err := s.Factors.Check(ctx, t.UserID, in.Code)
	if err == nil {
		err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			var opened bool
			if grant, opened, err = s.finish(ctx, tx, by, t, mfa.OTP); err != nil {
				return err
			}
			if !opened {
				return mfa.ErrTicket
			}
			owner := addressee{t.UserID, t.Email, t.EmailNorm, t.EmailVerified, orEmpty(t.DisplayName), orEmpty(t.Locale)}
			if err := s.consume(ctx, tx, owner, p); err != nil {
				return err
			}
			return s.succeeded(ctx, tx, attempt)
		})
	}
	if err != nil {
		return Tokens{}, s.failedCode(ctx, by, event, err)
	}
	return s.mint(grant)
}

// addressee is the owner of an account, for the mails that tell him of it.
type addressee struct {
	id           id.ID
	email, norm  string
	proven       bool // the address is
	name, locale string
}

func owner(a account) addressee {
	return addressee{a.ID, a.Email, a.EmailNorm, a.EmailVerified, orEmpty(a.DisplayName), orEmpty(a.Locale)}
}

// consume uses a code that is right and tells the owner of a recovery code: mfa.ErrCode when another transaction was
// faster; tx must then roll back.
func (s *Service) consume(ctx context.Context, tx postgres.Tx, owner addressee, p mfa.Proof) error {
	used, err := s.Factors.Consume(ctx, tx, p)
	if err != nil {
		return err
	}
	if !used {
		return mfa.ErrCode
	}
	if p.Method != mfa.RecoveryCode {
		return nil
	}
	left, err := s.Factors.CodesLeft(ctx, tx, owner.id)
	if err != nil {
		return err
	}
	return s.tell(ctx, tx, owner, notify.RecoveryCodeUsed{Name: owner.name, Left: left, At: s.Clock.Now()})
}

// tell mails the owner what happened in a session of his. An address that nobody has proven may be a stranger's: mails to
// it count as those that strangers trigger, or whoever registers it could fill his mailbox from the settings of an account.
func (s *Service) tell(ctx context.Context, tx postgres.Tx, owner addressee, c notify.Content) error {
	if !owner.proven {
		allowed, err := s.Limits.AllowMail(ctx, tx, owner.norm, netip.Addr{})
		if err != nil || !allowed {
			return err
		}
	}
	return s.Outbox.Enqueue(ctx, tx, notify.Mail{UserID: owner.id, To: owner.email, Locale: owner.locale, Content: c})
}

// knew takes an attempt whose password was right out of the counts. Where there is a second factor it ends no row of
// failures: wrong codes are in it, too, and who knows the password could clear them. Last in tx, as succeeded.
func (s *Service) knew(ctx context.Context, tx postgres.Tx, attempt throttle.Attempt, mfaEnabled bool) error {
	if mfaEnabled {
		return s.Limits.Withdraw(ctx, tx, attempt)
	}
	return s.Limits.GiveBack(ctx, tx, attempt)
}

// succeeded takes an attempt with a second factor out of the counts, and opens an account that failures have locked: who
// guesses passwords has no second factor. Last in tx: it holds the network's counter until the commit.
func (s *Service) succeeded(ctx context.Context, tx postgres.Tx, attempt throttle.Attempt) error {
	if err := s.Limits.GiveBack(ctx, tx, attempt); err != nil {
		return err
	}
	return s.Limits.Reset(ctx, tx, attempt.EmailNorm)
}

// failedCode records a code that was wrong, and returns why.
func (s *Service) failedCode(ctx context.Context, by actor.Actor, event audit.Event, why error) error {
	if errors.Is(why, mfa.ErrCode) {
		if err := s.fail(ctx, by, event, why); err != nil {
			return err
		}
	}
	return why
}

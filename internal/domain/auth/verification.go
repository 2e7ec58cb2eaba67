package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

const verifyAction = "auth.verify_email"

// Verification is a proof of an address, in one of three shapes: token and password, token and registration id, code and
// registration id. The token alone proves a mailbox, not that its owner is who registered.
// Absent members are nil.
type Verification struct {
	Token          *string
	Code           *string
	RegistrationID *string
	Password       *secret.Text
}

// VerifyEmail proves an address. A pending account becomes active with the password and names of the attempt that was
// proven; all other claims on it die. For an account that is active already the password is the account's. Repeated while
// its result holds it succeeds again. The faults: onetime.ErrInvalid, ErrInvalidCredentials (the token lives on),
// throttle.ErrLimited, validation.
func (s *Service) VerifyEmail(ctx context.Context, by actor.Actor, in Verification) error {
	err := s.verifyEmail(ctx, by, in)
	if errors.Is(err, errRaced) {
		err = s.verifyEmail(ctx, by, in) // a parallel copy of this request was faster: then the proof is used by now
	}
	if errors.Is(err, errRaced) {
		return onetime.ErrInvalid
	}
	return err
}

// errRaced is a proof that stopped being good between finding and using it.
var errRaced = errors.New("another transaction was faster")

func (s *Service) verifyEmail(ctx context.Context, by actor.Actor, in Verification) error {
	token, code, registration, password := in.Token != nil, in.Code != nil, in.RegistrationID != nil, in.Password != nil
	switch {
	case token && password && !code && !registration:
		p, err := s.OneTime.Verification(ctx, *in.Token)
		if err != nil {
			return err
		}
		return s.verifyByPassword(ctx, by, p, *in.Password)
	case token && registration && !code && !password:
		p, err := s.OneTime.Verification(ctx, *in.Token)
		if err == nil && !p.Registered(*in.RegistrationID) {
			err = onetime.ErrInvalid
		}
		if err != nil {
			return err
		}
		return s.proven(ctx, by, p, nil, nil)
	case code && registration && !token && !password:
		// No limit beside the tries of the code: who guesses holds the 256 bits of the registration id.
		p, err := s.OneTime.Code(ctx, *in.RegistrationID, *in.Code)
		if err != nil {
			return err
		}
		return s.proven(ctx, by, p, nil, nil)
	}
	return fault.InvalidField("", "invalid_combination",
		"Give token and password, or token and registration_id, or code and registration_id.")
}

func (s *Service) verifyByPassword(ctx context.Context, by actor.Actor, p onetime.Proof, password secret.Text) error {
	pending := p.Status == user.Pending
	hash := p.PasswordHash
	if pending && p.AttemptID != nil {
		hash = p.AttemptHash
	}
	if pending && hash == nil {
		return s.verifyWithFirstPassword(ctx, by, p, password)
	}
	guess := throttle.Attempt{EmailNorm: p.EmailNorm, IP: by.Origin.IP, Proven: true}
	event := audit.Event{Action: verifyAction, Target: s.target(p.UserID, p.Email, p.EmailNorm)}
	if err := s.admit(ctx, by, guess, event); err != nil {
		return err
	}
	ok, _, err := s.judge(ctx, guess, password, hash)
	if err != nil {
		return err
	}
	if !ok {
		if err := s.fail(ctx, by, event, ErrInvalidCredentials); err != nil {
			return err
		}
		return ErrInvalidCredentials
	}
	return s.proven(ctx, by, p, &guess, nil)
}

// verifyWithFirstPassword serves an account that an administrator made without a password: nobody else claims it, so
// that whoever holds its mailbox chooses the first one, as with an invitation.
func (s *Service) verifyWithFirstPassword(ctx context.Context, by actor.Actor, p onetime.Proof, password secret.Text) error {
	var v fault.Validation
	s.checkPassword(&v, password, p.Email)
	if err := v.Err(); err != nil {
		return err
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return s.proven(ctx, by, p, nil, &hash)
}

// proven gives a proof its effect. guess is the password attempt that succeeded with it, if any.
func (s *Service) proven(ctx context.Context, by actor.Actor, p onetime.Proof, guess *throttle.Attempt, first *string) error {
	if p.Used {
		if p.EmailVerified && p.Status == user.Active {
			return nil // its result holds
		}
		return onetime.ErrInvalid
	}
	gives := activation{passwordHash: first}
	if p.AttemptID != nil && p.Status == user.Pending {
		gives = activation{p.AttemptHash, p.DisplayName, p.Locale}
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		var dropped []string
		err := activate(ctx, tx, p, gives)
		if err == nil && p.Status == user.Pending {
			dropped, err = s.dropUnvouched(ctx, tx, p.UserID)
		}
		if err == nil {
			err = s.OneTime.Consume(ctx, tx, p)
		}
		if errors.Is(err, onetime.ErrInvalid) {
			return errRaced
		}
		if err != nil {
			return err
		}
		changes := map[string]audit.Change{"email_verified": {From: false, To: true}}
		if p.Status != user.Active {
			changes["status"] = audit.Change{From: p.Status, To: user.Active}
		}
		if len(dropped) > 0 {
			changes["roles"] = audit.Change{From: dropped, To: []string{}}
		}
		err = audit.Record(ctx, tx, by.As(p.UserID, p.Email), audit.Event{
			Action: verifyAction, Outcome: audit.Success, Target: s.target(p.UserID, p.Email, p.EmailNorm), Changes: changes,
		})
		if err != nil {
			return err
		}
		if err := s.Limits.Reset(ctx, tx, p.EmailNorm); err != nil || guess == nil {
			return err
		}
		return s.Limits.GiveBack(ctx, tx, *guess)
	})
}

// ResendVerification mails a new token and code to an address that still has to be proven; the older ones die. Nobody can
// tell whether it did. The only fault of its own is an address that is none.
func (s *Service) ResendVerification(ctx context.Context, by actor.Actor, email, registrationID string) error {
	_, norm, err := user.ParseEmail(email)
	if err != nil {
		return err
	}
	return evenly(ctx, func() error {
		return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			a, err := lockAddress(ctx, tx, norm)
			if err != nil || a.EmailVerified || a.Status != user.Pending && a.Status != user.Active {
				return err
			}
			to := a.recipient()
			to.From = by.Origin.IP
			mailed, err := s.OneTime.Resend(ctx, tx, to, a.Status == user.Pending, registrationID)
			if err != nil || !mailed {
				return err
			}
			return audit.Record(ctx, tx, by, audit.Event{
				Action: "auth.resend_verification", Outcome: audit.Success, Target: s.target(a.ID, a.Email, norm),
			})
		})
	})
}

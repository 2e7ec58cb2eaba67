package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// SendMagicLink mails the owner of an address a link that signs in; an older link dies. Nobody can tell whether it
// mailed. The faults of its own: an address that is none, and fault.ErrNotFound where it is switched off.
func (s *Service) SendMagicLink(ctx context.Context, by actor.Actor, email string) error {
	if !s.Config.MagicLink {
		return fault.ErrNotFound
	}
	return s.mailLink(ctx, by, email, "auth.magic_link", s.OneTime.MailMagicLink)
}

// EnterByMagicLink signs in by a mailed link, as the first factor: where the account has a second one the answer is
// mfa.ErrRequired. For an account whose address nobody has proven it is a recovery (see recover): the link proves the
// address, and ends all that was set up before. The faults: onetime.ErrInvalid, and fault.ErrNotFound where it is
// switched off.
func (s *Service) EnterByMagicLink(ctx context.Context, by actor.Actor, token string, cookie bool) (Tokens, error) {
	if !s.Config.MagicLink {
		return Tokens{}, fault.ErrNotFound
	}
	proof, err := s.OneTime.OpenMagicLink(ctx, token)
	if err != nil {
		return Tokens{}, err
	}
	a, err := s.claimed(ctx, proof)
	if err != nil {
		return Tokens{}, err
	}
	var p passage
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		e := entry{account: a, how: session.ByMail(), cookie: cookie}
		if a.EmailVerified {
			err = s.OneTime.Use(ctx, tx, proof)
		} else {
			e.account, err = s.recoverByLink(ctx, tx, by, a, proof)
		}
		if err != nil {
			return err
		}
		if p, err = s.pass(ctx, tx, by, e); err != nil {
			return err
		}
		switch {
		case p.opened:
			return s.Limits.Reset(ctx, tx, a.EmailNorm)
		case p.demand != nil:
			return nil //nolint:nilerr // a demand is data: it commits; wrong codes go on adding up
		}
		return onetime.ErrInvalid // the account changed under us
	})
	switch {
	case err != nil:
		return Tokens{}, err
	case p.demand != nil:
		return Tokens{}, p.demand
	}
	return s.mint(p.grant)
}

func (s *Service) recoverByLink(ctx context.Context, tx postgres.Tx, by actor.Actor, a account, p onetime.Proof) (account, error) {
	r, err := s.recover(ctx, tx, a, p, nil)
	if err != nil {
		return account{}, err
	}
	return r.account, audit.Record(ctx, tx, by.As(a.ID, a.Email), audit.Event{
		Action: "auth.recover", Outcome: audit.Success, Target: s.target(a.ID, a.Email, a.EmailNorm), Changes: r.events,
	})
}

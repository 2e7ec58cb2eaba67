package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

const (
	forgotAction = "auth.password_forgot"
	resetAction  = "auth.password_reset"
)

// ForgotPassword mails the owner of an address a link that sets a new password; an older link dies. An account that has
// none yet gets its first one so. Nobody can tell whether it mailed. The only fault of its own is an address that is none.
func (s *Service) ForgotPassword(ctx context.Context, by actor.Actor, email string) error {
	return s.mailLink(ctx, by, email, forgotAction, s.OneTime.MailReset)
}

// ResetPassword sets a new password by a mailed link, ends everything else of the account (see recover) and tells its
// owner. It signs nobody in and lifts no second factor. The faults: onetime.ErrInvalid, validation (the token lives on),
// password.ErrOverloaded. Of parallel resets with one token exactly one succeeds.
func (s *Service) ResetPassword(ctx context.Context, by actor.Actor, token string, password secret.Text) error {
	p, err := s.OneTime.OpenReset(ctx, token)
	if err != nil {
		return err
	}
	a, err := s.claimed(ctx, p)
	if err != nil {
		return err
	}
	var v fault.Validation
	s.checkNewPassword(&v, password, a)
	if err := v.Err(); err != nil {
		return err
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		r, err := s.recover(ctx, tx, a, p, &hash)
		if err != nil {
			return err
		}
		err = s.Outbox.Enqueue(ctx, tx, notify.Mail{
			UserID: a.ID, To: a.Email, Locale: orEmpty(a.Locale),
			Content: notify.PasswordRecovered{Name: orEmpty(a.DisplayName), KeysRevoked: r.keysEnded, At: s.Clock.Now()},
		})
		if err != nil {
			return err
		}
		return audit.Record(ctx, tx, by.As(a.ID, a.Email), audit.Event{
			Action: resetAction, Outcome: audit.Success, Target: s.target(a.ID, a.Email, a.EmailNorm), Changes: r.events,
		})
	})
}

// checkNewPassword records what is wrong with a password that replaces another one of the account.
func (s *Service) checkNewPassword(v *fault.Validation, p secret.Text, a account) {
	for _, problem := range s.Policy.Check(p, a.Email, orEmpty(a.DisplayName), s.ProductName) {
		v.Add("/new_password", problem.Code, problem.Detail)
	}
}

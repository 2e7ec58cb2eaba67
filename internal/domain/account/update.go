package account

import (
	"context"
	"strings"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Changes is a merge patch of an account by an administrator.
type Changes struct {
	user.AdminChanges
	Email patch.Field[string]
}

// Update changes an account. Needs users:write.
//
// Another address is unproven, whatever the status of the account, which does not change. It hands over control, so the
// account must hold nothing that the caller lacks, and a key does not do it, or who finds one resets the password of its
// owner by mail. Sessions, tokens and registrations end; both addresses are told, and
// the new one is asked to verify, which takes the account's password.
func (s *Service) Update(ctx context.Context, by actor.Actor, of id.ID, c Changes, ifMatch *int64) (*user.User, error) {
	if !by.May(user.WritePermission) {
		return nil, actor.Denied(user.WritePermission)
	}
	if c.Email.Set && by.Kind == actor.APIKey {
		return nil, actor.ErrSessionRequired
	}
	var after *user.User
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		keepAnAdmin := func(context.Context) error { return nil }
		var err error
		if c.Email.Set {
			if keepAnAdmin, err = s.Authorizer.KeepAnAdmin(ctx, tx); err != nil {
				return err
			}
		}
		u, err := s.lock(ctx, tx, by, of, ifMatch)
		if err != nil {
			return err
		}
		email, norm, emailErr := s.parseEmail(u, c.Email)
		if err := user.Apply(ctx, tx, by, u, c.AdminChanges, emailErr); err != nil {
			return err
		}
		if after = u; u.Email == nil || !c.Email.Set || email == *u.Email {
			return nil
		}
		if err := s.Authorizer.CheckControl(ctx, tx, by, of); err != nil {
			return err
		}
		if err := s.correct(ctx, tx, by, u, email, norm); err != nil {
			return err
		}
		if after, err = user.FindOne(ctx, tx, of); err != nil {
			return err
		}
		return keepAnAdmin(ctx)
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

// CheckChanges returns what is wrong with changes of a person by themselves, whatever the account.
func (s *Service) CheckChanges(c Changes) error {
	_, _, err := s.parseEmail(&user.User{Kind: user.Human}, c.Email)
	return user.Check(c.AdminChanges, err)
}

func (s *Service) parseEmail(u *user.User, f patch.Field[string]) (email, norm string, err error) {
	switch {
	case !f.Set:
		return "", "", nil
	case u.Kind == user.Program:
		return "", "", fault.InvalidField("/email", "not_allowed", "A service account has no address.")
	case f.Null:
		return "", "", fault.InvalidField("/email", "required", "A human needs an address.")
	}
	return user.ParseEmail(f.Value)
}

// correct gives a locked account another address.
func (s *Service) correct(ctx context.Context, tx postgres.Tx, by actor.Actor, u *user.User, email, norm string) error {
	epoch, err := user.SetEmail(ctx, tx, u.ID, email, norm)
	if err != nil {
		return err
	}
	if err := onetime.EndAll(ctx, tx, u.ID); err != nil {
		return err
	}
	if err := s.cut(ctx, tx, u.ID); err != nil {
		return err
	}
	to := onetime.Recipient{
		UserID: u.ID, Email: email, EmailNorm: norm, AuthEpoch: epoch, Name: orEmpty(u.DisplayName), Locale: orEmpty(u.Locale),
	}
	token, err := s.Proofs.VerificationToken(ctx, tx, to)
	if err != nil {
		return err
	}
	mails := []notify.Mail{{
		UserID: u.ID, To: email, Locale: to.Locale,
		Content: notify.EmailCorrectedNew{Name: to.Name, Token: token, Life: onetime.VerificationLife},
	}}
	if !strings.EqualFold(*u.Email, email) {
		mails = append(mails, notify.Mail{
			UserID: u.ID, To: *u.Email, Locale: to.Locale,
			Content: notify.EmailCorrectedOld{Name: to.Name, At: s.Clock.Now()},
		})
	}
	for _, m := range mails {
		if err := s.Outbox.Enqueue(ctx, tx, m); err != nil {
			return err
		}
	}
	return audit.Record(ctx, tx, by, audit.Event{
		Action: "user.email_correct", Outcome: audit.Success, Target: u.Target(),
		Changes: map[string]audit.Change{
			"email": {From: u.Email, To: email}, "email_verified": {From: u.EmailVerified, To: false},
		},
	})
}

package account

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// EndFactors takes every second factor from an account, passkeys too, with its recovery codes and all that waits for one,
// and says whether it had any. The caller has locked the account, records why, and announces it.
func EndFactors(ctx context.Context, tx postgres.Tx, of id.ID) (bool, error) {
	if err := passkey.EndAll(ctx, tx, of); err != nil {
		return false, err
	}
	return mfa.EndAll(ctx, tx, of)
}

// ResetMFA takes all second factors from an account whose owner has lost his, with its recovery codes, and ends its
// sessions; the owner is told. Where a role requires a factor he has to enrol one again. Needs users:write. It hands over
// control to whoever knows the password, so the account must hold nothing that the caller lacks; and a key does not do it.
// An account without a factor stays as it is.
func (s *Service) ResetMFA(ctx context.Context, by actor.Actor, of id.ID) error {
	if by.Kind == actor.APIKey {
		return actor.ErrSessionRequired
	}
	if !by.May(user.WritePermission) {
		return actor.Denied(user.WritePermission)
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		u, keepAnAdmin, err := s.target(ctx, tx, by, of, nil)
		if err != nil {
			return err
		}
		if err := s.Authorizer.CheckControl(ctx, tx, by, of); err != nil {
			return err
		}
		had, err := EndFactors(ctx, tx, of)
		if err != nil || !had {
			return err
		}
		if err := s.cut(ctx, tx, of); err != nil {
			return err
		}
		err = s.Outbox.Enqueue(ctx, tx, notify.Mail{
			UserID: of, To: orEmpty(u.Email), Locale: orEmpty(u.Locale),
			Content: notify.SecondFactor{Name: orEmpty(u.DisplayName), Event: notify.FactorsReset, At: s.Clock.Now()},
		})
		if err != nil {
			return err
		}
		err = audit.Record(ctx, tx, by, audit.Event{
			Action: "user.mfa_reset", Outcome: audit.Success, Target: u.Target(),
			Changes: map[string]audit.Change{"mfa_enabled": {From: true, To: false}},
		})
		if err != nil {
			return err
		}
		return keepAnAdmin(ctx)
	})
}

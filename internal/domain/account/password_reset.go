package account

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// SendPasswordReset mails the owner of an account a link that sets a new password; an older link dies. It is all that
// an administrator can do about the password of an account that exists: he neither reads nor chooses one. Needs
// users:write. The fault of its own is validation: an account without an address, or one that cannot be entered.
func (s *Service) SendPasswordReset(ctx context.Context, by actor.Actor, of id.ID) error {
	if !by.May(user.WritePermission) {
		return actor.Denied(user.WritePermission)
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		u, err := s.lock(ctx, tx, by, of, nil)
		if err != nil {
			return err
		}
		switch {
		case u.Kind == user.Program:
			return fault.InvalidField("path/id", "not_allowed", "A service account has neither a password nor an address.")
		case u.Status != user.Active && u.Status != user.Pending:
			return fault.InvalidField("path/id", "not_active", "The account cannot be entered; reactivate it first.")
		}
		to, err := onetime.RecipientOf(ctx, tx, of)
		if err != nil {
			return err
		}
		if err := s.Proofs.MailReset(ctx, tx, to); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{Action: "user.password_reset", Outcome: audit.Success, Target: u.Target()})
	})
}

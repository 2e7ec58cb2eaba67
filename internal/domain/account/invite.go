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

// errNotPending refuses to invite into an account that its owner has already, or that is kept out.
var errNotPending = fault.New(fault.Conflict, "already_exists",
	"Only a pending human is invited; this account exists already. A forgotten password is reset.")

// Invite mails an invitation to a pending human; an older one dies. Needs users:write, and everything that the account
// holds: it is handed over as if it were made anew. The faults: not found, actor.ErrEscalation, errNotPending.
func (s *Service) Invite(ctx context.Context, by actor.Actor, of id.ID) error {
	if !by.May(user.WritePermission) {
		return actor.Denied(user.WritePermission)
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		u, err := s.lock(ctx, tx, by, of, nil)
		if err != nil {
			return err
		}
		if err := s.Authorizer.CheckControl(ctx, tx, by, of); err != nil {
			return err
		}
		if u.Status != user.Pending || u.Email == nil {
			return errNotPending
		}
		return s.invite(ctx, tx, by, u)
	})
}

func (s *Service) invite(ctx context.Context, tx postgres.Tx, by actor.Actor, u *user.User) error {
	_, err := s.Proofs.MailInvitation(ctx, tx, onetime.Recipient{
		UserID: u.ID, Email: *u.Email, Name: orEmpty(u.DisplayName), Locale: orEmpty(u.Locale),
	}, by.UserID)
	if err != nil {
		return err
	}
	return audit.Record(ctx, tx, by, audit.Event{Action: "invitation.create", Outcome: audit.Success, Target: u.Target()})
}

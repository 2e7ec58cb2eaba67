package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// errHasAccount refuses to invite somebody who is there already.
var errHasAccount = user.ErrEmailTaken.WithDetail("This address has an account already; an administrator can give it the role admin.")

// InviteAdmin makes a pending account that holds role admin at once, and returns the link by which its owner sets the
// password. A pending account of the address is taken; its other invitations die. user.ErrEmailTaken for any other.
// It is for the command line: by is an actor that may do everything.
func (s *Service) InviteAdmin(ctx context.Context, by actor.Actor, email string) (link secret.Text, err error) {
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		link, err = s.inviteAdmin(ctx, tx, by, email, false)
		return err
	})
	return link, err
}

// InviteFirstAdmin invites the first administrator while there is no active one, however many replicas start at
// once. Where mails leave the house the invitation is mailed, unless one is open already, and the link is empty;
// otherwise each start makes a new one, for the operator to read.
func (s *Service) InviteFirstAdmin(ctx context.Context, by actor.Actor, email string, mailed bool) (link secret.Text, err error) {
	_, norm, err := user.ParseEmail(email)
	if err != nil {
		return secret.Text{}, err
	}
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		link = secret.Text{}
		if there, err := lockAdmins(ctx, tx); err != nil || there {
			return err
		}
		if mailed {
			a, err := lockAddress(ctx, tx, norm)
			if err != nil {
				return err
			}
			if open, err := s.OneTime.HasInvitation(ctx, tx, a.ID); err != nil || open {
				return err
			}
		}
		link, err = s.inviteAdmin(ctx, tx, by, email, mailed)
		return err
	})
	if err != nil || mailed {
		return secret.Text{}, err
	}
	return link, nil
}

func (s *Service) inviteAdmin(ctx context.Context, tx postgres.Tx, by actor.Actor, email string, mailed bool) (secret.Text, error) {
	email, norm, err := user.ParseEmail(email)
	if err != nil {
		return secret.Text{}, err
	}
	a, err := claimAddress(ctx, tx, id.New(), email, norm)
	if err != nil {
		return secret.Text{}, err
	}
	if a.Status != user.Pending {
		return secret.Text{}, errHasAccount
	}
	if err := s.Roles.GrantNames(ctx, tx, by, a.ID, "/roles", []string{role.AdminName}); err != nil {
		return secret.Text{}, err
	}
	return s.invite(ctx, tx, by, a, []string{role.AdminName}, mailed)
}

// invite makes an invitation to a pending account that has its roles already, so that later changes of those roles are
// checked against it like against any holder.
func (s *Service) invite(ctx context.Context, tx postgres.Tx, by actor.Actor, a account, roles []string, mailed bool) (secret.Text, error) {
	var token secret.Text
	var err error
	if mailed {
		token, err = s.OneTime.MailInvitation(ctx, tx, a.recipient(), by.UserID)
	} else {
		token, _, err = s.OneTime.Invitation(ctx, tx, a.ID, by.UserID)
	}
	if err != nil {
		return secret.Text{}, err
	}
	err = audit.Record(ctx, tx, by, audit.Event{
		Action: "invitation.create", Outcome: audit.Success, Target: s.target(a.ID, a.Email, a.EmailNorm),
		Changes: map[string]audit.Change{"roles": {From: []string{}, To: roles}},
	})
	return secret.New(s.Links.AcceptInvitation(token)), err
}

// Acceptance is an invitation that its owner takes.
type Acceptance struct {
	Token       string
	Password    secret.Text
	DisplayName *string
}

// AcceptInvitation sets the password and makes the account active, its address proven by the mail or by whoever handed
// the link over. All other claims on the account die. The faults: onetime.ErrInvalid, validation (the token lives on).
func (s *Service) AcceptInvitation(ctx context.Context, by actor.Actor, in Acceptance) error {
	p, err := s.OneTime.OpenInvitation(ctx, in.Token)
	if err != nil {
		return err
	}
	if p.Status != user.Pending {
		return onetime.ErrInvalid
	}
	if err := s.vouchedFor(ctx, s.DB, p); err != nil {
		return err
	}
	var v fault.Validation
	if in.DisplayName != nil {
		user.CheckDisplayName(&v, "/display_name", *in.DisplayName)
	}
	s.checkPassword(&v, in.Password, p.Email, orEmpty(in.DisplayName))
	if err := v.Err(); err != nil {
		return err
	}
	hash, err := s.Hasher.Hash(ctx, in.Password)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := activate(ctx, tx, p, activation{passwordHash: &hash, displayName: in.DisplayName}); err != nil {
			return err
		}
		if err := s.vouchedFor(ctx, tx, p); err != nil {
			return err
		}
		if err := s.OneTime.Consume(ctx, tx, p); err != nil {
			return err
		}
		if err := s.Limits.Reset(ctx, tx, p.EmailNorm); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by.As(p.UserID, p.Email), audit.Event{
			Action: "invitation.accept", Outcome: audit.Success, Target: s.target(p.UserID, p.Email, p.EmailNorm),
			Changes: map[string]audit.Change{
				"status": {From: user.Pending, To: user.Active}, "email_verified": {From: false, To: true},
			},
		})
	})
}

// vouchedFor refuses, with onetime.ErrInvalid, an invitation whose inviter may no longer sign in, or could not make it any
// more: he has lost users:write or something that the roles of the invited account hold. It is asked when the invitation is
// used, so that it makes no difference how he lost it: by a role taken or edited, or by the end of an assignment.
func (s *Service) vouchedFor(ctx context.Context, db postgres.DB, p onetime.Proof) error {
	v, err := s.OneTime.Voucher(ctx, db, p.UserID)
	if err != nil {
		return err
	}
	vouches, err := s.vouches(ctx, db, v)
	if err == nil && !vouches {
		err = onetime.ErrInvalid
	}
	return err
}

func (s *Service) vouches(ctx context.Context, db postgres.DB, v onetime.Voucher) (bool, error) {
	if v.UserID == id.Nil || !v.Active {
		return v.UserID == id.Nil, nil
	}
	return s.Roles.Vouches(ctx, db, v.UserID, user.WritePermission, v.Roles)
}

// dropUnvouched is vouchedFor for a pending account that is taken by another proof of its mailbox than its invitation: a
// registration, a reset, a magic link. Its owner gets in, and the roles that he was invited with are taken away when nobody
// vouches for them: what voids an invitation must not be got around by asking for another mail. It returns their names. It
// comes before the proof is consumed, which ends the invitation.
func (s *Service) dropUnvouched(ctx context.Context, tx postgres.Tx, of id.ID) ([]string, error) {
	v, err := s.OneTime.Voucher(ctx, tx, of)
	if errors.Is(err, onetime.ErrInvalid) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	vouches, err := s.vouches(ctx, tx, v)
	if err != nil || vouches {
		return nil, err
	}
	return s.Roles.Withdraw(ctx, tx, of, v.Roles)
}

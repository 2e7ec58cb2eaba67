package onetime

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Voucher is on whose word an invitation is good.
type Voucher struct {
	UserID id.ID   // id.Nil: the service's operator
	Active bool    // he is there and may sign in; never again true of an invitation that was voided
	Roles  []id.ID // what the invited account held when he invited it
}

// Invitation makes the token of an invitation of a pending account, which has its roles already, and kills the older
// one. by is the account that invites, id.Nil for the service's operator: its name is for the mail, and empty where it has
// none. Mailing or printing the token is the caller's. One statement.
func (s *Service) Invitation(ctx context.Context, tx postgres.Tx, of, by id.ID) (token secret.Text, name string, err error) {
	token, hash := newToken()
	name, err = insertInvitation(ctx, tx, of, by, newRow{id.New(), purposeInvitation, hash[:], InvitationLife.Seconds()})
	return token, name, err
}

// MailInvitation makes an invitation and mails it. Of r neither norm nor epoch is looked at. At most three statements.
func (s *Service) MailInvitation(ctx context.Context, tx postgres.Tx, r Recipient, by id.ID) (secret.Text, error) {
	text, name, err := s.Invitation(ctx, tx, r.UserID, by)
	if err != nil {
		return secret.Text{}, err
	}
	return text, s.outbox.Enqueue(ctx, tx, notify.Mail{
		UserID: r.UserID, To: r.Email, Locale: r.Locale,
		Content: notify.Invitation{Name: r.Name, InvitedBy: name, Token: text, Life: InvitationLife},
	})
}

// HasInvitation says whether an invitation of the account is still open.
func (s *Service) HasInvitation(ctx context.Context, db postgres.DB, user id.ID) (bool, error) {
	return hasInvitation(ctx, db, user)
}

// OpenInvitation finds the token of an invitation that nobody has accepted.
func (s *Service) OpenInvitation(ctx context.Context, text string) (Proof, error) {
	return s.unused(ctx, purposeInvitation, text)
}

// Voucher returns on whose word the invitation of an account is good, one that has expired or is void too; ErrInvalid when
// it was never invited, or has been taken. One statement.
func (s *Service) Voucher(ctx context.Context, db postgres.DB, of id.ID) (Voucher, error) {
	return voucher(ctx, db, of)
}

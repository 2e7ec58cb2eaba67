package onetime

import (
	"context"
	"time"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

// How long the two links of a change of address live.
const (
	EmailChangeLife = 24 * time.Hour
	EmailUndoLife   = 72 * time.Hour
)

const purposeEmailChange = "email_change" // its undoing is purposeUndo

// EmailProof is the token of a change of address, or of its undoing, that is good now.
type EmailProof struct {
	TokenID   id.ID
	UserID    id.ID
	Gives     string // the address that the account gets, as it is spelled
	Email     string // of the account now
	EmailNorm string
	AuthEpoch int64
}

// StartEmailChange makes the token that confirms another address, and kills the older one. It is bound to the address
// and epoch that the account has now; mailing it to the other address is the caller's. One statement.
func (s *Service) StartEmailChange(ctx context.Context, tx postgres.Tx, r Recipient, to string) (secret.Text, error) {
	text, hash := newToken()
	return text, insertEmailToken(ctx, tx, r, to, newRow{id.New(), purposeEmailChange, hash[:], EmailChangeLife.Seconds()})
}

// EndEmailChange ends a change that has not been confirmed. One statement.
func EndEmailChange(ctx context.Context, tx postgres.Tx, user id.ID) error {
	return endEmailChange(ctx, tx, user)
}

// EmailUndo makes the token that gives the account the address back that it has now, and kills the older one for the same
// address. It is bound to the account alone: address and epoch are what a change of address, or whoever asked for it,
// changes. So the links to former addresses live on beside it, and neither a recovery nor a change of password ends
// any of them: one who holds a session of somebody else must not be able to kill its owner's way back. One statement.
func (s *Service) EmailUndo(ctx context.Context, tx postgres.Tx, r Recipient) (secret.Text, error) {
	text, hash := newToken()
	return text, insertEmailToken(ctx, tx, r, r.Email, newRow{id.New(), purposeUndo, hash[:], EmailUndoLife.Seconds()})
}

// EmailChange finds the token that confirms another address; ErrInvalid for everything else.
func (s *Service) EmailChange(ctx context.Context, text string) (EmailProof, error) {
	return s.findEmailToken(ctx, purposeEmailChange, text)
}

// EmailRestoration finds the token of EmailUndo; ErrInvalid for everything else. While the account is not active it is
// no good.
func (s *Service) EmailRestoration(ctx context.Context, text string) (EmailProof, error) {
	return s.findEmailToken(ctx, purposeUndo, text)
}

func (s *Service) findEmailToken(ctx context.Context, purpose, text string) (EmailProof, error) {
	hash, ok := token.HashOneTime(text)
	if !ok {
		return EmailProof{}, ErrInvalid
	}
	return emailToken(ctx, s.db, purpose, hash[:])
}

// ConsumeEmailChange uses the proof of a new address, in the transaction of its effect, and ends every other token of the
// account but the ways back. ErrInvalid when another transaction was faster or its time is up; tx must then roll back.
func (s *Service) ConsumeEmailChange(ctx context.Context, tx postgres.Tx, p EmailProof) error {
	return consumeEmailToken(ctx, tx, p.TokenID, false)
}

// ConsumeEmailUndo does so for a way back. Later ones end too, since they lead to what is being undone; earlier ones stay.
func (s *Service) ConsumeEmailUndo(ctx context.Context, tx postgres.Tx, p EmailProof) error {
	return consumeEmailToken(ctx, tx, p.TokenID, true)
}

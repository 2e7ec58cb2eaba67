package mfa

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Demand makes a ticket and returns ErrRequired with it. The fault is data: tx must commit. Two statements.
func (s *Service) Demand(ctx context.Context, tx postgres.Tx, f First) (required, err error) {
	text, hash := token.NewOneTime()
	if err := insertTicket(ctx, tx, hash[:], f); err != nil {
		return nil, err
	}
	factors, err := user.SecondFactors(ctx, tx, f.UserID)
	if err != nil {
		return nil, err
	}
	return ErrRequired.With("mfa_token", text.Reveal()).With("factors", factors), nil
}

// Try counts a try at a ticket, commits it, and returns the ticket: of each five are, over all replicas. ErrTicket for
// one that is unknown, used up, expired, or whose account is not what it was. One statement.
func (s *Service) Try(ctx context.Context, text string) (Ticket, error) {
	return s.ticket(ctx, text, tryTicket)
}

// Peek is Try without counting: for what tells nothing of the second factor, such as the options of a passkey.
func (s *Service) Peek(ctx context.Context, text string) (Ticket, error) {
	return s.ticket(ctx, text, peekTicket)
}

func (s *Service) ticket(
	ctx context.Context, text string, find func(context.Context, postgres.DB, []byte) (Ticket, error),
) (Ticket, error) {
	hash, ok := token.HashOneTime(text)
	if !ok {
		return Ticket{}, ErrTicket
	}
	t, err := find(ctx, s.db, hash[:])
	if postgres.NoRows(err) {
		return Ticket{}, ErrTicket
	}
	return t, err
}

// Use ends a ticket, in the transaction of the sign-in. False: another one was faster, and tx must roll back.
func (s *Service) Use(ctx context.Context, tx postgres.Tx, t Ticket) (bool, error) {
	return useTicket(ctx, tx, t.hash)
}

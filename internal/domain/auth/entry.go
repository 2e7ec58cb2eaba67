package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// entry is a sign-in that is proven, whichever way, and has yet to become a session.
type entry struct {
	account account
	how     session.Assurance
	device  string  // may be empty
	hash    *string // of the password that was verified; nil: no password was
	rehash  *string // what to put in its place
}

// open makes the session of an entry and records the sign-in. It returns false, and has done nothing, when the account is
// no longer what it was when the entry was proven.
func (s *Service) open(ctx context.Context, tx postgres.Tx, by actor.Actor, e entry) (session.Grant, bool, error) {
	a := e.account
	grant, opened, err := s.Sessions.Create(ctx, tx, session.New{
		Assurance: e.how, UserID: a.ID, AuthEpoch: a.AuthEpoch, PasswordHash: e.hash, Rehash: e.rehash,
		DeviceName: e.device, Origin: by.Origin,
	})
	if err != nil || !opened {
		return session.Grant{}, false, err
	}
	return grant, true, audit.Record(ctx, tx, by.As(a.ID, a.Email), audit.Event{
		Action: loginAction, Outcome: audit.Success,
		Target: audit.Target{Type: "session", ID: grant.SessionID, Label: e.device, Owner: a.ID},
	})
}

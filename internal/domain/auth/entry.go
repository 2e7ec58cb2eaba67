package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// entry is a sign-in that is proven, whichever way, and has yet to become a session.
type entry struct {
	account account
	how     session.Assurance
	device  string  // may be empty
	cookie  bool    // the refresh token is for a cookie only
	hash    *string // of the password that was verified; nil: no password was
	rehash  *string // what to put in its place
}

// passage is where an entry leads: to a session, or to the demand for a second factor. Neither: the account is no longer
// what it was when the entry was proven, and nothing has been done.
type passage struct {
	grant  session.Grant
	opened bool
	demand error // mfa.ErrRequired, with its ticket
}

// pass is what every first factor goes through: it opens the session, or makes a ticket where the account has a second
// factor that the entry has not shown. A demand is data: it commits.
func (s *Service) pass(ctx context.Context, tx postgres.Tx, by actor.Actor, e entry) (p passage, err error) {
	if !e.account.MFAEnabled || e.how.ACR == session.AAL2 {
		p.grant, p.opened, err = s.open(ctx, tx, by, e)
		return p, err
	}
	first := mfa.First{
		UserID: e.account.ID, AuthEpoch: e.account.AuthEpoch, PasswordHash: e.hash, AMR: e.how.AMR,
		DeviceName: e.device, Cookie: e.cookie,
	}
	if e.hash != nil && e.rehash != nil {
		renewed, err := renewHash(ctx, tx, e.account.ID, *e.hash, *e.rehash)
		if err != nil || !renewed {
			return p, err
		}
		first.PasswordHash = e.rehash
	}
	if p.demand, err = s.Factors.Demand(ctx, tx, first); err != nil {
		return passage{}, err
	}
	return p, audit.Record(ctx, tx, by, audit.Event{
		Action: loginAction, Outcome: audit.Failure, Reason: fault.As(p.demand).Code,
		Target: s.target(e.account.ID, e.account.Email, e.account.EmailNorm),
	})
}

// open makes the session of an entry, records the sign-in and, when it is with an unfamiliar program or from an unfamiliar
// network, tells the owner. It returns false, and has done nothing, when the account is no longer what it was when the
// entry was proven.
func (s *Service) open(ctx context.Context, tx postgres.Tx, by actor.Actor, e entry) (session.Grant, bool, error) {
	a := e.account
	o, opened, err := s.Sessions.Create(ctx, tx, session.New{
		Assurance: e.how, UserID: a.ID, AuthEpoch: a.AuthEpoch, PasswordHash: e.hash, Rehash: e.rehash,
		DeviceName: e.device, Cookie: e.cookie, Origin: by.Origin,
	})
	if err != nil || !opened {
		return session.Grant{}, false, err
	}
	err = audit.Record(ctx, tx, by.As(a.ID, a.Email), audit.Event{
		Action: loginAction, Outcome: audit.Success,
		Target: audit.Target{Type: "session", ID: o.SessionID, Label: e.device, Owner: a.ID},
	})
	if err != nil || !o.Unfamiliar {
		return o.Grant, true, err
	}
	return o.Grant, true, s.Outbox.Enqueue(ctx, tx, notify.Mail{
		UserID: a.ID, To: o.Email, Locale: orEmpty(o.Locale),
		Content: notify.NewSignIn{
			Name: orEmpty(o.DisplayName), At: s.Clock.Now(), Address: by.Origin.IP,
			Device: session.Agent(by.Origin.UserAgent), // not the name that whoever signed in has chosen: it may be the owner's own
		},
	})
}

// finish opens the session of a ticket whose second factor was right: method is its name among the methods of RFC 8176.
// False: the ticket was used meanwhile, or its account changed; tx must then roll back. The account's row is taken first,
// as everybody takes it who changes factors.
func (s *Service) finish(ctx context.Context, tx postgres.Tx, by actor.Actor, t mfa.Ticket, method string) (session.Grant, bool, error) {
	return s.finishAs(ctx, tx, by, t, session.WithSecond(t.AMR, method))
}

// finishAs is finish with the assurance that both factors give.
func (s *Service) finishAs(ctx context.Context, tx postgres.Tx, by actor.Actor, t mfa.Ticket, how session.Assurance) (session.Grant, bool, error) {
	grant, opened, err := s.open(ctx, tx, by, entry{
		account: account{ID: t.UserID, Email: t.Email, EmailNorm: t.EmailNorm, AuthEpoch: t.AuthEpoch, MFAEnabled: true},
		how:     how, device: t.DeviceName, cookie: t.Cookie, hash: t.PasswordHash,
	})
	if err != nil || !opened {
		return session.Grant{}, false, err
	}
	used, err := s.Factors.Use(ctx, tx, t)
	return grant, used, err
}

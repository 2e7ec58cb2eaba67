package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// person is the account as its authenticator will show it.
func (a account) person() passkey.Person {
	p := passkey.Person{ID: a.ID, Name: a.Email, DisplayName: orEmpty(a.DisplayName)}
	if p.DisplayName == "" {
		p.DisplayName = a.Email
	}
	return p
}

// caller is the account of the session.
func (s *Service) caller(ctx context.Context, db postgres.DB, by actor.Actor) (account, error) {
	a, err := byID(ctx, db, by.UserID)
	if postgres.NoRows(err) {
		return account{}, actor.ErrSession
	}
	return a, err
}

// PasskeyRegistrationOptions begins the registration of a passkey for the caller's account.
func (s *Service) PasskeyRegistrationOptions(ctx context.Context, by actor.Actor) (passkey.Options, error) {
	a, err := s.caller(ctx, s.DB, by)
	if err != nil {
		return passkey.Options{}, err
	}
	return s.Passkeys.RegistrationOptions(ctx, passkey.Registration(by.UserID, by.SessionID), a.person())
}

// RegisterPasskey adds a passkey to the caller's account, and tells the owner by mail. The first factor of an account
// ends its other sessions and makes this one as strong as the account is from now on. Name may be empty. The faults:
// validation, passkey.ErrKnown.
func (s *Service) RegisterPasskey(ctx context.Context, by actor.Actor, credential []byte, name string) (passkey.Passkey, error) {
	if name != "" {
		var v fault.Validation
		passkey.CheckName(&v, "/name", name)
		if err := v.Err(); err != nil {
			return passkey.Passkey{}, err
		}
	}
	a, err := s.caller(ctx, s.DB, by)
	if err != nil {
		return passkey.Passkey{}, err
	}
	n, err := s.Passkeys.CheckRegistration(ctx, passkey.Registration(by.UserID, by.SessionID), a.person(), credential)
	if err != nil {
		return passkey.Passkey{}, err
	}
	n.Name = name
	var added passkey.Passkey
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if a, err = s.lockCaller(ctx, tx, by); err != nil {
			return err
		}
		if added, err = s.Passkeys.Add(ctx, tx, by.UserID, n); err != nil {
			return err
		}
		err := audit.Record(ctx, tx, by, audit.Event{
			Action: "passkey.create", Outcome: audit.Success, Target: added.Target(),
			Changes: map[string]audit.Change{"name": {From: nil, To: added.Name}},
		})
		if err != nil {
			return err
		}
		if _, err := s.factorsChanged(ctx, tx, by, session.ByPasskey(by.AMR, added.AMR())); err != nil {
			return err
		}
		return s.tell(ctx, tx, owner(a), notify.Passkey{
			Name: orEmpty(a.DisplayName), Event: notify.PasskeyAdded, Passkey: added.Name, At: s.Clock.Now(),
		})
	})
	if err != nil {
		return passkey.Passkey{}, err
	}
	return added, nil
}

// RemovePasskey deletes one of the caller's own passkeys, and tells the owner by mail. The faults: fault.ErrNotFound,
// fault.ErrPrecondition, passkey.ErrLast.
func (s *Service) RemovePasskey(ctx context.Context, by actor.Actor, key id.ID, ifMatch *int64) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		a, err := s.lockCaller(ctx, tx, by)
		if err != nil {
			return err
		}
		p, err := s.Passkeys.Lock(ctx, tx, by, key, ifMatch)
		if err != nil {
			return err
		}
		if err := s.Passkeys.Remove(ctx, tx, p); err != nil {
			return err
		}
		left, err := passkey.Count(ctx, tx, by.UserID)
		if err != nil {
			return err
		}
		if left == 0 && a.PasswordHash == nil {
			return passkey.ErrLast
		}
		err = audit.Record(ctx, tx, by, audit.Event{
			Action: "passkey.delete", Outcome: audit.Success, Target: p.Target(),
			Changes: map[string]audit.Change{"name": {From: p.Name, To: nil}},
		})
		if err != nil {
			return err
		}
		if _, err := s.factorsChanged(ctx, tx, by, session.Assurance{}); err != nil {
			return err
		}
		return s.tell(ctx, tx, owner(a), notify.Passkey{
			Name: orEmpty(a.DisplayName), Event: notify.PasskeyRemoved, Passkey: p.Name, At: s.Clock.Now(),
		})
	})
}

// lockCaller locks the caller's account for a change of its factors. It refuses a caller whose session has ended since
// he was let in: what ends sessions ends factors too, and must not be outrun.
func (s *Service) lockCaller(ctx context.Context, tx postgres.Tx, by actor.Actor) (account, error) {
	if _, err := user.Lock(ctx, tx, by.UserID); errors.Is(err, fault.ErrNotFound) {
		return account{}, actor.ErrSession
	} else if err != nil {
		return account{}, err
	}
	alive, err := s.Sessions.Alive(ctx, tx, by)
	if err != nil {
		return account{}, err
	}
	if !alive {
		return account{}, actor.ErrSession
	}
	return s.caller(ctx, tx, by)
}

// factorsChanged sets anew whether the caller's account has a second factor. With the first one the other sessions end,
// which were opened without it, and this session gets the assurance of what its person has just shown. It returns the
// change, if any, as the audit log has it.
func (s *Service) factorsChanged(
	ctx context.Context, tx postgres.Tx, by actor.Actor, shown session.Assurance,
) (map[string]audit.Change, error) {
	enabled, changed, err := user.UpdateMFA(ctx, tx, by.UserID)
	if err != nil || !changed {
		return nil, err
	}
	changes := map[string]audit.Change{"mfa_enabled": {From: !enabled, To: enabled}}
	if !enabled {
		return changes, s.Changes.Of(ctx, tx, by.UserID)
	}
	if err := s.Sessions.EndOthersIn(ctx, tx, by); err != nil {
		return nil, err
	}
	_, err = s.Sessions.Reauthenticated(ctx, tx, by, shown)
	return changes, err
}

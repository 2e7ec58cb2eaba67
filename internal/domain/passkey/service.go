package passkey

import (
	"context"
	"errors"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/text"
)

// Service keeps passkeys and runs their ceremonies. What a ceremony leads to (a session, an end of others, a mail) is
// the flows' of package auth.
type Service struct {
	db       *postgres.Pool
	rp       RelyingParty
	verifier *webauthn.WebAuthn // nil when passkeys are not offered
}

// NewService works on db for the relying party.
func NewService(db *postgres.Pool, rp RelyingParty) (*Service, error) {
	s := &Service{db: db, rp: rp}
	if !rp.Offered() {
		return s, nil
	}
	var err error
	if s.verifier, err = newVerifier(rp); err != nil {
		return nil, errors.New("UMS_PASSKEY_RP_ID, UMS_PASSKEY_ORIGINS: " + err.Error())
	}
	return s, nil
}

// Offered says whether passkeys can be used here.
func (s *Service) Offered() bool { return s.rp.Offered() }

// List returns at most f.Limit of the caller's own passkeys.
func (s *Service) List(ctx context.Context, by actor.Actor, f Filter) ([]Passkey, error) {
	return list(ctx, s.db, by.UserID, f)
}

// CheckName records what is wrong with a name.
func CheckName(v *fault.Validation, pointer, name string) { text.Line(v, pointer, name, MaxName) }

// Rename names one of the caller's own passkeys; another's is not found, as an unknown one.
func (s *Service) Rename(ctx context.Context, by actor.Actor, key id.ID, name patch.Field[string], ifMatch *int64) (Passkey, error) {
	if name.Set {
		var v fault.Validation
		CheckName(&v, "/name", name.Value)
		if err := v.Err(); err != nil {
			return Passkey{}, err
		}
	}
	var renamed Passkey
	err := s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		p, err := s.Lock(ctx, tx, by, key, ifMatch)
		if err != nil {
			return err
		}
		if renamed = p; !name.Set || name.Value == p.Name {
			return nil
		}
		if renamed, err = rename(ctx, tx, key, name.Value); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{
			Action: "passkey.update", Outcome: audit.Success, Target: renamed.Target(),
			Changes: map[string]audit.Change{"name": {From: p.Name, To: name.Value}},
		})
	})
	return renamed, err
}

// Lock reads one of the caller's own passkeys and keeps others from changing it until tx ends. fault.ErrNotFound,
// hidden when it is another's; fault.ErrPrecondition when its version is not ifMatch.
func (s *Service) Lock(ctx context.Context, tx postgres.Tx, by actor.Actor, key id.ID, ifMatch *int64) (Passkey, error) {
	p, err := lock(ctx, tx, key)
	switch {
	case postgres.NoRows(err):
		return Passkey{}, fault.ErrNotFound
	case err != nil:
		return Passkey{}, err
	case !by.Is(p.UserID):
		return Passkey{}, actor.NotFound()
	case ifMatch != nil && *ifMatch != p.Version:
		return Passkey{}, fault.ErrPrecondition
	}
	return p, nil
}

// Add stores a verified credential. The caller holds the lock of the account. ErrKnown when it is registered already,
// for whomever; a validation fault when the account has MaxPasskeys. Two statements.
func (s *Service) Add(ctx context.Context, tx postgres.Tx, user id.ID, n New) (Passkey, error) {
	if n.Name == "" {
		n.Name = defaultName
	}
	has, err := Count(ctx, tx, user)
	if err != nil {
		return Passkey{}, err
	}
	if has >= MaxPasskeys {
		return Passkey{}, fault.InvalidField("/credential", "too_many", "An account has at most 50 passkeys; remove one first.")
	}
	return insert(ctx, tx, user, n)
}

// Remove deletes a passkey. The caller holds its lock.
func (s *Service) Remove(ctx context.Context, tx postgres.Tx, p Passkey) error {
	return remove(ctx, tx, p.ID)
}

// Use writes down that a passkey has signed, in the transaction of what that led to. False: its counter has meanwhile
// come further, or it is gone, and tx must roll back. One statement.
func (s *Service) Use(ctx context.Context, tx postgres.Tx, j Judgement) (bool, error) {
	return use(ctx, tx, j)
}

// Sweep deletes challenges that have expired.
func (s *Service) Sweep(ctx context.Context) error { return sweep(ctx, s.db) }

// Target is the passkey as the audit log names it.
func (p Passkey) Target() audit.Target {
	return audit.Target{Type: "passkey", ID: p.ID, Label: p.Name, Owner: p.UserID}
}

package mfa

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/text"
)

const sealPurpose = "totp-secret"

// Service keeps factors, recovery codes and tickets.
type Service struct {
	db      *postgres.Pool
	ring    *keyring.Ring
	clock   clock.Clock
	product string
}

// NewService works on db; ring seals the secrets of factors, clk says which codes are good, and product is the name that
// authenticator apps show.
func NewService(db *postgres.Pool, ring *keyring.Ring, clk clock.Clock, product string) *Service {
	return &Service{db: db, ring: ring, clock: clk, product: product}
}

// bound is what a sealed secret belongs to: in another row it does not open.
func bound(user, factor id.ID) []byte { return slices.Concat(user[:], factor[:]) }

// List returns the caller's own factors, the oldest first, and how many recovery codes are left.
func (s *Service) List(ctx context.Context, by actor.Actor) ([]Factor, int, error) {
	factors, err := list(ctx, s.db, by.UserID)
	if err != nil {
		return nil, 0, err
	}
	left, err := countCodes(ctx, s.db, by.UserID)
	return factors, left, err
}

// Start makes a factor that is pending until a code of it is shown; it takes the place of an older pending one. Name may
// be nil.
func (s *Service) Start(ctx context.Context, by actor.Actor, name *string) (Enrolment, error) {
	if name != nil {
		var v fault.Validation
		text.Line(&v, "/name", *name, MaxName)
		if err := v.Err(); err != nil {
			return Enrolment{}, err
		}
	}
	raw, e, err := newSecret(s.product, by.Label)
	if err != nil {
		return Enrolment{}, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		// The lock makes parallel starts come one after the other.
		if _, err := user.Lock(ctx, tx, by.UserID); errors.Is(err, fault.ErrNotFound) {
			return actor.ErrSession
		} else if err != nil {
			return err
		}
		factor := id.New()
		n, err := countActive(ctx, tx, by.UserID)
		if err != nil {
			return err
		}
		if n >= MaxFactors {
			return errTooMany
		}
		if e.Factor, err = insertPending(ctx, tx, by.UserID, factor, name, s.ring.Seal(sealPurpose, bound(by.UserID, factor), raw)); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, e.event("factor.create", by.UserID))
	})
	if err != nil {
		return Enrolment{}, err
	}
	return e, nil
}

func (f Factor) event(action string, owner id.ID) audit.Event {
	return audit.Event{Action: action, Outcome: audit.Success, Target: f.Target(owner)}
}

// Target is the factor as the audit log names it.
func (f Factor) Target(owner id.ID) audit.Target {
	t := audit.Target{Type: "factor", ID: f.ID, Owner: owner}
	if f.Name != nil {
		t.Label = *f.Name
	}
	return t
}

// Activate makes a pending factor of the account count, when the code is one of it: fault.ErrNotFound where there is no
// such pending factor, ErrCode. The code counts as used. The caller has locked the account, calls user.UpdateMFA after it,
// and records it.
func (s *Service) Activate(ctx context.Context, tx postgres.Tx, user, factor id.ID, code secret.Text) (Factor, error) {
	p, err := pending(ctx, tx, user, factor)
	if postgres.NoRows(err) {
		return Factor{}, s.missing(ctx, tx, user, factor)
	}
	if err != nil {
		return Factor{}, err
	}
	raw, err := s.ring.Open(sealPurpose, bound(user, factor), p.sealed)
	if err != nil {
		return Factor{}, err
	}
	step, ok := match(raw, code.Reveal(), s.clock.Now(), p.lastStep)
	if !ok {
		return Factor{}, ErrCode
	}
	return activate(ctx, tx, factor, step)
}

// missing is the answer for a factor that is not the account's, or not as it should be.
func (s *Service) missing(ctx context.Context, db postgres.DB, user, factor id.ID) error {
	others, err := othersHave(ctx, db, user, factor)
	if err != nil {
		return err
	}
	if others {
		return actor.NotFound()
	}
	return fault.ErrNotFound
}

// Remove deletes a factor of the account, pending ones too, or returns fault.ErrNotFound. The caller has locked the
// account, calls user.UpdateMFA after it, and records it.
func (s *Service) Remove(ctx context.Context, tx postgres.Tx, user, factor id.ID) (Factor, error) {
	f, err := remove(ctx, tx, user, factor)
	if postgres.NoRows(err) {
		return Factor{}, s.missing(ctx, tx, user, factor)
	}
	return f, err
}

// NewCodes gives the account ten new recovery codes; the old ones die. The caller has locked the account and records it.
func (s *Service) NewCodes(ctx context.Context, tx postgres.Tx, user id.ID) ([]secret.Text, error) {
	codes, hashes := make([]secret.Text, RecoveryCodes), make([][]byte, RecoveryCodes)
	for i := range codes {
		codes[i], hashes[i] = newRecoveryCode()
	}
	return codes, replaceCodes(ctx, tx, user, hashes)
}

// Check judges a code and uses nothing: ErrCode when it is wrong, too old or was used. The caller has counted the
// attempt. One statement.
func (s *Service) Check(ctx context.Context, user id.ID, c Code) (Proof, error) {
	p := Proof{Method: c.Method, user: user}
	if c.Method == RecoveryCode {
		raw, ok := parseRecovery(c.Text.Reveal())
		if !ok {
			return Proof{}, ErrCode
		}
		hash := sha256.Sum256(raw[:])
		there, err := hasCode(ctx, s.db, user, hash[:])
		if err != nil {
			return Proof{}, err
		}
		if !there {
			return Proof{}, ErrCode
		}
		p.hash = hash[:]
		return p, nil
	}
	factors, err := active(ctx, s.db, user)
	if err != nil {
		return Proof{}, err
	}
	for _, f := range factors {
		raw, err := s.ring.Open(sealPurpose, bound(user, f.ID), f.sealed)
		if err != nil {
			return Proof{}, err
		}
		if step, ok := match(raw, c.Text.Reveal(), s.clock.Now(), f.lastStep); ok {
			p.factor, p.step = f.ID, step
			return p, nil
		}
	}
	return Proof{}, ErrCode
}

// Consume uses a code, in the transaction of its effect. False: it was used meanwhile, and tx must roll back. Of all
// transactions that use the same code, over all replicas, one is told true.
func (s *Service) Consume(ctx context.Context, tx postgres.Tx, p Proof) (bool, error) {
	if p.Method == RecoveryCode {
		return useCode(ctx, tx, p.user, p.hash)
	}
	return useStep(ctx, tx, p.user, p.factor, p.step)
}

// CodesLeft is how many recovery codes the account has.
func (s *Service) CodesLeft(ctx context.Context, db postgres.DB, user id.ID) (int, error) {
	return countCodes(ctx, db, user)
}

// EndAll takes every factor of this package from an account, with its recovery codes and tickets, and says whether the
// last of all factors went with them.
// The caller has locked the account, records why, and announces it.
func EndAll(ctx context.Context, tx postgres.Tx, of id.ID) (bool, error) {
	if err := endAll(ctx, tx, of); err != nil {
		return false, err
	}
	_, changed, err := user.UpdateMFA(ctx, tx, of)
	return changed, err
}

// Sweep deletes tickets that have expired.
func (s *Service) Sweep(ctx context.Context) error { return sweep(ctx, s.db) }

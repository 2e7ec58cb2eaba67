package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// That the caller has a fresh session is the routes' to ask; so wrong codes of a factor that is not active yet count
// nowhere: who enrols it holds its secret.

// ActivateTOTP makes a pending factor of the caller count, when the code is one of it, and gives the account ten new
// recovery codes: older ones die. The first factor ends the caller's other sessions and raises this one to aal2, since
// its person has just shown both. The owner is told. The faults: fault.ErrNotFound, mfa.ErrCode.
func (s *Service) ActivateTOTP(ctx context.Context, by actor.Actor, factor id.ID, code secret.Text) ([]secret.Text, error) {
	var codes []secret.Text
	err := s.withFactors(ctx, by, func(ctx context.Context, tx postgres.Tx, a account) error {
		f, err := s.Factors.Activate(ctx, tx, by.UserID, factor, code)
		if err != nil {
			return err
		}
		if codes, err = s.Factors.NewCodes(ctx, tx, by.UserID); err != nil {
			return err
		}
		changes, err := s.factorsChanged(ctx, tx, by, session.WithSecond(by.AMR, mfa.OTP))
		if err != nil {
			return err
		}
		if err := s.tellOf(ctx, tx, a, notify.FactorAdded, f); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{
			Action: "factor.activate", Outcome: audit.Success, Target: f.Target(by.UserID), Changes: changes,
		})
	})
	if err != nil {
		event := audit.Event{Action: "factor.activate", Target: audit.Target{Type: "factor", ID: factor, Owner: by.UserID}}
		return nil, s.failedCode(ctx, by, event, err)
	}
	return codes, nil
}

// RemoveFactor deletes a factor of the caller's own, a pending one too. With the last one the recovery codes die, and an
// account whose role requires a factor has to enrol one again. The owner is told, unless it was pending. The fault:
// fault.ErrNotFound.
func (s *Service) RemoveFactor(ctx context.Context, by actor.Actor, factor id.ID) error {
	return s.withFactors(ctx, by, func(ctx context.Context, tx postgres.Tx, a account) error {
		f, err := s.Factors.Remove(ctx, tx, by.UserID, factor)
		if err != nil {
			return err
		}
		event := audit.Event{Action: "factor.delete", Outcome: audit.Success, Target: f.Target(by.UserID)}
		if f.ActivatedAt != nil {
			if event.Changes, err = s.factorsChanged(ctx, tx, by, session.Assurance{}); err != nil {
				return err
			}
			if err := s.tellOf(ctx, tx, a, notify.FactorRemoved, f); err != nil {
				return err
			}
		}
		return audit.Record(ctx, tx, by, event)
	})
}

// NewRecoveryCodes gives the caller's account ten new recovery codes; the old ones die. The owner is told. The fault:
// mfa.ErrNoFactor.
func (s *Service) NewRecoveryCodes(ctx context.Context, by actor.Actor) ([]secret.Text, error) {
	var codes []secret.Text
	err := s.withFactors(ctx, by, func(ctx context.Context, tx postgres.Tx, a account) (err error) {
		if !a.MFAEnabled {
			return mfa.ErrNoFactor
		}
		if codes, err = s.Factors.NewCodes(ctx, tx, by.UserID); err != nil {
			return err
		}
		if err := s.tellOf(ctx, tx, a, notify.RecoveryMade, mfa.Factor{}); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{Action: "factor.recovery_codes", Outcome: audit.Success, Target: s.target(a.ID, a.Email, a.EmailNorm)})
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// withFactors runs fn with the caller's account locked, so that changes of its factors come one after the other.
func (s *Service) withFactors(ctx context.Context, by actor.Actor, fn func(context.Context, postgres.Tx, account) error) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		a, err := s.lockCaller(ctx, tx, by)
		if err != nil {
			return err
		}
		return fn(ctx, tx, a)
	})
}

// gone words that the caller's account or session has ended under him.
func gone(err error) error {
	if errors.Is(err, fault.ErrNotFound) {
		return actor.ErrSession
	}
	return err
}

// tellOf tells the owner what happened to a factor.
func (s *Service) tellOf(ctx context.Context, tx postgres.Tx, a account, e notify.FactorEvent, f mfa.Factor) error {
	return s.tell(ctx, tx, owner(a), notify.SecondFactor{Name: orEmpty(a.DisplayName), Event: e, Factor: orEmpty(f.Name), At: s.Clock.Now()})
}

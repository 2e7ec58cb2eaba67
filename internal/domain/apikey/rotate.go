package apikey

import (
	"context"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// The bounds of an overlap.
const (
	MaxOverlap     = 30 * 24 * time.Hour
	DefaultOverlap = 24 * time.Hour
)

// forgetAfter is how long a secret that has ended stays readable; the next rotation forgets older ones.
const forgetAfter = 30 * 24 * time.Hour

// Rotate gives an active key a new secret; the one before works until the overlap ends. The key's id, scopes and expiry
// stay. Whoever rotates holds the key afterwards, so another's needs what making it would: a service account as its
// owner, control over it, and scopes that the caller may give. More than two secrets never work: ErrRotating.
func (s *Service) Rotate(
	ctx context.Context, by actor.Actor, key id.ID, overlap time.Duration, keep idempotency.Keep[Created],
) (Created, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Created{}, fault.InvalidField("/overlap_seconds", "out_of_range", "Give a whole number of seconds from 0 to 2592000.")
	}
	var created Created
	err := s.Pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if _, err := s.lockForChange(ctx, tx, by, key, nil); err != nil {
			return err
		}
		// The lock may have waited for another rotation, whose secrets the statement that waited does not see.
		k, err := get(ctx, tx, key)
		if err != nil {
			return err
		}
		now, err := moment(ctx, tx, by)
		if err != nil {
			return err
		}
		if !by.Is(k.UserID) {
			if err := s.checkHandover(ctx, tx, by, k); err != nil {
				return err
			}
		}
		if k.Status != Active {
			return fault.InvalidField("path/id", "not_active", "Only an active key can be rotated; make a new one.")
		}
		for _, old := range k.Secrets {
			if !old.Current() && old.ExpiresAt.After(now) {
				return ErrRotating
			}
		}
		made := token.NewAPIKey(k.Environment)
		rotated, err := rotate(ctx, tx, k, overlap, made)
		if err != nil {
			return err
		}
		changed := map[string]audit.Change{
			"last4": {From: k.Last4, To: rotated.Last4}, "overlap_seconds": {To: int64(overlap / time.Second)},
		}
		if err := s.record(ctx, tx, by, "api_key.rotate", rotated, changed); err != nil {
			return err
		}
		if err := s.Changes.Of(ctx, tx, k.UserID); err != nil {
			return err
		}
		created = Created{rotated, made.Text}
		return keep.Do(ctx, tx, created)
	})
	if err != nil {
		return Created{}, err
	}
	return created, nil
}

// checkHandover says whether by may come to hold a key of another.
func (s *Service) checkHandover(ctx context.Context, tx postgres.Tx, by actor.Actor, k Key) error {
	o, err := lockOwner(ctx, tx, k.UserID)
	switch {
	case err != nil:
		return err
	case o.Kind != user.Program:
		return ErrOthersKey
	}
	if err := s.Roles.CheckControl(ctx, tx, by, k.UserID); err != nil {
		return err
	}
	return s.Roles.CheckGrant(ctx, tx, by, k.Scopes, k.ExpiresAt)
}

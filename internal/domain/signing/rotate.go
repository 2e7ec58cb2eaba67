package signing

import (
	"context"
	"fmt"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Rotation is a key that has taken, or will take, the place of others.
type Rotation struct {
	KID        string
	Algorithm  string
	ActiveFrom time.Time // when it signs; until then it is only published
	Replaced   []string  // ids of the keys before it
	RetiresAt  time.Time // when those verify no more
}

// Rotate makes a key that signs after publishFor, when every replica and whoever keeps the published keys has seen it.
// The keys before it verify until the last token that they signed has ended, so that no token dies early. At once means
// now: for a key that has leaked. Access tokens of before are then refused as soon as a replica has heard of it, at the
// latest after refreshEach; sessions live on, for refresh tokens are not signed by these keys.
// by must be an actor that may do everything: the command line's, or the schedule's.
func (s *Service) Rotate(ctx context.Context, by actor.Actor, atOnce bool) (r Rotation, err error) {
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		if atOnce {
			r, err = s.replace(ctx, tx, by, "by hand, at once", now)
			return err
		}
		r, err = s.replace(ctx, tx, by, "by hand", later)
		return err
	})
	if err != nil {
		return Rotation{}, fmt.Errorf("rotate signing keys: %w", err)
	}
	s.say(ctx, r)
	return r, nil
}

// ReplaceIn is Rotate at once, in the transaction of what makes it necessary.
func (s *Service) ReplaceIn(ctx context.Context, tx postgres.Tx, by actor.Actor, reason string) (Rotation, error) {
	if err := lock(ctx, tx); err != nil {
		return Rotation{}, err
	}
	return s.replace(ctx, tx, by, reason, now)
}

// RotateDue rotates when the current key is older than the configuration allows. Of all replicas one does it: database
// time says that it is due, and says it again under the lock.
func (s *Service) RotateDue(ctx context.Context) error {
	if s.Config.Rotation == 0 {
		return nil
	}
	state, err := survey(ctx, s.DB, s.Algorithm, s.Config.Rotation)
	if err != nil || !state.Current || state.Young {
		return err
	}
	var r Rotation
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		r = Rotation{}
		if err := lock(ctx, tx); err != nil {
			return err
		}
		state, err := survey(ctx, tx, s.Algorithm, s.Config.Rotation)
		if err != nil || !state.Current || state.Young {
			return err
		}
		r, err = s.replace(ctx, tx, actor.Service("schedule"), "UMS_KEY_ROTATION", later)
		return err
	})
	if err != nil {
		return fmt.Errorf("rotate signing keys: %w", err)
	}
	if r.KID != "" {
		s.say(ctx, r)
	}
	return nil
}

func (s *Service) say(ctx context.Context, r Rotation) {
	s.Log.InfoContext(ctx, "signing key rotated", "kid", r.KID, "active_from", r.ActiveFrom, "replaced", r.Replaced, "retires_at", r.RetiresAt)
}

// replace adds a key in the place of all others, records it and announces it. The caller holds the lock.
func (s *Service) replace(ctx context.Context, tx postgres.Tx, by actor.Actor, reason string, when activation) (Rotation, error) {
	replaced, err := retire(ctx, tx, when)
	if err != nil {
		return Rotation{}, err
	}
	if len(replaced) == 0 { // before the first start: a service that starts now must find a key that signs
		when = always
	}
	r, err := s.add(ctx, tx, when)
	if err != nil {
		return Rotation{}, err
	}
	r.Replaced, r.RetiresAt = replaced, r.ActiveFrom.Add(verifyFor)
	if when == now {
		r.RetiresAt = r.ActiveFrom.Add(maxSkew)
	}
	err = audit.Record(ctx, tx, by, audit.Event{
		Action: "signing_key.rotate", Outcome: audit.Success, Target: audit.Target{Type: "signing_key", Label: r.KID}, Reason: reason,
		Changes: map[string]audit.Change{"signing_keys": {From: replaced, To: []string{r.KID}}},
	})
	if err != nil {
		return Rotation{}, err
	}
	if err := s.Bus.Publish(ctx, tx, announced, r.KID); err != nil {
		return Rotation{}, fmt.Errorf("announce signing key: %w", err)
	}
	return r, nil
}

// add makes a key and seals its private part.
func (s *Service) add(ctx context.Context, tx postgres.Tx, when activation) (Rotation, error) {
	k, err := token.GenerateKey(s.Algorithm)
	if err != nil {
		return Rotation{}, err
	}
	private, err := k.MarshalPrivate()
	if err != nil {
		return Rotation{}, err
	}
	public, err := k.MarshalPublic()
	if err != nil {
		return Rotation{}, err
	}
	from, err := insert(ctx, tx, row{
		KID: k.ID, Algorithm: k.Algorithm, PublicKey: public, PrivateKey: s.Ring.Seal(sealPurpose, []byte(k.ID), private),
	}, when)
	return Rotation{KID: k.ID, Algorithm: k.Algorithm, ActiveFrom: from.UTC()}, err
}

// Sweep deletes keys that retired a day ago: nothing verifies under them any more.
func (s *Service) Sweep(ctx context.Context) error { return sweep(ctx, s.DB) }

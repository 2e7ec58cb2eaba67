package apikey

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Deps is what the service works with.
type Deps struct {
	Pool    *postgres.Pool
	Roles   role.Authorizer
	Changes actor.Changes
	Outbox  Outbox
	General ratelimit.Rate // the limit of every caller, above which a key's own needs WritePermission
}

// Service makes, shows and ends keys. Every method but Get of a key by itself refuses callers that are keys: a key
// never touches keys.
type Service struct {
	cfg Config
	Deps
}

// NewService returns a service with its configuration and what it works with.
func NewService(cfg Config, d Deps) *Service { return &Service{cfg, d} }

// Create makes a key, for the caller or, with WritePermission, for a service account that he could control, with
// scopes that lie inside what its owner may do. Its text comes back this once.
func (s *Service) Create(ctx context.Context, by actor.Actor, n New, keep idempotency.Keep[Created]) (Created, error) {
	if by.Kind == actor.APIKey {
		return Created{}, actor.ErrSessionRequired
	}
	if n.UserID == id.Nil {
		n.UserID = by.UserID
	}
	others := !by.Is(n.UserID)
	if others && !by.May(WritePermission) {
		return Created{}, actor.Denied(WritePermission)
	}
	var v fault.Validation
	checkName(&v, n.Name)
	checkEnvironment(&v, n.Environment)
	checkRateLimit(&v, n.RateLimit)
	k := Key{
		ID: id.New(), UserID: n.UserID, Name: n.Name, Environment: n.Environment, RateLimit: n.RateLimit,
		Scopes: checkScopes(&v, n.Scopes), AllowedIPs: checkNetworks(&v, n.AllowedIPs), Metadata: mergeMetadata(&v, nil, n.Metadata),
	}
	if err := v.Err(); err != nil {
		return Created{}, err
	}
	if err := s.checkRate(by, n.RateLimit); err != nil {
		return Created{}, err
	}
	made := token.NewAPIKey(n.Environment)
	var created Created
	err := s.Pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		o, err := lockOwner(ctx, tx, n.UserID)
		switch {
		case errors.Is(err, fault.ErrNotFound), err == nil && o.Status == user.Deleting:
			return fault.InvalidField("/user_id", "unknown_user", "There is no such account.")
		case err != nil:
			return err
		case others && o.Kind != user.Program:
			return ErrOthersKey
		}
		if others {
			if err := s.Roles.CheckControl(ctx, tx, by, n.UserID); err != nil {
				return err
			}
		}
		now, err := moment(ctx, tx, by)
		if err != nil {
			return err
		}
		var v fault.Validation
		k.ExpiresAt = s.cfg.expiry(&v, n.ExpiresAt, now, now)
		if err := collect(&v, s.Roles.CheckRegistered(ctx, tx, "/scopes", n.Scopes)); err != nil {
			return err
		}
		if err := v.Err(); err != nil {
			return err
		}
		if err := s.checkScopesWithin(ctx, tx, by, k); err != nil {
			return err
		}
		stored, err := insert(ctx, tx, k, by.UserID, made)
		if err != nil {
			return err
		}
		if err := s.record(ctx, tx, by, "api_key.create", stored, changes(Key{}, stored)); err != nil {
			return err
		}
		created = Created{stored, made.Text}
		return keep.Do(ctx, tx, created)
	})
	if err != nil {
		return Created{}, err
	}
	return created, nil
}

// checkScopesWithin refuses scopes outside what the owner holds now and, when another sets them, outside what the
// setter holds for as long as the key lives.
func (s *Service) checkScopesWithin(ctx context.Context, tx postgres.Tx, by actor.Actor, k Key) error {
	held, err := s.Roles.Effective(ctx, tx, k.UserID, nil)
	if err != nil {
		return err
	}
	if !held.Contains(k.Scopes) {
		return ErrScopesAbove
	}
	if by.Is(k.UserID) {
		return nil
	}
	return s.Roles.CheckGrant(ctx, tx, by, k.Scopes, k.ExpiresAt)
}

// checkRate refuses a limit above the general one to those who may not give it.
func (s *Service) checkRate(by actor.Actor, l *RateLimit) error {
	if l != nil && l.above(s.General) && !by.May(WritePermission) {
		return actor.Denied(WritePermission)
	}
	return nil
}

// List returns keys: the caller's own or, with ReadPermission, another's or everyone's.
func (s *Service) List(ctx context.Context, by actor.Actor, f Filter) ([]Key, error) {
	if f.Everyone && f.UserID != id.Nil {
		return nil, errFilterTwice
	}
	if f.UserID == id.Nil {
		f.UserID = by.UserID
	}
	if (f.Everyone || !by.Is(f.UserID)) && !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	return list(ctx, s.Pool, f)
}

// Get returns a key of one's own or, with ReadPermission, of anybody; else it is hidden.
func (s *Service) Get(ctx context.Context, by actor.Actor, key id.ID) (Key, error) {
	k, err := get(ctx, s.Pool, key)
	if err != nil {
		return Key{}, err
	}
	if !by.Is(k.UserID) && !by.May(ReadPermission) {
		return Key{}, actor.NotFound()
	}
	return k, nil
}

// Current returns the key that calls, whatever it may do otherwise; fault.ErrNotFound when the caller is none.
func (s *Service) Current(ctx context.Context, by actor.Actor) (Key, error) {
	if by.Kind != actor.APIKey {
		return Key{}, fault.ErrNotFound.WithDetail("The caller is a signed-in person, not an API key.")
	}
	return get(ctx, s.Pool, by.KeyID)
}

// Revoke ends a key for good; it can still be read. Ending it again changes nothing. One's own, or WritePermission over
// an owner who is not above the caller. A key that has changed since ifMatch, if given, is left alone.
func (s *Service) Revoke(ctx context.Context, by actor.Actor, key id.ID, ifMatch *int64) error {
	return s.Pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		k, err := s.lockForChange(ctx, tx, by, key, ifMatch)
		if err != nil || k.Status == Revoked {
			return err
		}
		if err := revoke(ctx, tx, key); err != nil {
			return err
		}
		changed := map[string]audit.Change{"status": {From: k.Status, To: Revoked}}
		if err := s.record(ctx, tx, by, "api_key.revoke", k, changed); err != nil {
			return err
		}
		return s.Changes.Of(ctx, tx, k.UserID)
	})
}

// lockForChange reads a key that by is about to change, and says whether he may.
func (s *Service) lockForChange(ctx context.Context, tx postgres.Tx, by actor.Actor, key id.ID, ifMatch *int64) (Key, error) {
	if by.Kind == actor.APIKey {
		return Key{}, actor.ErrSessionRequired
	}
	k, err := lock(ctx, tx, key)
	if err != nil {
		return Key{}, err
	}
	if !by.Is(k.UserID) {
		if !by.May(WritePermission) {
			return Key{}, actor.NotFound()
		}
		if err := s.Roles.CheckTarget(ctx, tx, by, k.UserID); err != nil {
			return Key{}, err
		}
	}
	if ifMatch != nil && *ifMatch != k.Version {
		return Key{}, fault.ErrPrecondition
	}
	return k, nil
}

func (s *Service) record(
	ctx context.Context, tx postgres.Tx, by actor.Actor, action string, k Key, changed map[string]audit.Change,
) error {
	return audit.Record(ctx, tx, by, audit.Event{
		Action: action, Outcome: audit.Success, Changes: changed,
		Target: audit.Target{Type: "api_key", ID: k.ID, Label: k.Name, Owner: k.UserID},
	})
}

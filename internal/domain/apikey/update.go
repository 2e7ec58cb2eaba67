package apikey

import (
	"context"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Update changes a key of one's own or, with WritePermission, of an owner who is not above the caller. New scopes are
// held against the same lattice as at creation. A patch that changes nothing leaves no trace.
func (s *Service) Update(ctx context.Context, by actor.Actor, key id.ID, p Patch, ifMatch *int64) (Key, error) {
	// A name, scopes and metadata cannot be without a value; null empties the others.
	var v fault.Validation
	if p.Name.Set {
		checkName(&v, p.Name.Value)
	}
	var scopes []string
	if p.Scopes.Set {
		scopes = checkScopes(&v, p.Scopes.Value)
	}
	networks := checkNetworks(&v, p.AllowedIPs.Value)
	checkRateLimit(&v, p.RateLimit.Pointer())
	if err := v.Err(); err != nil {
		return Key{}, err
	}
	if err := s.checkRate(by, p.RateLimit.Pointer()); err != nil {
		return Key{}, err
	}
	var updated Key
	err := s.Pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		before, err := s.lockForChange(ctx, tx, by, key, ifMatch)
		if err != nil {
			return err
		}
		after := before
		if p.Name.Set {
			after.Name = p.Name.Value
		}
		if p.AllowedIPs.Set {
			after.AllowedIPs = networks
		}
		p.RateLimit.Apply(&after.RateLimit)
		if p.Scopes.Set {
			after.Scopes = scopes
		}
		if err := s.applyChecked(ctx, tx, by, p, before, &after); err != nil {
			return err
		}
		changed := changes(before, after)
		if len(changed) == 0 {
			updated = before
			return nil
		}
		if updated, err = update(ctx, tx, after); err != nil {
			return err
		}
		if err := s.record(ctx, tx, by, "api_key.update", updated, changed); err != nil {
			return err
		}
		return s.Changes.Of(ctx, tx, updated.UserID)
	})
	if err != nil {
		return Key{}, err
	}
	return updated, nil
}

// applyChecked applies what only the database can judge: registered scopes, the time, the metadata that is there.
func (s *Service) applyChecked(ctx context.Context, tx postgres.Tx, by actor.Actor, p Patch, before Key, after *Key) error {
	var v fault.Validation
	if p.Metadata.Set {
		change := p.Metadata.Value
		if p.Metadata.Null {
			change = jsontext.Value("null")
		}
		after.Metadata = mergeMetadata(&v, before.Metadata, change)
	}
	if !p.Scopes.Set && !p.ExpiresAt.Set {
		return v.Err()
	}
	now, err := moment(ctx, tx, by)
	if err != nil {
		return err
	}
	if p.ExpiresAt.Set {
		after.ExpiresAt = s.cfg.expiry(&v, p.ExpiresAt, before.issuedAt(), now)
	}
	// A permission that only an expired key named may have been deleted since; such a key does not come back with it.
	given := after.Scopes
	if p.Scopes.Set {
		given = p.Scopes.Value
	}
	if err := collect(&v, s.Roles.CheckRegistered(ctx, tx, "/scopes", given)); err != nil {
		return err
	}
	if err := v.Err(); err != nil {
		return err
	}
	if !p.Scopes.Set {
		return nil
	}
	if !by.Is(after.UserID) {
		if err := s.Roles.CheckControl(ctx, tx, by, after.UserID); err != nil {
			return err
		}
	}
	return s.checkScopesWithin(ctx, tx, by, *after)
}

// changes returns what differs between two states of a key, for the log.
func changes(before, after Key) map[string]audit.Change {
	out := map[string]audit.Change{}
	was, is := before.logged(), after.logged()
	for name, value := range is {
		if !reflect.DeepEqual(was[name], value) {
			out[name] = audit.Change{From: was[name], To: value}
		}
	}
	if before.metadata() != after.metadata() {
		out["metadata"] = audit.Change{} // that it changed; what is in it is the owner's and stays out of the log
	}
	return out
}

// logged returns what the log shows of a key; nil is the absence of a value.
func (k Key) logged() map[string]any {
	fields := map[string]any{
		"name": nil, "environment": nil, "scopes": nil, "expires_at": nil, "allowed_ips": nil, "rate_limit": nil,
	}
	if k.Name != "" {
		fields["name"], fields["environment"], fields["scopes"] = k.Name, string(k.Environment), k.Scopes
	}
	if k.ExpiresAt != nil {
		fields["expires_at"] = k.ExpiresAt.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	if len(k.AllowedIPs) > 0 {
		fields["allowed_ips"] = k.AllowedIPs
	}
	if k.RateLimit != nil {
		fields["rate_limit"] = *k.RateLimit
	}
	return fields
}

// metadata returns the one spelling of an object, "" when it is empty.
func (k Key) metadata() string {
	canonical := k.Metadata.Clone()
	if len(canonical) == 0 || canonical.Canonicalize() != nil || string(canonical) == "{}" {
		return ""
	}
	return string(canonical)
}

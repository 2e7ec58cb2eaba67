package role

import (
	"context"
	"slices"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Users returns at most f.Limit accounts that hold the role directly, the youngest account first; those of role `user`
// are all humans from activation on. Needs roles:read.
func (s *Service) Users(ctx context.Context, by actor.Actor, role id.ID, f Filter) ([]Holder, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	holders, err := listHolders(ctx, s.pool, role, f)
	if err != nil || len(holders) > 0 {
		return holders, err
	}
	_, err = byID(ctx, s.pool, role) // nobody holds it, or there is none
	return nil, err
}

// RolesOf returns the roles that an account holds directly, by name. Needs roles:read.
func (s *Service) RolesOf(ctx context.Context, by actor.Actor, user id.ID) ([]Assignment, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	held, exists, err := assignments(ctx, s.pool, user)
	if err == nil && !exists {
		err = fault.ErrNotFound
	}
	return held, err
}

// MyRoles returns the roles that the caller's account holds directly, by name.
func (s *Service) MyRoles(ctx context.Context, by actor.Actor) ([]Assignment, error) {
	held, _, err := assignments(ctx, s.pool, by.UserID)
	return held, err
}

// PermissionsOf returns what an account may do, with the roles that each permission comes from. Needs roles:read.
func (s *Service) PermissionsOf(ctx context.Context, by actor.Actor, user id.ID) ([]Source, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	found, exists, err := sources(ctx, s.pool, user)
	if err == nil && !exists {
		err = fault.ErrNotFound
	}
	return found, err
}

// MyPermissions returns what the caller may do: of a key, what its scopes leave of its owner's permissions.
func (s *Service) MyPermissions(ctx context.Context, by actor.Actor) ([]Source, error) {
	found, _, err := sources(ctx, s.pool, by.UserID)
	if err != nil || by.Kind != actor.APIKey {
		return found, err
	}
	within := make([]Source, 0, len(by.Permissions))
	for _, p := range by.Permissions {
		one := Source{Permission: p, Roles: []string{}}
		for _, source := range found {
			if actor.Covers(source.Permission, p) {
				one.Roles = append(one.Roles, source.Roles...)
			}
		}
		one.Roles = tidy(one.Roles)
		within = append(within, one)
	}
	slices.SortFunc(within, func(a, b Source) int {
		if a.Permission < b.Permission {
			return -1
		}
		return 1
	})
	return within, nil
}

// Assign gives a role to an account until then (nil: for good), or gives the assignment that is there this end. Needs
// roles:assign; the role's content must lie within what the caller holds that long, and the account must hold no
// built-in permission that he lacks. The faults: not found, actor.ErrEscalation, ErrSystemRole (role `user`),
// ErrLastAdmin, validation of /expires_at.
func (s *Service) Assign(ctx context.Context, by actor.Actor, user, role id.ID, until *time.Time) error {
	if until != nil {
		t := until.UTC().Truncate(time.Millisecond)
		until = &t
	}
	return s.reassign(ctx, by, user, role, until, func(ctx context.Context, tx postgres.Tx, found heldRole, content actor.Permissions) (bool, error) {
		if err := s.CheckGrant(ctx, tx, by, content, until); err != nil {
			return false, err
		}
		if !found.Future {
			return false, fault.InvalidField("/expires_at", "in_the_past", "Give a time in the future, or null.")
		}
		if found.Live && sameTime(found.ExpiresAt, until) {
			return false, nil
		}
		return true, assign(ctx, tx, user, []id.ID{role}, until)
	})
}

// Unassign takes a role from an account. Needs roles:assign, and what Assign needs. The faults: not found (also when
// the account does not hold it), actor.ErrEscalation, ErrSystemRole (role `user`), ErrLastAdmin.
func (s *Service) Unassign(ctx context.Context, by actor.Actor, user, role id.ID) error {
	return s.reassign(ctx, by, user, role, nil, func(ctx context.Context, tx postgres.Tx, found heldRole, content actor.Permissions) (bool, error) {
		if !found.Live {
			return false, fault.ErrNotFound
		}
		if err := s.CheckOwn(ctx, tx, by, content); err != nil {
			return false, err
		}
		return true, unassign(ctx, tx, user, role)
	})
}

// reassign is what giving and taking share. change reports whether it changed anything.
func (s *Service) reassign(
	ctx context.Context, by actor.Actor, user, role id.ID, until *time.Time,
	change func(context.Context, postgres.Tx, heldRole, actor.Permissions) (bool, error),
) error {
	if by.Kind == actor.APIKey {
		return actor.ErrSessionRequired
	}
	if !by.May(AssignPermission) {
		return actor.Denied(AssignPermission)
	}
	return s.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		keepAnAdmin := func(context.Context) error { return nil }
		if role == AdminID {
			var err error
			if keepAnAdmin, err = s.KeepAnAdmin(ctx, tx); err != nil {
				return err
			}
		}
		label, err := lockAccount(ctx, tx, user)
		if err != nil {
			return err
		}
		name, err := nameOf(ctx, tx, role)
		if err != nil {
			return err
		}
		if err := s.CheckTarget(ctx, tx, by, user); err != nil {
			return err
		}
		if role == UserID {
			return ErrSystemRole
		}
		content, err := contentOf(ctx, tx, []id.ID{role})
		if err != nil {
			return err
		}
		found, err := lockAssignment(ctx, tx, user, role, until)
		if err != nil {
			return err
		}
		changed, err := change(ctx, tx, found, content)
		if err != nil || !changed {
			return err
		}
		if err := keepAnAdmin(ctx); err != nil {
			return err
		}
		after, err := lockAssignment(ctx, tx, user, role, nil)
		if err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, by, assignmentEvent(user, label, name, found, after)); err != nil {
			return err
		}
		return s.changes.Of(ctx, tx, user)
	})
}

// assignmentEvent tells what changed in an account's hands. An assignment that had expired was none.
func assignmentEvent(user id.ID, label, role string, from, to heldRole) audit.Event {
	e := audit.Event{
		Action: "role.assign", Outcome: audit.Success,
		Target:  audit.Target{Type: "user", ID: user, Label: label, Owner: user},
		Changes: map[string]audit.Change{"role": {}},
	}
	var before, after, ended, ends any
	if from.Live {
		before, ended = role, from.ExpiresAt
	}
	if to.Live {
		after, ends = role, to.ExpiresAt
	} else {
		e.Action = "role.unassign"
	}
	e.Changes["role"] = audit.Change{From: before, To: after}
	if !sameTime(from.ExpiresAt, to.ExpiresAt) {
		e.Changes["expires_at"] = audit.Change{From: ended, To: ends}
	}
	return e
}

func sameTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

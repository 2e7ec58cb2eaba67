package role

import (
	"context"
	"reflect"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Service changes roles, permissions and who holds them, for callers.
type Service struct {
	pool    *postgres.Pool
	changes actor.Changes
	Authorizer
}

// NewService works on pool and announces changes of rights.
func NewService(pool *postgres.Pool, changes actor.Changes) *Service {
	return &Service{pool: pool, changes: changes}
}

// List returns at most f.Limit roles. Needs roles:read.
func (s *Service) List(ctx context.Context, by actor.Actor, f Filter) ([]Role, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	return listRoles(ctx, s.pool, f)
}

// Get returns a role, or fault.ErrNotFound. Needs roles:read.
func (s *Service) Get(ctx context.Context, by actor.Actor, role id.ID) (Role, error) {
	if !by.May(ReadPermission) {
		return Role{}, actor.Denied(ReadPermission)
	}
	return byID(ctx, s.pool, role)
}

// Create makes a role. Its content must lie within the caller's own set. Needs roles:write. The faults: ErrRoleExists,
// actor.ErrEscalation, validation.
func (s *Service) Create(ctx context.Context, by actor.Actor, n New, keep idempotency.Keep[Role]) (Role, error) {
	if !by.May(WritePermission) {
		return Role{}, actor.Denied(WritePermission)
	}
	if err := n.validate(); err != nil {
		return Role{}, err
	}
	var created Role
	err := s.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := lockGraph(ctx, tx); err != nil {
			return err
		}
		taken, err := IDsOf(ctx, tx, []string{n.Name})
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return ErrRoleExists // before what is wrong with the content
		}
		_, content, err := s.resolve(ctx, tx, n.Permissions, n.Inherits)
		if err != nil {
			return err
		}
		// Nobody holds it yet: for how long the caller may give it is asked when he assigns it.
		if err := s.CheckOwn(ctx, tx, by, content); err != nil {
			return err
		}
		if created, err = insertRole(ctx, tx, n.tidied()); err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, by, event("role.create", Role{}, created)); err != nil {
			return err
		}
		return keep.Do(ctx, tx, created)
	})
	return created, err
}

// Update changes a role, for everyone who holds it, and returns it. ifMatch is the version that the caller knows, or
// nil. Needs roles:write. What the role holds before and after must lie within the caller's own set, and what is added
// within what he holds for good; and nobody who holds it may hold a built-in permission that he lacks. The faults: not found, actor.ErrEscalation, fault.ErrPrecondition, ErrSystemRole (role
// admin), ErrRoleCycle, validation.
func (s *Service) Update(ctx context.Context, by actor.Actor, role id.ID, p Patch, ifMatch *int64) (Role, error) {
	if !by.May(WritePermission) {
		return Role{}, actor.Denied(WritePermission)
	}
	if err := p.validate(); err != nil {
		return Role{}, err
	}
	var updated Role
	err := s.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := lockGraph(ctx, tx); err != nil {
			return err
		}
		old, err := s.update(ctx, tx, by, role, p, ifMatch, &updated)
		if err != nil || reflect.DeepEqual(old, updated) {
			return err
		}
		if err := audit.Record(ctx, tx, by, event("role.update", old, updated)); err != nil {
			return err
		}
		return s.changes.OfEveryone(ctx, tx)
	})
	return updated, err
}

// update is what Update does to the role itself, behind lockGraph. It returns the role as it was; a patch that changes
// nothing leaves the same in updated.
func (s *Service) update(
	ctx context.Context, tx postgres.Tx, by actor.Actor, role id.ID, p Patch, ifMatch *int64, updated *Role,
) (Role, error) {
	old, content, err := s.lockToEdit(ctx, tx, by, role, ifMatch)
	if err != nil {
		return Role{}, err
	}
	if role == AdminID {
		return Role{}, ErrSystemRole
	}
	wanted := p.apply(old)
	parents, wantedContent, err := s.resolve(ctx, tx, wanted.Permissions, wanted.Inherits)
	if err != nil {
		return Role{}, err
	}
	cycle, err := reaches(ctx, tx, parents, role)
	if err != nil {
		return Role{}, err
	}
	if cycle {
		return Role{}, ErrRoleCycle
	}
	if err := s.CheckGrant(ctx, tx, by, beyond(wantedContent, content), nil); err != nil {
		return Role{}, err
	}
	*updated = old
	if wanted = wanted.tidied(); !reflect.DeepEqual(old, wanted) {
		*updated, err = updateRole(ctx, tx, wanted)
	}
	return old, err
}

// Delete removes a role. One that is held or inherited needs force, which takes it away everywhere. Needs roles:write,
// and what Update needs of the role as it is. The faults: not found, actor.ErrEscalation,
// fault.ErrPrecondition, ErrSystemRole, ErrRoleInUse.
func (s *Service) Delete(ctx context.Context, by actor.Actor, role id.ID, force bool, ifMatch *int64) error {
	if !by.May(WritePermission) {
		return actor.Denied(WritePermission)
	}
	return s.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := lockGraph(ctx, tx); err != nil {
			return err
		}
		old, err := s.remove(ctx, tx, by, role, force, ifMatch)
		if err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, by, event("role.delete", old, Role{})); err != nil {
			return err
		}
		return s.changes.OfEveryone(ctx, tx)
	})
}

// remove is what Delete does to the role itself, behind lockGraph. It returns the role as it was.
func (s *Service) remove(ctx context.Context, tx postgres.Tx, by actor.Actor, role id.ID, force bool, ifMatch *int64) (Role, error) {
	old, _, err := s.lockToEdit(ctx, tx, by, role, ifMatch)
	if err != nil {
		return Role{}, err
	}
	if old.System {
		return Role{}, ErrSystemRole
	}
	used, err := usedRole(ctx, tx, role)
	if err != nil {
		return Role{}, err
	}
	if used && !force {
		return Role{}, ErrRoleInUse
	}
	return old, deleteRole(ctx, tx, role)
}

// lockToEdit returns the role and its content, behind the checks that every edit shares.
func (s *Service) lockToEdit(
	ctx context.Context, tx postgres.Tx, by actor.Actor, role id.ID, ifMatch *int64,
) (Role, actor.Permissions, error) {
	r, err := lockRole(ctx, tx, role)
	if err != nil {
		return Role{}, nil, err
	}
	content, err := contentOf(ctx, tx, []id.ID{role})
	if err != nil {
		return Role{}, nil, err
	}
	if err := s.CheckOwn(ctx, tx, by, content); err != nil {
		return Role{}, nil, err
	}
	if err := s.checkHolders(ctx, tx, by, role); err != nil {
		return Role{}, nil, err
	}
	if ifMatch != nil && *ifMatch != r.Version {
		return Role{}, nil, fault.ErrPrecondition
	}
	return r, content, nil
}

// resolve returns the parents and the content of a role with these grants and these inherited roles. Permissions that
// are not registered and roles that do not exist are refused, all in one fault.
func (s *Service) resolve(
	ctx context.Context, tx postgres.Tx, permissions, inherits []string,
) (parents []id.ID, content actor.Permissions, err error) {
	unknown, err := s.unregistered(ctx, tx, "/permissions", permissions)
	if err != nil {
		return nil, nil, err
	}
	parents, missing, err := find(ctx, tx, "/inherits", inherits)
	if err != nil {
		return nil, nil, err
	}
	if err := invalid(append(unknown, missing...)); err != nil {
		return nil, nil, err
	}
	inherited, err := contentOf(ctx, tx, parents)
	if err != nil {
		return nil, nil, err
	}
	return parents, tidy(append(inherited, permissions...)), nil
}

// beyond returns what lies in wanted and not in old.
func beyond(wanted, old actor.Permissions) actor.Permissions {
	var added actor.Permissions
	for _, p := range wanted {
		if !old.Has(p) {
			added = append(added, p)
		}
	}
	return added
}

// event tells what changed between two states of a role; the zero Role is none.
func event(action string, from, to Role) audit.Event {
	e := audit.Event{Action: action, Outcome: audit.Success, Changes: map[string]audit.Change{}}
	e.Target = audit.Target{Type: "role", ID: from.ID, Label: from.Name}
	if from.ID == id.Nil {
		e.Target = audit.Target{Type: "role", ID: to.ID, Label: to.Name}
	}
	before, after := body(from), body(to)
	for field := range body(Role{ID: AdminID}) {
		if !reflect.DeepEqual(before[field], after[field]) {
			e.Changes[field] = audit.Change{From: before[field], To: after[field]}
		}
	}
	return e
}

func body(r Role) map[string]any {
	if r.ID == id.Nil {
		return nil
	}
	return map[string]any{
		"name": r.Name, "description": r.Description, "permissions": r.Permissions, "inherits": r.Inherits, "require_mfa": r.RequireMFA,
	}
}

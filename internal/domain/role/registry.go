package role

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Permissions returns at most f.Limit registered permissions. Needs roles:read.
func (s *Service) Permissions(ctx context.Context, by actor.Actor, f PermissionFilter) ([]Permission, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	return listPermissions(ctx, s.pool, f)
}

// CreatePermission registers a name that programs beside this one ask for. Needs roles:write. The faults:
// ErrPermissionExists, validation.
func (s *Service) CreatePermission(
	ctx context.Context, by actor.Actor, n NewPermission, keep idempotency.Keep[Permission],
) (Permission, error) {
	if !by.May(WritePermission) {
		return Permission{}, actor.Denied(WritePermission)
	}
	if err := n.validate(); err != nil {
		return Permission{}, err
	}
	var created Permission
	err := s.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if created, err = insertPermission(ctx, tx, n); err != nil {
			return err
		}
		err = audit.Record(ctx, tx, by, audit.Event{
			Action: "permission.create", Outcome: audit.Success, Target: audit.Target{Type: "permission", Label: n.Name},
			Changes: map[string]audit.Change{"name": {To: n.Name}, "description": {To: n.Description}},
		})
		if err != nil {
			return err
		}
		return keep.Do(ctx, tx, created)
	})
	return created, err
}

// DeletePermission forgets a name that nothing grants. Needs roles:write. The faults: not found, ErrPermissionInUse (also
// for built-in ones, which the service itself uses).
func (s *Service) DeletePermission(ctx context.Context, by actor.Actor, name string) error {
	if !by.May(WritePermission) {
		return actor.Denied(WritePermission)
	}
	return s.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		p, err := lockPermission(ctx, tx, name)
		if err != nil {
			return err
		}
		if p.System {
			return errBuiltinPermission
		}
		used, err := usedPermission(ctx, tx, name)
		if err != nil {
			return err
		}
		if used {
			return ErrPermissionInUse
		}
		if err := deletePermission(ctx, tx, name); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{
			Action: "permission.delete", Outcome: audit.Success, Target: audit.Target{Type: "permission", Label: name},
			Changes: map[string]audit.Change{"name": {From: name}, "description": {From: p.Description}},
		})
	})
}

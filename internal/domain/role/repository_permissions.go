package role

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// registered returns which of these names, and which permissions of these resources, are registered. The rows are
// locked against deletion until tx ends, so that nothing is granted that a concurrent delete takes away.
func registered(ctx context.Context, tx postgres.Tx, names, resources []string) ([]string, error) {
	if len(names)+len(resources) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `
		SELECT name FROM permissions WHERE name = ANY($1) OR split_part(name, ':', 1) = ANY($2)
		ORDER BY name FOR KEY SHARE`, names, resources)
	if err != nil {
		return nil, fmt.Errorf("find permissions: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find permissions: %w", err)
	}
	return found, nil
}

const selectPermission = "SELECT p.name, p.description, p.system, p.created_at FROM permissions p"

// PermissionPosition is the place of a permission in a list: by creation, ties by name.
type PermissionPosition struct {
	CreatedAt time.Time
	Name      string
}

// PermissionFilter says which part of the list is wanted. At most Limit rows come back, newest first unless Ascending.
type PermissionFilter struct {
	Limit     int
	Ascending bool
	After     *PermissionPosition
}

func listPermissions(ctx context.Context, db postgres.DB, f PermissionFilter) ([]Permission, error) {
	order, behind := "DESC", "<"
	if f.Ascending {
		order, behind = "ASC", ">"
	}
	args := []any{f.Limit, nil, nil}
	if f.After != nil {
		args = []any{f.Limit, f.After.CreatedAt, f.After.Name}
	}
	rows, err := db.Query(ctx, selectPermission+fmt.Sprintf(`
		WHERE ($2::timestamptz IS NULL OR (p.created_at, p.name) %s ($2, $3::text))
		ORDER BY p.created_at %s, p.name %[2]s LIMIT $1`, behind, order), args...)
	if err != nil {
		return nil, fmt.Errorf("list permissions: %w", err)
	}
	permissions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Permission])
	if err != nil {
		return nil, fmt.Errorf("list permissions: %w", err)
	}
	return permissions, nil
}

func insertPermission(ctx context.Context, tx postgres.Tx, n NewPermission) (Permission, error) {
	p := Permission{Name: n.Name, Description: n.Description}
	err := tx.QueryRow(ctx, "INSERT INTO permissions (name, description) VALUES ($1, $2) RETURNING created_at",
		n.Name, n.Description).Scan(&p.CreatedAt)
	if postgres.Constraint(err) == "permissions_pkey" {
		return Permission{}, ErrPermissionExists
	}
	if err != nil {
		return Permission{}, fmt.Errorf("insert permission: %w", err)
	}
	return p, nil
}

// lockPermission waits for whoever is granting it and keeps others from doing so.
func lockPermission(ctx context.Context, tx postgres.Tx, name string) (Permission, error) {
	rows, err := tx.Query(ctx, selectPermission+" WHERE p.name = $1 FOR UPDATE", name)
	if err != nil {
		return Permission{}, fmt.Errorf("lock permission: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Permission])
	if postgres.NoRows(err) {
		return Permission{}, fault.ErrNotFound
	}
	if err != nil {
		return Permission{}, fmt.Errorf("lock permission: %w", err)
	}
	return p, nil
}

// usedPermission says whether a role or a living key has the permission, by name or, when it is the last of its
// resource, by the resource's wildcard, which must not outlive what it stands for.
func usedPermission(ctx context.Context, tx postgres.Tx, name string) (bool, error) {
	var used bool
	err := tx.QueryRow(ctx, `
		WITH grants AS (
			SELECT $1::text AS name
			UNION ALL
			SELECT split_part($1, ':', 1) || ':*'
			WHERE NOT EXISTS (SELECT FROM permissions WHERE name <> $1 AND split_part(name, ':', 1) = split_part($1, ':', 1))
		)
		SELECT EXISTS (SELECT FROM role_permissions WHERE permission IN (SELECT name FROM grants))
			OR EXISTS (
				SELECT FROM api_keys
				WHERE scopes && ARRAY(SELECT name FROM grants)
					AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))`, name).Scan(&used)
	if err != nil {
		return false, fmt.Errorf("look for uses of permission: %w", err)
	}
	return used, nil
}

func deletePermission(ctx context.Context, tx postgres.Tx, name string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM permissions WHERE name = $1", name); err != nil {
		return fmt.Errorf("delete permission: %w", err)
	}
	return nil
}

package role

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// graphLock is the advisory lock of the transactions that change roles: inheritance is a property of all rows together,
// so they go one after the other. Reading, assigning and signing in do not wait for it.
const graphLock = 7221943010

// errRoleGone: the row that was read a moment ago has been deleted since.
var errRoleGone = errors.New("role vanished inside its transaction")

func lockGraph(ctx context.Context, tx postgres.Tx) error {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", graphLock); err != nil {
		return fmt.Errorf("lock roles: %w", err)
	}
	return nil
}

// selectRole is one row a role, ready for RowToStructByPos. Holders of role `user` are counted by status.
const selectRole = `
	SELECT r.id, r.name, r.description,
		ARRAY(SELECT permission FROM role_permissions WHERE role_id = r.id ORDER BY permission COLLATE "C"),
		ARRAY(SELECT i.name FROM role_inherits ri JOIN roles i ON i.id = ri.inherits_id WHERE ri.role_id = r.id ORDER BY i.name COLLATE "C"),
		r.require_mfa, r.system,
		CASE r.id WHEN '00000000-0000-7000-8000-000000000002' THEN
			(SELECT count(*) FROM users WHERE kind = 'human' AND status IN ('active', 'suspended', 'deleting'))
		ELSE
			(SELECT count(*) FROM user_roles WHERE role_id = r.id AND (expires_at IS NULL OR expires_at > now()))
		END,
		r.version, r.created_at, r.updated_at
	FROM roles r`

func collectRole(ctx context.Context, db postgres.DB, sql string, args ...any) (Role, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return Role{}, fmt.Errorf("read role: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Role])
	if postgres.NoRows(err) {
		return Role{}, fault.ErrNotFound
	}
	if err != nil {
		return Role{}, fmt.Errorf("read role: %w", err)
	}
	return r, nil
}

func byID(ctx context.Context, db postgres.DB, role id.ID) (Role, error) {
	return collectRole(ctx, db, selectRole+" WHERE r.id = $1", role)
}

// lockRole is byID with the row locked against changes, deletion and new assignments. What it returns is current only
// behind lockGraph: a statement that waits for a row lock reads other tables as they were before the wait.
func lockRole(ctx context.Context, tx postgres.Tx, role id.ID) (Role, error) {
	return collectRole(ctx, tx, selectRole+" WHERE r.id = $1 FOR UPDATE OF r", role)
}

// nameOf returns a role's name, its row locked against deletion and changes, not against other assignments.
func nameOf(ctx context.Context, tx postgres.Tx, role id.ID) (name string, err error) {
	err = tx.QueryRow(ctx, "SELECT name FROM roles WHERE id = $1 FOR KEY SHARE", role).Scan(&name)
	if postgres.NoRows(err) {
		return "", fault.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("read role: %w", err)
	}
	return name, nil
}

func listRoles(ctx context.Context, db postgres.DB, f Filter) ([]Role, error) {
	keyset, args := f.keyset("r")
	rows, err := db.Query(ctx, selectRole+keyset, args...)
	if err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	roles, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Role])
	if err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	return roles, nil
}

// keyset is the end of a list's SQL (condition, order, limit) with its arguments. The condition stands there only when
// there is one, so that the plan of a later page begins at its row.
func (f Filter) keyset(table string, args ...any) (string, []any) {
	order, behind := "DESC", "<"
	if f.Ascending {
		order, behind = "ASC", ">"
	}
	sql := ""
	if f.After != nil {
		args = append(args, f.After.Time, f.After.ID)
		sql = fmt.Sprintf(" WHERE (%[1]s.created_at, %[1]s.id) %[2]s ($%[3]d, $%[4]d)", table, behind, len(args)-1, len(args))
	}
	args = append(args, f.Limit)
	return sql + fmt.Sprintf(" ORDER BY %[1]s.created_at %[2]s, %[1]s.id %[2]s LIMIT $%[3]d", table, order, len(args)), args
}

// insertRole stores a role with its grants and edges and returns it as it can be read now.
func insertRole(ctx context.Context, tx postgres.Tx, n New) (Role, error) {
	role := id.New()
	_, err := tx.Exec(ctx, "INSERT INTO roles (id, name, description, require_mfa) VALUES ($1, $2, $3, $4)",
		role, n.Name, n.Description, n.RequireMFA)
	if postgres.Constraint(err) == "roles_name_key" {
		return Role{}, ErrRoleExists
	}
	if err != nil {
		return Role{}, fmt.Errorf("insert role: %w", err)
	}
	if err := insertContent(ctx, tx, role, n.Permissions, n.Inherits); err != nil {
		return Role{}, err
	}
	return byID(ctx, tx, role)
}

// updateRole stores what a role is now; its name stays.
func updateRole(ctx context.Context, tx postgres.Tx, r Role) (Role, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE roles SET description = $2, require_mfa = $3, version = version + 1, updated_at = now() WHERE id = $1`,
		r.ID, r.Description, r.RequireMFA)
	if err == nil && tag.RowsAffected() != 1 {
		err = errRoleGone
	}
	if err != nil {
		return Role{}, fmt.Errorf("update role: %w", err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM role_permissions WHERE role_id = $1", r.ID); err != nil {
		return Role{}, fmt.Errorf("empty role: %w", err)
	}
	if _, err := tx.Exec(ctx, "DELETE FROM role_inherits WHERE role_id = $1", r.ID); err != nil {
		return Role{}, fmt.Errorf("empty role: %w", err)
	}
	if err := insertContent(ctx, tx, r.ID, r.Permissions, r.Inherits); err != nil {
		return Role{}, err
	}
	return byID(ctx, tx, r.ID)
}

func insertContent(ctx context.Context, tx postgres.Tx, role id.ID, permissions, inherits []string) error {
	_, err := tx.Exec(ctx, "INSERT INTO role_permissions (role_id, permission) SELECT $1, unnest($2::text[])", role, permissions)
	if err != nil {
		return fmt.Errorf("insert grants of role: %w", err)
	}
	_, err = tx.Exec(ctx, "INSERT INTO role_inherits (role_id, inherits_id) SELECT $1, id FROM roles WHERE name = ANY($2)", role, inherits)
	if err != nil {
		return fmt.Errorf("insert inheritance of role: %w", err)
	}
	return nil
}

// usedRole says whether a role is in somebody's hands or inherited, after clearing assignments that have expired.
func usedRole(ctx context.Context, tx postgres.Tx, role id.ID) (bool, error) {
	// A reader of the account adds one to its version for each expired grant; what goes is made up for.
	_, err := tx.Exec(ctx, `
		WITH expired AS (DELETE FROM user_roles WHERE role_id = $1 AND expires_at <= now() RETURNING user_id)
		UPDATE users SET version = version + 1 WHERE id IN (SELECT user_id FROM expired)`, role)
	if err != nil {
		return false, fmt.Errorf("clear expired assignments: %w", err)
	}
	var used bool
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM user_roles WHERE role_id = $1) OR EXISTS (SELECT FROM role_inherits WHERE inherits_id = $1)`,
		role).Scan(&used)
	if err != nil {
		return false, fmt.Errorf("look for uses of role: %w", err)
	}
	return used, nil
}

// deleteRole removes a role, its assignments and edges. Who held it or inherited from it shows another body from now on.
func deleteRole(ctx context.Context, tx postgres.Tx, role id.ID) error {
	for _, sql := range []string{
		`WITH edge AS (DELETE FROM role_inherits WHERE inherits_id = $1 RETURNING role_id)
		UPDATE roles SET version = version + 1, updated_at = now() WHERE id IN (SELECT role_id FROM edge)`,
		`WITH holder AS (DELETE FROM user_roles WHERE role_id = $1 RETURNING user_id)
		UPDATE users SET version = version + 2, updated_at = now() WHERE id IN (SELECT user_id FROM holder)`,
		"DELETE FROM roles WHERE id = $1",
	} {
		if _, err := tx.Exec(ctx, sql, role); err != nil {
			return fmt.Errorf("delete role: %w", err)
		}
	}
	return nil
}

// IDsOf returns the ids of the roles of these names that exist, by name, locked against deletion until tx ends.
func IDsOf(ctx context.Context, tx postgres.Tx, names []string) (map[string]id.ID, error) {
	rows, err := tx.Query(ctx, "SELECT name, id FROM roles WHERE name = ANY($1) ORDER BY id FOR KEY SHARE", names)
	if err != nil {
		return nil, fmt.Errorf("find roles by name: %w", err)
	}
	ids := map[string]id.ID{}
	var name string
	var role id.ID
	_, err = pgx.ForEachRow(rows, []any{&name, &role}, func() error {
		ids[name] = role
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find roles by name: %w", err)
	}
	return ids, nil
}

// contentOf returns the contents of these roles together: their own grants and the inherited ones.
func contentOf(ctx context.Context, db postgres.DB, roles []id.ID) ([]string, error) {
	if len(roles) == 0 {
		return nil, nil
	}
	rows, err := db.Query(ctx, `
		WITH RECURSIVE held (role_id) AS (
			SELECT unnest($1::uuid[])
			UNION
			SELECT ri.inherits_id FROM held JOIN role_inherits ri ON ri.role_id = held.role_id
		)
		SELECT DISTINCT rp.permission FROM held JOIN role_permissions rp ON rp.role_id = held.role_id`, roles)
	if err != nil {
		return nil, fmt.Errorf("read content of roles: %w", err)
	}
	content, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read content of roles: %w", err)
	}
	return content, nil
}

// reaches says whether role is one of, or inherited by, these roles.
func reaches(ctx context.Context, tx postgres.Tx, from []id.ID, role id.ID) (bool, error) {
	var found bool
	err := tx.QueryRow(ctx, `
		WITH RECURSIVE held (role_id) AS (
			SELECT unnest($1::uuid[])
			UNION
			SELECT ri.inherits_id FROM held JOIN role_inherits ri ON ri.role_id = held.role_id
		)
		SELECT EXISTS (SELECT FROM held WHERE role_id = $2)`, from, role).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("follow inheritance: %w", err)
	}
	return found, nil
}

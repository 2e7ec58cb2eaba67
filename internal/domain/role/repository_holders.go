package role

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// direct is the roles that account $1 holds by itself at this moment; heldRoles adds what they inherit.
const (
	direct = `
		direct (role_id) AS (
			SELECT role_id FROM user_roles WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > now())
			UNION
			SELECT '00000000-0000-7000-8000-000000000002' FROM users
			WHERE id = $1 AND kind = 'human' AND status IN ('active', 'suspended', 'deleting')
		)`
	closure = `
		held (role_id) AS (
			SELECT role_id FROM direct
			UNION
			SELECT ri.inherits_id FROM held JOIN role_inherits ri ON ri.role_id = held.role_id
		)`
)

// horizon is until when a hold must last to count.
type horizon pgtype.Timestamptz

var now = horizon{Valid: true, InfinityModifier: pgtype.NegativeInfinity} // any hold of this moment

// lasting returns the horizon of a grant that ends at until; nil: never.
func lasting(until *time.Time) horizon {
	if until == nil {
		return horizon{Valid: true, InfinityModifier: pgtype.Infinity}
	}
	return horizon{Valid: true, Time: *until}
}

// effective returns the permissions of an account that it holds now and, by the same assignments, until the horizon.
func effective(ctx context.Context, db postgres.DB, user id.ID, h horizon) (actor.Permissions, error) {
	rows, err := db.Query(ctx, `
		WITH RECURSIVE direct (role_id) AS (
			SELECT role_id FROM user_roles
			WHERE user_id = $1 AND coalesce(expires_at, 'infinity') > now() AND coalesce(expires_at, 'infinity') >= $2
			UNION
			SELECT '00000000-0000-7000-8000-000000000002' FROM users
			WHERE id = $1 AND kind = 'human' AND status IN ('active', 'suspended', 'deleting')
		), `+closure+`
		SELECT DISTINCT rp.permission FROM held JOIN role_permissions rp ON rp.role_id = held.role_id
		ORDER BY rp.permission`, user, pgtype.Timestamptz(h))
	if err != nil {
		return nil, fmt.Errorf("read permissions of account: %w", err)
	}
	permissions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read permissions of account: %w", err)
	}
	return permissions, nil
}

// scopesOf returns a key's scopes; none when it is gone, or may not be used any more.
func scopesOf(ctx context.Context, db postgres.DB, key id.ID) (actor.Permissions, error) {
	var scopes []string
	err := db.QueryRow(ctx, `SELECT scopes FROM api_keys
		WHERE id = $1 AND revoked_at IS NULL AND quarantined_at IS NULL AND (expires_at IS NULL OR expires_at > now())`, key).Scan(&scopes)
	if err != nil && !postgres.NoRows(err) {
		return nil, fmt.Errorf("read scopes of key: %w", err)
	}
	return scopes, nil
}

// sources returns each effective permission of an account with every held role whose content has it, and whether the
// account exists.
func sources(ctx context.Context, db postgres.DB, user id.ID) ([]Source, bool, error) {
	rows, err := db.Query(ctx, `
		WITH RECURSIVE `+direct+`, `+closure+`, part (role_id, part_id) AS (
			SELECT role_id, role_id FROM held
			UNION
			SELECT part.role_id, ri.inherits_id FROM part JOIN role_inherits ri ON ri.role_id = part.part_id
		), source AS (
			SELECT rp.permission, array_agg(DISTINCT r.name) AS roles
			FROM part JOIN role_permissions rp ON rp.role_id = part.part_id JOIN roles r ON r.id = part.role_id
			GROUP BY rp.permission
		)
		SELECT coalesce(s.permission, ''), s.roles FROM users u LEFT JOIN source s ON true
		WHERE u.id = $1 ORDER BY s.permission COLLATE "C"`, user)
	if err != nil {
		return nil, false, fmt.Errorf("read sources of permissions: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Source])
	if err != nil {
		return nil, false, fmt.Errorf("read sources of permissions: %w", err)
	}
	exists := len(found) > 0
	if exists && found[0].Permission == "" {
		found = nil
	}
	return found, exists, nil
}

// assignments returns the roles that an account holds directly, and whether it exists.
func assignments(ctx context.Context, db postgres.DB, user id.ID) ([]Assignment, bool, error) {
	rows, err := db.Query(ctx, `
		WITH held AS (
			SELECT role_id, expires_at, false AS implied, created_at FROM user_roles
			WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > now())
			UNION ALL
			SELECT '00000000-0000-7000-8000-000000000002', NULL, true, NULL FROM users
			WHERE id = $1 AND kind = 'human' AND status IN ('active', 'suspended', 'deleting')
		)
		SELECT coalesce(r.id, '00000000-0000-0000-0000-000000000000'), coalesce(r.name, ''), h.expires_at, coalesce(h.implied, false), h.created_at
		FROM users u LEFT JOIN held h ON true LEFT JOIN roles r ON r.id = h.role_id
		WHERE u.id = $1 ORDER BY r.name COLLATE "C"`, user)
	if err != nil {
		return nil, false, fmt.Errorf("list roles of account: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Assignment])
	if err != nil {
		return nil, false, fmt.Errorf("list roles of account: %w", err)
	}
	exists := len(found) > 0
	if exists && found[0].RoleID == id.Nil {
		found = nil
	}
	return found, exists, nil
}

func listHolders(ctx context.Context, db postgres.DB, role id.ID, f Filter) ([]Holder, error) {
	// Two texts, since a condition that serves both lists would cost each its index. Stored assignments are walked in the
	// order of the accounts, which stands beside each of them.
	sql := `SELECT u.id, u.kind, u.email, u.display_name, u.status, ur.expires_at, u.created_at
		FROM (SELECT user_id AS id, user_created_at AS created_at, expires_at FROM user_roles
			WHERE role_id = $1 AND (expires_at IS NULL OR expires_at > now())) ur JOIN users u ON u.id = ur.id`
	keyset, args := f.keyset("ur", role)
	if role == UserID {
		sql = `SELECT u.id, u.kind, u.email, u.display_name, u.status, NULL::timestamptz, u.created_at
			FROM (SELECT * FROM users WHERE kind = 'human' AND status IN ('active', 'suspended', 'deleting')) u`
		keyset, args = f.keyset("u")
	}
	rows, err := db.Query(ctx, sql+keyset, args...)
	if err != nil {
		return nil, fmt.Errorf("list holders of role: %w", err)
	}
	holders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Holder])
	if err != nil {
		return nil, fmt.Errorf("list holders of role: %w", err)
	}
	return holders, nil
}

// lockAccount keeps an account from being deleted until tx ends and returns what the log knows it by.
func lockAccount(ctx context.Context, tx postgres.Tx, user id.ID) (label string, err error) {
	err = tx.QueryRow(ctx, "SELECT coalesce(email, display_name, '') FROM users WHERE id = $1 FOR KEY SHARE", user).Scan(&label)
	if postgres.NoRows(err) {
		return "", fault.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("lock account: %w", err)
	}
	return label, nil
}

// heldRole is an assignment as it was found; Live says that it has not expired, Future that the new end lies ahead.
type heldRole struct {
	ExpiresAt    *time.Time
	Live, Future bool
}

// lockAssignment returns the assignment of a role to an account, locked; whether until lies in the future by the
// database's clock (nil does) comes along.
func lockAssignment(ctx context.Context, tx postgres.Tx, user, role id.ID, until *time.Time) (heldRole, error) {
	var h heldRole
	err := tx.QueryRow(ctx, "SELECT coalesce($1::timestamptz, 'infinity') > now()", until).Scan(&h.Future)
	if err != nil {
		return h, fmt.Errorf("compare with database time: %w", err)
	}
	err = tx.QueryRow(ctx, `
		SELECT expires_at, coalesce(expires_at, 'infinity') > now() FROM user_roles
		WHERE user_id = $1 AND role_id = $2 FOR UPDATE`, user, role).Scan(&h.ExpiresAt, &h.Live)
	if err != nil && !postgres.NoRows(err) {
		return h, fmt.Errorf("read assignment: %w", err)
	}
	return h, nil
}

// assign gives roles to an account until then; one that it holds gets the new end.
func assign(ctx context.Context, tx postgres.Tx, user id.ID, roles []id.ID, until *time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO user_roles (user_id, role_id, expires_at) SELECT $1, unnest($2::uuid[]), $3
		ON CONFLICT ON CONSTRAINT user_roles_pkey DO UPDATE SET
			created_at = CASE WHEN user_roles.expires_at <= now() THEN now() ELSE user_roles.created_at END,
			expires_at = excluded.expires_at`, user, roles, until)
	switch postgres.Constraint(err) {
	case "user_roles_user_id_fkey", "user_roles_role_id_fkey":
		return fault.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("assign role: %w", err)
	}
	return touch(ctx, tx, user)
}

// assignNew gives roles to accounts that nobody has seen yet, so their versions stay.
func assignNew(ctx context.Context, tx postgres.Tx, users, roles []id.ID) error {
	_, err := tx.Exec(ctx, "INSERT INTO user_roles (user_id, role_id) SELECT * FROM unnest($1::uuid[], $2::uuid[])", users, roles)
	if err != nil {
		return fmt.Errorf("assign roles to new accounts: %w", err)
	}
	return nil
}

// touch gives the account, whose body shows its roles, another version. By two: each expired assignment counts one in
// the version that readers see, so renewing or removing such a one takes one away.
func touch(ctx context.Context, tx postgres.Tx, user id.ID) error {
	if _, err := tx.Exec(ctx, "UPDATE users SET version = version + 2, updated_at = now() WHERE id = $1", user); err != nil {
		return fmt.Errorf("raise version of account: %w", err)
	}
	return nil
}

func unassign(ctx context.Context, tx postgres.Tx, user, role id.ID) error {
	if _, err := tx.Exec(ctx, "DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2", user, role); err != nil {
		return fmt.Errorf("take role away: %w", err)
	}
	return touch(ctx, tx, user)
}

func withdraw(ctx context.Context, tx postgres.Tx, user id.ID, roles []id.ID) ([]string, error) {
	rows, err := tx.Query(ctx, `
		WITH taken AS (DELETE FROM user_roles WHERE user_id = $1 AND role_id = ANY($2) RETURNING role_id)
		SELECT r.name FROM taken JOIN roles r ON r.id = taken.role_id ORDER BY r.name`, user, roles)
	if err != nil {
		return nil, fmt.Errorf("take roles away: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("take roles away: %w", err)
	}
	if len(names) == 0 {
		return nil, nil
	}
	return names, touch(ctx, tx, user)
}

// countAdmins counts those whom the last-admin rule means. The caller holds the admin role's row.
func countAdmins(ctx context.Context, tx postgres.Tx) (int, error) {
	var n int
	err := tx.QueryRow(ctx, `
		SELECT count(*) FROM user_roles ur JOIN users u ON u.id = ur.user_id
		WHERE ur.role_id = $1 AND ur.expires_at IS NULL
			AND u.kind = 'human' AND u.status = 'active' AND u.email_verified
			AND (u.password_hash IS NOT NULL OR EXISTS (SELECT FROM passkeys p WHERE p.user_id = u.id))`, AdminID).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count administrators: %w", err)
	}
	return n, nil
}

// lockAdmins serialises the transactions that could leave no administrator.
func lockAdmins(ctx context.Context, tx postgres.Tx) error {
	var role id.ID
	if err := tx.QueryRow(ctx, "SELECT id FROM roles WHERE id = $1 FOR UPDATE", AdminID).Scan(&role); err != nil {
		return fmt.Errorf("lock role admin: %w", err)
	}
	return nil
}

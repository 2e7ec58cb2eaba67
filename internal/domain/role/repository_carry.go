package role

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Held is a role in the hands of an account that is carried from one service to another. Of the role the name counts.
type Held struct {
	UserID    id.ID
	Role      string
	ExpiresAt *time.Time // nil: lasts
	CreatedAt time.Time
}

// Registry returns every permission that is no built-in one, and every role, in an order in which each comes after
// those that it inherits from. It is for the service itself.
func Registry(ctx context.Context, db postgres.DB) ([]Permission, []Role, error) {
	rows, err := db.Query(ctx, selectPermission+` WHERE NOT p.system ORDER BY p.name COLLATE "C"`)
	if err != nil {
		return nil, nil, fmt.Errorf("read permissions to carry: %w", err)
	}
	permissions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Permission])
	if err != nil {
		return nil, nil, fmt.Errorf("read permissions to carry: %w", err)
	}
	if rows, err = db.Query(ctx, selectRole+` ORDER BY r.name COLLATE "C"`); err != nil {
		return nil, nil, fmt.Errorf("read roles to carry: %w", err)
	}
	roles, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Role])
	if err != nil {
		return nil, nil, fmt.Errorf("read roles to carry: %w", err)
	}
	return permissions, parentsFirst(roles), nil
}

// parentsFirst orders roles, which know no cycle, so that each comes after those that it inherits from.
func parentsFirst(roles []Role) []Role {
	byName := make(map[string]Role, len(roles))
	for _, r := range roles {
		byName[r.Name] = r
	}
	ordered := make([]Role, 0, len(roles))
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if done[name] {
			return
		}
		done[name] = true
		r, ok := byName[name]
		if !ok {
			return
		}
		for _, parent := range r.Inherits {
			visit(parent)
		}
		ordered = append(ordered, r)
	}
	for _, r := range roles {
		visit(r.Name)
	}
	return ordered
}

// HeldBy returns which roles these accounts hold at this moment, in the order of accounts and names.
func HeldBy(ctx context.Context, db postgres.DB, accounts []id.ID) ([]Held, error) {
	rows, err := db.Query(ctx, `
		SELECT g.user_id, r.name AS role, g.expires_at, g.created_at FROM user_roles g JOIN roles r ON r.id = g.role_id
		WHERE g.user_id = ANY($1) AND (g.expires_at IS NULL OR g.expires_at > now())
		ORDER BY g.user_id, r.name COLLATE "C"`, accounts)
	if err != nil {
		return nil, fmt.Errorf("read roles of users: %w", err)
	}
	held, err := pgx.CollectRows(rows, pgx.RowToStructByName[Held])
	if err != nil {
		return nil, fmt.Errorf("read roles of users: %w", err)
	}
	return held, nil
}

// RestoreHeld puts roles into the hands of accounts that have just been made. ids are what IDsOf returned, of all of them.
// What has expired meanwhile is left out; role `user` is everyone's without it. One statement.
func RestoreHeld(ctx context.Context, tx postgres.Tx, held []Held, ids map[string]id.ID) error {
	var users, roles []id.ID
	var until []*time.Time
	var since []time.Time
	for _, h := range held {
		if role := ids[h.Role]; role != UserID {
			users, roles, until, since = append(users, h.UserID), append(roles, role), append(until, h.ExpiresAt), append(since, h.CreatedAt)
		}
	}
	if len(users) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO user_roles (user_id, role_id, expires_at, created_at)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[]) AS h (user_id, role_id, expires_at, created_at)
		WHERE expires_at IS NULL OR expires_at > now()`, users, roles, until, since)
	if err != nil {
		return fmt.Errorf("restore roles of users: %w", err)
	}
	return nil
}

// Registered says whether a permission of this name is registered.
func Registered(ctx context.Context, db postgres.DB, name string) (known bool, err error) {
	if err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM permissions WHERE name = $1)", name).Scan(&known); err != nil {
		return false, fmt.Errorf("find permission: %w", err)
	}
	return known, nil
}

// Same says whether two roles are the same in all that can be changed of them.
func (r Role) Same(other Role) bool {
	return reflect.DeepEqual(body(r.content()), body(other.content()))
}

// content is the role without its name, its lists tidied.
func (r Role) content() Role {
	r = r.tidied()
	r.ID, r.Name = AdminID, ""
	return r
}

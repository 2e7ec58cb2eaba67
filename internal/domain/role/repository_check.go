package role

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// webOf reads what decides about an account, and with key about that key, in one statement, or fault.ErrNotFound. It
// follows expired assignments too. A key that is gone since has no scopes.
func webOf(ctx context.Context, db postgres.DB, user, key id.ID, asked []string) (*web, error) {
	w := &web{bounded: key != id.Nil}
	rows, err := db.Query(ctx, `
		WITH RECURSIVE direct (role_id, live, expires_at) AS (
			SELECT role_id, coalesce(expires_at, 'infinity') > now(), expires_at FROM user_roles WHERE user_id = $1
			UNION ALL
			SELECT '00000000-0000-7000-8000-000000000002', true, NULL FROM users
			WHERE id = $1 AND kind = 'human' AND status IN ('active', 'suspended', 'deleting')
		), reach (role_id) AS (
			SELECT role_id FROM direct
			UNION
			SELECT ri.inherits_id FROM reach JOIN role_inherits ri ON ri.role_id = reach.role_id
		)
		SELECT u.status, u.kind = 'human' AND NOT u.mfa_enabled,
			coalesce((SELECT scopes FROM api_keys WHERE id = $2 AND user_id = $1), '{}'),
			ARRAY(
				SELECT a FROM unnest($3::text[]) a WHERE a = '*' OR EXISTS (SELECT FROM permissions p
					WHERE p.name = a OR split_part(a, ':', 2) = '*' AND split_part(p.name, ':', 1) = split_part(a, ':', 1))),
			coalesce(r.id, '00000000-0000-0000-0000-000000000000'), coalesce(r.name, ''), coalesce(r.require_mfa, false),
			ARRAY(SELECT permission FROM role_permissions WHERE role_id = r.id),
			ARRAY(SELECT inherits_id FROM role_inherits WHERE role_id = r.id),
			d.role_id IS NOT NULL, coalesce(d.live, false), d.expires_at
		FROM users u LEFT JOIN reach ON true LEFT JOIN roles r ON r.id = reach.role_id LEFT JOIN direct d ON d.role_id = r.id
		WHERE u.id = $1 ORDER BY r.name COLLATE "C"`, user, key, asked)
	if err != nil {
		return nil, fmt.Errorf("read what decides: %w", err)
	}
	var n node
	var scopes, permissions []string
	into := []any{
		&w.status, &w.factorless, &scopes, &w.registered,
		&n.id, &n.name, &n.requireMFA, &permissions, &n.inherits, &n.direct, &n.live, &n.expiresAt,
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		w.scopes, n.permissions = actor.Permissions(scopes), actor.Permissions(permissions)
		if n.id != id.Nil {
			w.nodes = append(w.nodes, n)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what decides: %w", err)
	}
	if w.status == "" {
		return nil, fault.ErrNotFound
	}
	return w, nil
}

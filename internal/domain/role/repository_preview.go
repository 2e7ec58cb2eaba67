package role

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// holdersAlike returns those who hold a role, directly or through one that inherits it, and their living keys, in groups
// of those who hold the same roles. So the answer is as small as people are alike, however many hold the role.
func holdersAlike(ctx context.Context, tx postgres.Tx, role id.ID) ([]alike, error) {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE heir (role_id) AS (
			SELECT $1::uuid
			UNION
			SELECT ri.role_id FROM heir JOIN role_inherits ri ON ri.inherits_id = heir.role_id
		), holder (user_id) AS (
			SELECT ur.user_id FROM heir JOIN user_roles ur ON ur.role_id = heir.role_id
			WHERE ur.expires_at IS NULL OR ur.expires_at > now()
			UNION
			SELECT id FROM users
			WHERE kind = 'human' AND status IN ('active', 'suspended', 'deleting')
				AND EXISTS (SELECT FROM heir WHERE role_id = '00000000-0000-7000-8000-000000000002')
		), person AS (
			SELECT u.id, u.kind = 'human' AND NOT u.mfa_enabled AS factorless, array_remove(
				coalesce(array_agg(ur.role_id ORDER BY ur.role_id), '{}') || CASE
					WHEN u.kind = 'human' AND u.status IN ('active', 'suspended', 'deleting') THEN '00000000-0000-7000-8000-000000000002'::uuid
				END, NULL) AS roles
			FROM holder h JOIN users u ON u.id = h.user_id
				LEFT JOIN user_roles ur ON ur.user_id = u.id AND (ur.expires_at IS NULL OR ur.expires_at > now())
			GROUP BY u.id
		)
		SELECT roles, '{}'::text[], false, factorless, count(*) FROM person GROUP BY roles, factorless
		UNION ALL
		SELECT p.roles, k.scopes, true, p.factorless, count(*) FROM person p JOIN api_keys k ON k.user_id = p.id
		WHERE k.revoked_at IS NULL AND k.quarantined_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
		GROUP BY p.roles, k.scopes, p.factorless`, role)
	if err != nil {
		return nil, fmt.Errorf("group holders of role: %w", err)
	}
	groups, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g alike, err error) {
		var scopes []string
		err = row.Scan(&g.roles, &scopes, &g.keys, &g.factorless, &g.count)
		g.scopes = scopes
		return g, err
	})
	if err != nil {
		return nil, fmt.Errorf("group holders of role: %w", err)
	}
	return groups, nil
}

// heldBeside says whether an account other than this one holds a role, directly or by inheritance, and one of these others
// directly. It looks at the holders of the others, who are few when they are those above somebody.
func heldBeside(ctx context.Context, tx postgres.Tx, role id.ID, others []id.ID, but id.ID) (bool, error) {
	var held bool
	err := tx.QueryRow(ctx, `
		WITH RECURSIVE heir (role_id) AS (
			SELECT $1::uuid
			UNION
			SELECT ri.role_id FROM heir JOIN role_inherits ri ON ri.inherits_id = heir.role_id
		)
		SELECT EXISTS (
			SELECT FROM user_roles o JOIN users u ON u.id = o.user_id
			WHERE o.role_id = ANY($2) AND (o.expires_at IS NULL OR o.expires_at > now()) AND u.id <> $3
				AND (EXISTS (SELECT FROM user_roles h JOIN heir ON heir.role_id = h.role_id
						WHERE h.user_id = u.id AND (h.expires_at IS NULL OR h.expires_at > now()))
					OR u.kind = 'human' AND u.status IN ('active', 'suspended', 'deleting')
						AND EXISTS (SELECT FROM heir WHERE role_id = '00000000-0000-7000-8000-000000000002')))`,
		role, others, but).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("look for holders above the caller: %w", err)
	}
	return held, nil
}

// contents returns what every role gives now, by id. The edges come along and are followed by inherited, so that no role
// is read twice.
func contents(ctx context.Context, tx postgres.Tx) (map[id.ID]content, error) {
	rows, err := tx.Query(ctx, `
		SELECT r.id, r.require_mfa, ARRAY(SELECT permission FROM role_permissions WHERE role_id = r.id),
			ARRAY(SELECT inherits_id FROM role_inherits WHERE role_id = r.id)
		FROM roles r`)
	if err != nil {
		return nil, fmt.Errorf("read contents of roles: %w", err)
	}
	own, parents := map[id.ID]content{}, map[id.ID][]id.ID{}
	var role id.ID
	var requireMFA bool
	var permissions []string
	var inherits []id.ID
	_, err = pgx.ForEachRow(rows, []any{&role, &requireMFA, &permissions, &inherits}, func() error {
		own[role], parents[role] = content{permissions, requireMFA}, inherits
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read contents of roles: %w", err)
	}
	return inherited(own, parents), nil
}

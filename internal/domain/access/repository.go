package access

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

// rights is what the account of the one row of `subject` holds now. Database time decides what has expired.
const rights = `
	direct (role_id) AS (
		SELECT ur.role_id FROM subject s JOIN user_roles ur ON ur.user_id = s.user_id
		WHERE ur.expires_at IS NULL OR ur.expires_at > now()
		UNION
		SELECT '00000000-0000-7000-8000-000000000002' FROM subject s WHERE s.kind = 'human'
	), held (role_id) AS (
		SELECT role_id FROM direct
		UNION
		SELECT ri.inherits_id FROM held JOIN role_inherits ri ON ri.role_id = held.role_id
	)
	SELECT s.*,
		ARRAY(SELECT DISTINCT rp.permission FROM held JOIN role_permissions rp ON rp.role_id = held.role_id ORDER BY 1),
		ARRAY(SELECT r.name FROM direct JOIN roles r ON r.id = direct.role_id ORDER BY r.name COLLATE "C"),
		s.kind = 'human' AND EXISTS (SELECT FROM held JOIN roles r ON r.id = held.role_id WHERE r.require_mfa)
	FROM subject s`

// lookSession answers for a session in one statement.
func lookSession(ctx context.Context, db postgres.DB, k Session) (*answer, error) {
	p := &Principal{SessionID: k.SessionID}
	var permissions []string
	err := db.QueryRow(ctx, `
		WITH RECURSIVE subject AS (
			SELECT u.id AS user_id, coalesce(u.email, u.display_name, '') AS label, u.kind, u.mfa_enabled,
				s.auth_time, s.acr, s.amr
			FROM sessions s JOIN users u ON u.id = s.user_id
			WHERE s.id = $1 AND s.user_id = $2 AND s.idle_expires_at > now() AND s.expires_at > now()
				AND u.status = 'active' AND u.auth_epoch = s.auth_epoch
		), `+rights, k.SessionID, k.UserID).Scan(
		&p.UserID, &p.Label, &p.Kind, &p.MFAEnabled, &p.AuthTime, &p.ACR, &p.AMR,
		&permissions, &p.Roles, &p.MFARequired)
	if postgres.NoRows(err) {
		return &answer{user: k.UserID}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up session: %w", err)
	}
	p.AuthTime, p.Permissions = p.AuthTime.UTC(), permissions
	return &answer{principal: p, user: p.UserID}, nil
}

// lookKey answers for a key in one statement.
func lookKey(ctx context.Context, db postgres.DB, publicID string) (*answer, error) {
	p := &Principal{PublicID: publicID}
	var refused Reason
	var permissions []string
	var hash []byte
	var limit, window *int
	var allowed []netip.Prefix
	err := db.QueryRow(ctx, `
		WITH RECURSIVE subject AS (
			SELECT u.id AS user_id, coalesce(u.email, u.display_name, '') AS label, u.kind, u.mfa_enabled,
				k.id, x.secret_hash, k.environment, k.scopes, k.allowed_ips, k.rate_limit, k.rate_window_seconds,
				least(k.expires_at, x.expires_at),
				CASE
					WHEN k.revoked_at IS NOT NULL THEN 'revoked'
					WHEN k.quarantined_at IS NOT NULL THEN 'quarantined'
					WHEN least(k.expires_at, x.expires_at) <= now() THEN 'expired'
					WHEN u.status <> 'active' THEN 'owner_suspended'
					ELSE ''
				END
			FROM api_key_secrets x JOIN api_keys k ON k.id = x.key_id JOIN users u ON u.id = k.user_id
			WHERE x.public_id = $1
		), `+rights, publicID).Scan(
		&p.UserID, &p.Label, &p.Kind, &p.MFAEnabled,
		&p.KeyID, &hash, &p.Environment, &p.Scopes, &allowed, &limit, &window, &p.ExpiresAt, &refused,
		&permissions, &p.Roles, &p.MFARequired)
	if postgres.NoRows(err) {
		return &answer{refusal: &Refusal{Reason: NotFound}, hash: make([]byte, 32)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up key: %w", err)
	}
	if refused != "" {
		return &answer{refusal: &Refusal{Reason: refused, KeyID: p.KeyID, UserID: p.UserID}, user: p.UserID, hash: hash}, nil
	}
	p.AllowedIPs = allowed
	if limit != nil && window != nil {
		p.Rate = ratelimit.Rate{Limit: *limit, Window: time.Duration(*window) * time.Second}
	}
	p.Permissions = actor.Permissions(p.Scopes).Intersect(permissions)
	return &answer{principal: p, hash: hash, user: p.UserID}, nil
}

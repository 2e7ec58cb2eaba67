package onetime

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// insertInvitation stores the token, kills the older one, and returns the inviter's name.
func insertInvitation(ctx context.Context, tx postgres.Tx, of, by id.ID, row newRow) (inviter string, err error) {
	err = tx.QueryRow(ctx, `
		WITH killed AS (
			DELETE FROM one_time_tokens WHERE user_id = $3 AND purpose = $2
		), made AS (
			INSERT INTO one_time_tokens (id, purpose, token_hash, user_id, email_norm, auth_epoch, expires_at, invited_by, invited_roles)
			SELECT $1, $2, $5, u.id, u.email_norm, u.auth_epoch, now() + make_interval(secs => $6),
				nullif($4, '00000000-0000-0000-0000-000000000000'::uuid),
				ARRAY(SELECT r.role_id FROM user_roles r WHERE r.user_id = u.id AND (r.expires_at IS NULL OR r.expires_at > now()))
			FROM users u WHERE u.id = $3
			RETURNING invited_by
		)
		SELECT coalesce(i.display_name, '') FROM made LEFT JOIN users i ON i.id = made.invited_by`,
		row.id, row.purpose, of, by, row.hash, row.life).Scan(&inviter)
	if err != nil {
		return "", fmt.Errorf("insert invitation: %w", err)
	}
	return inviter, nil
}

// voucher gives ErrInvalid when the account has no invitation.
func voucher(ctx context.Context, db postgres.DB, user id.ID) (v Voucher, err error) {
	err = db.QueryRow(ctx, `
		SELECT coalesce(t.invited_by, '00000000-0000-0000-0000-000000000000'::uuid),
			coalesce(i.status = 'active' AND i.id <> t.user_id, false), coalesce(t.invited_roles, '{}')
		FROM one_time_tokens t LEFT JOIN users i ON i.id = t.invited_by
		WHERE t.user_id = $1 AND t.purpose = 'invitation'`, user).Scan(&v.UserID, &v.Active, &v.Roles)
	if postgres.NoRows(err) {
		return Voucher{}, ErrInvalid
	}
	if err != nil {
		return Voucher{}, fmt.Errorf("find inviter: %w", err)
	}
	return v, nil
}

func hasInvitation(ctx context.Context, db postgres.DB, user id.ID) (bool, error) {
	var open bool
	err := db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM one_time_tokens t JOIN users u ON u.id = t.user_id
			WHERE t.user_id = $1 AND t.purpose = 'invitation' AND t.used_at IS NULL AND t.expires_at > now()
				AND t.auth_epoch = u.auth_epoch AND t.email_norm = u.email_norm)`, user).Scan(&open)
	if err != nil {
		return false, fmt.Errorf("look for invitation: %w", err)
	}
	return open, nil
}

package auth

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// takeBack makes an account active and proven, raises its epoch, and says whether no address of it was proven before.
// A nil hash leaves the password of one that was, and takes away that of one that was not. It gives pgx.ErrNoRows when
// the account is not what it was in a.
func takeBack(ctx context.Context, tx postgres.Tx, a account, hash *string) (now account, unproven bool, err error) {
	now = a
	err = tx.QueryRow(ctx, `
		UPDATE users SET email_verified = true, status = 'active', auth_epoch = auth_epoch + 1,
			password_hash = CASE WHEN $6::text IS NOT NULL OR NOT (email_verified OR was_verified) THEN $6 ELSE password_hash END,
			version = version + 1, updated_at = now()
		WHERE id = $1 AND email_norm = $2 AND auth_epoch = $3 AND status = $4 AND email_verified = $5
		RETURNING status, email_verified, auth_epoch, password_hash, NOT ($5 OR was_verified)`,
		a.ID, a.EmailNorm, a.AuthEpoch, a.Status, a.EmailVerified, hash,
	).Scan(&now.Status, &now.EmailVerified, &now.AuthEpoch, &now.PasswordHash, &unproven)
	if err != nil {
		return account{}, false, fmt.Errorf("recover account: %w", err)
	}
	return now, unproven, nil
}

// forgetSignIns forgets from where and with what the account signed in: a stranger's network must not be familiar.
func forgetSignIns(ctx context.Context, tx postgres.Tx, of id.ID) error {
	_, err := tx.Exec(ctx, `
		WITH networks AS (DELETE FROM sign_in_networks WHERE user_id = $1)
		DELETE FROM sign_in_agents WHERE user_id = $1`, of)
	if err != nil {
		return fmt.Errorf("forget sign-ins of user: %w", err)
	}
	return nil
}

// setPassword replaces the password that was verified and returns the account's new epoch; ErrInvalidCredentials when the
// account is not what it was in a: another password, another epoch, no longer active.
func setPassword(ctx context.Context, tx postgres.Tx, a account, hash string) (epoch int64, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE users SET password_hash = $4, auth_epoch = auth_epoch + 1
		WHERE id = $1 AND auth_epoch = $2 AND password_hash = $3 AND status = 'active'
		RETURNING auth_epoch`, a.ID, a.AuthEpoch, a.PasswordHash, hash).Scan(&epoch)
	if postgres.NoRows(err) {
		return 0, ErrInvalidCredentials
	}
	if err != nil {
		return 0, fmt.Errorf("set password: %w", err)
	}
	return epoch, nil
}

package auth

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// lockActive is an active account with its row locked.
func lockActive(ctx context.Context, tx postgres.Tx, of id.ID) (account, error) {
	return oneAccount(ctx, tx, "lock account", `
		SELECT `+accountColumns+` FROM users u WHERE u.id = $1 AND u.status = 'active' AND u.email_norm IS NOT NULL
		FOR NO KEY UPDATE`, of)
}

// byAddress is the account of an address; the zero account when there is none.
func byAddress(ctx context.Context, db postgres.DB, norm string) (account, error) {
	a, err := oneAccount(ctx, db, "find account", `SELECT `+accountColumns+` FROM users u WHERE u.email_norm = $1`, norm)
	if postgres.NoRows(err) {
		return account{}, nil
	}
	return a, err
}

// moveAddress gives an account the address that it has proven. It gives onetime.ErrInvalid when the account is not what
// it was when the proof was found, user.ErrEmailTaken, which ends tx, when another has the address.
func moveAddress(ctx context.Context, tx postgres.Tx, p onetime.EmailProof, norm string) error {
	return setAddress(ctx, tx, `
		UPDATE users SET email = $2, email_norm = $3, email_verified = true, version = version + 1, updated_at = now()
		WHERE id = $1 AND email_norm = $4 AND auth_epoch = $5 AND status = 'active'`,
		p.UserID, p.Gives, norm, p.EmailNorm, p.AuthEpoch)
}

// restoreAddress gives an account a former address back, whatever it has now, and ends by its epoch what was opened or
// mailed before. The faults are moveAddress's.
func restoreAddress(ctx context.Context, tx postgres.Tx, p onetime.EmailProof, norm string) error {
	return setAddress(ctx, tx, `
		UPDATE users SET email = $2, email_norm = $3, email_verified = true, auth_epoch = auth_epoch + 1,
			version = version + 1, updated_at = now()
		WHERE id = $1 AND status = 'active'`, p.UserID, p.Gives, norm)
}

func setAddress(ctx context.Context, tx postgres.Tx, sql string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, args...)
	if postgres.Constraint(err) == "users_email_norm_key" {
		return user.ErrEmailTaken
	}
	if err != nil {
		return fmt.Errorf("set address of account: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return onetime.ErrInvalid
	}
	return nil
}

// removeClaim deletes the pending account of an address that is nothing but unproven registrations: nobody invited it,
// gave it a role, or keeps data of his own with it. id.Nil when there is none.
func removeClaim(ctx context.Context, tx postgres.Tx, norm string, but id.ID) (id.ID, error) {
	var claim id.ID
	err := tx.QueryRow(ctx, `
		DELETE FROM users u
		WHERE u.email_norm = $1 AND u.id <> $2 AND u.status = 'pending' AND u.external_id IS NULL AND u.app_metadata = '{}'
			AND EXISTS (SELECT FROM registration_attempts a WHERE a.user_id = u.id)
			AND NOT EXISTS (SELECT FROM user_roles r WHERE r.user_id = u.id)
			AND NOT EXISTS (SELECT FROM one_time_tokens t WHERE t.user_id = u.id AND t.purpose = 'invitation')
		RETURNING u.id`, norm, but).Scan(&claim)
	if postgres.NoRows(err) {
		return id.Nil, nil
	}
	if err != nil {
		return id.Nil, fmt.Errorf("remove unproven registration: %w", err)
	}
	return claim, nil
}

package auth

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// account is what these flows look at of a person's account.
type account struct {
	ID            id.ID
	Email         string
	EmailNorm     string
	EmailVerified bool
	Status        user.Status
	AuthEpoch     int64
	MFAEnabled    bool
	PasswordHash  *string
	DisplayName   *string
	Locale        *string
	AttemptHash   *string // of the newest live registration, while pending
}

// recipient is the account as mails that prove it see it; nobody limits them.
func (a account) recipient() onetime.Recipient {
	return onetime.Recipient{
		UserID: a.ID, Email: a.Email, EmailNorm: a.EmailNorm, AuthEpoch: a.AuthEpoch,
		Name: orEmpty(a.DisplayName), Locale: orEmpty(a.Locale),
	}
}

// accountColumns are those of account u without its attempt.
const accountColumns = `u.id, u.email, u.email_norm, u.email_verified, u.status, u.auth_epoch, u.mfa_enabled, u.password_hash, u.display_name, u.locale`

// oneAccount gives pgx.ErrNoRows when there is none.
func oneAccount(ctx context.Context, db postgres.DB, doing, sql string, args ...any) (account, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return account{}, fmt.Errorf("%s: %w", doing, err)
	}
	a, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[account])
	if err != nil {
		return account{}, fmt.Errorf("%s: %w", doing, err)
	}
	return a, nil
}

// claimAddress returns the account of the address, a new pending one when there was none, with its row locked: of
// parallel registrations one makes it and the others wait for its end. One statement.
func claimAddress(ctx context.Context, tx postgres.Tx, fresh id.ID, email, norm string) (account, error) {
	return oneAccount(ctx, tx, "claim address", `
		INSERT INTO users AS u (id, email, email_norm, status) VALUES ($1, $2, $3, 'pending')
		ON CONFLICT (email_norm) DO UPDATE SET email_norm = excluded.email_norm
		RETURNING `+accountColumns, fresh, email, norm)
}

// forLogin finds the account of an address with the hash that a sign-in is judged by; the zero account when there is none.
func forLogin(ctx context.Context, db postgres.DB, norm string) (account, error) {
	a, err := oneAccount(ctx, db, "find account", `
		SELECT `+accountColumns+`, (
			SELECT a.password_hash FROM registration_attempts a
			WHERE u.status = 'pending' AND a.user_id = u.id AND a.expires_at > now()
			ORDER BY a.created_at DESC, a.id DESC LIMIT 1) AS attempt_hash
		FROM users u WHERE u.email_norm = $1`, norm)
	if postgres.NoRows(err) {
		return account{}, nil
	}
	return a, err
}

func byID(ctx context.Context, db postgres.DB, user id.ID) (account, error) {
	return oneAccount(ctx, db, "find account", `
		SELECT `+accountColumns+` FROM users u WHERE u.id = $1 AND u.email_norm IS NOT NULL`, user)
}

// lockAddress is the account of an address with its row locked; the zero account when there is none.
func lockAddress(ctx context.Context, tx postgres.Tx, norm string) (account, error) {
	a, err := oneAccount(ctx, tx, "lock account", `
		SELECT `+accountColumns+` FROM users u WHERE u.email_norm = $1 FOR NO KEY UPDATE`, norm)
	if postgres.NoRows(err) {
		return account{}, nil
	}
	return a, err
}

// renewHash puts another hash of the same password in place of old; false when that is no longer the account's.
func renewHash(ctx context.Context, tx postgres.Tx, user id.ID, old, renewed string) (bool, error) {
	tag, err := tx.Exec(ctx, "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2", user, old, renewed)
	if err != nil {
		return false, fmt.Errorf("renew password hash: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// activation is what a proven address gives its account; nil members leave what is there.
type activation struct {
	passwordHash, displayName, locale *string
}

// activate marks the address as proven and a pending account as active. It changes nothing, and gives
// onetime.ErrInvalid, when the account is not what it was when the proof was found.
func activate(ctx context.Context, tx postgres.Tx, p onetime.Proof, a activation) error {
	tag, err := tx.Exec(ctx, `
		UPDATE users SET email_verified = true, status = 'active', password_hash = coalesce($4, password_hash),
			display_name = coalesce($5, display_name), locale = coalesce($6, locale),
			version = version + 1, updated_at = now()
		WHERE id = $1 AND email_norm = $2 AND auth_epoch = $3 AND status = $7 AND status IN ('active', 'pending') AND NOT email_verified`,
		p.UserID, p.EmailNorm, p.AuthEpoch, a.passwordHash, a.displayName, a.locale, p.Status)
	if err != nil {
		return fmt.Errorf("activate account: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return onetime.ErrInvalid
	}
	return nil
}

// lockAdmins makes those who look for administrators go one after the other, and says whether an active one is there.
func lockAdmins(ctx context.Context, tx postgres.Tx) (bool, error) {
	if _, err := tx.Exec(ctx, "SELECT FROM roles WHERE id = $1 FOR UPDATE", role.AdminID); err != nil {
		return false, fmt.Errorf("lock role admin: %w", err)
	}
	var there bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM user_roles g JOIN users u ON u.id = g.user_id
			WHERE g.role_id = $1 AND g.expires_at IS NULL AND u.kind = 'human' AND u.status = 'active')`, role.AdminID).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for an administrator: %w", err)
	}
	return there, nil
}

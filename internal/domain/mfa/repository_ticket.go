package mfa

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

func insertTicket(ctx context.Context, tx postgres.Tx, hash []byte, f First) error {
	var digest []byte
	if f.PasswordHash != nil {
		sum := sha256.Sum256([]byte(*f.PasswordHash))
		digest = sum[:]
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO mfa_challenges (token_hash, user_id, auth_epoch, password_digest, amr, device_name, cookie, expires_at)
		VALUES ($1, $2, $3, $4, $5, nullif($6, ''), $7, now() + make_interval(secs => $8))`,
		hash, f.UserID, f.AuthEpoch, digest, f.AMR, f.DeviceName, f.Cookie, ticketLife.Seconds())
	if err != nil {
		return fmt.Errorf("insert MFA ticket: %w", err)
	}
	return nil
}

// Of challenge c and its account u: what makes a ticket, and what must still hold of it.
const (
	ticketColumns = `c.user_id, c.auth_epoch, CASE WHEN c.password_digest IS NOT NULL THEN u.password_hash END,
		c.amr, coalesce(c.device_name, ''), c.cookie, u.email, u.email_norm, u.email_verified, u.display_name, u.locale`
	ticketHolds = `c.token_hash = $1 AND c.tries < $2 AND c.expires_at > now() AND u.id = c.user_id
		AND u.status = 'active' AND u.auth_epoch = c.auth_epoch
		AND (c.password_digest IS NULL OR c.password_digest = sha256(convert_to(u.password_hash, 'UTF8')))`
)

func tryTicket(ctx context.Context, db postgres.DB, hash []byte) (Ticket, error) {
	return scanTicket(ctx, db, hash, `
		UPDATE mfa_challenges c SET tries = c.tries + 1 FROM users u WHERE `+ticketHolds+` RETURNING `+ticketColumns)
}

func peekTicket(ctx context.Context, db postgres.DB, hash []byte) (Ticket, error) {
	return scanTicket(ctx, db, hash, `SELECT `+ticketColumns+` FROM mfa_challenges c, users u WHERE `+ticketHolds)
}

func scanTicket(ctx context.Context, db postgres.DB, hash []byte, sql string) (Ticket, error) {
	t := Ticket{hash: hash}
	err := db.QueryRow(ctx, sql, hash, maxTries).Scan(
		&t.UserID, &t.AuthEpoch, &t.PasswordHash, &t.AMR, &t.DeviceName, &t.Cookie, &t.Email, &t.EmailNorm, &t.EmailVerified, &t.DisplayName, &t.Locale)
	if err != nil {
		return Ticket{}, fmt.Errorf("find MFA ticket: %w", err)
	}
	return t, nil
}

func useTicket(ctx context.Context, tx postgres.Tx, hash []byte) (bool, error) {
	tag, err := tx.Exec(ctx, "DELETE FROM mfa_challenges WHERE token_hash = $1 AND expires_at > now()", hash)
	if err != nil {
		return false, fmt.Errorf("use MFA ticket: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func sweep(ctx context.Context, db postgres.DB) error {
	if _, err := db.Exec(ctx, "DELETE FROM mfa_challenges WHERE expires_at <= now()"); err != nil {
		return fmt.Errorf("sweep MFA tickets: %w", err)
	}
	return nil
}

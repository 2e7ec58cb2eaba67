package user

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// hasFactor says whether account u has a second factor. Each kind of factor has its line; recovery codes are none.
const hasFactor = `(
	EXISTS (SELECT FROM mfa_factors f WHERE f.user_id = u.id AND f.activated_at IS NOT NULL)
	OR EXISTS (SELECT FROM passkeys p WHERE p.user_id = u.id)
)`

// UpdateMFA sets mfa_enabled to whether the account has a second factor now, and says what it is and whether that
// changed. With the last factor the recovery codes die. The caller has locked the account (Lock) before it changed a
// factor in tx, and announces the change. One statement.
func UpdateMFA(ctx context.Context, tx postgres.Tx, user id.ID) (enabled, changed bool, err error) {
	err = tx.QueryRow(ctx, `
		WITH now AS (
			SELECT u.id, u.mfa_enabled AS was, `+hasFactor+` AS is FROM users u WHERE u.id = $1
		), changed AS (
			UPDATE users u SET mfa_enabled = now.is, version = u.version + 1, updated_at = now()
			FROM now WHERE u.id = now.id AND now.was <> now.is
		), codes AS (
			DELETE FROM mfa_recovery_codes c USING now WHERE c.user_id = now.id AND NOT now.is
		)
		SELECT now.is, now.was <> now.is FROM now`, user).Scan(&enabled, &changed)
	if err != nil {
		return false, false, fmt.Errorf("update mfa_enabled: %w", err)
	}
	return enabled, changed, nil
}

// SecondFactors are the methods by which the account can prove itself beside its first factor, in the order in which a
// client should offer them. One statement.
func SecondFactors(ctx context.Context, db postgres.DB, user id.ID) ([]string, error) {
	rows, err := db.Query(ctx, `
		SELECT method FROM (VALUES
			(1, 'totp', EXISTS (SELECT FROM mfa_factors WHERE user_id = $1 AND activated_at IS NOT NULL)),
			(2, 'passkey', EXISTS (SELECT FROM passkeys WHERE user_id = $1)),
			(3, 'recovery_code', EXISTS (SELECT FROM mfa_recovery_codes WHERE user_id = $1))
		) AS m (n, method, there) WHERE there ORDER BY n`, user)
	if err != nil {
		return nil, fmt.Errorf("list second factors: %w", err)
	}
	methods, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list second factors: %w", err)
	}
	return methods, nil
}

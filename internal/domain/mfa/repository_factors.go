package mfa

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// stored is a factor with what its codes are judged by.
type stored struct {
	Factor
	sealed   []byte
	lastStep int64
}

const factorColumns = `id, kind, name, created_at, activated_at, last_used_at`

func scanFactor(row pgx.CollectableRow) (f Factor, err error) {
	err = row.Scan(&f.ID, &f.Kind, &f.Name, &f.CreatedAt, &f.ActivatedAt, &f.LastUsedAt)
	return f, err
}

func scanStored(row pgx.CollectableRow) (f stored, err error) {
	err = row.Scan(&f.ID, &f.Kind, &f.Name, &f.CreatedAt, &f.ActivatedAt, &f.LastUsedAt, &f.sealed, &f.lastStep)
	return f, err
}

func many[T any](ctx context.Context, db postgres.DB, doing string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return found, nil
}

// one returns the only row; pgx.ErrNoRows stays in the chain.
func one[T any](ctx context.Context, db postgres.DB, doing string, scan pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	found, err := many(ctx, db, doing, scan, sql, args...)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: %w", doing, pgx.ErrNoRows)
	}
	if err != nil {
		var none T
		return none, err
	}
	return found[0], nil
}

func list(ctx context.Context, db postgres.DB, user id.ID) ([]Factor, error) {
	return many(ctx, db, "list factors", scanFactor,
		`SELECT `+factorColumns+` FROM mfa_factors WHERE user_id = $1 ORDER BY created_at, id`, user)
}

func active(ctx context.Context, db postgres.DB, user id.ID) ([]stored, error) {
	return many(ctx, db, "read factors", scanStored,
		`SELECT `+factorColumns+`, secret_sealed, last_step FROM mfa_factors
		WHERE user_id = $1 AND activated_at IS NOT NULL ORDER BY created_at, id`, user)
}

func pending(ctx context.Context, tx postgres.Tx, user, factor id.ID) (stored, error) {
	return one(ctx, tx, "read pending factor", scanStored,
		`SELECT `+factorColumns+`, secret_sealed, last_step FROM mfa_factors
		WHERE id = $2 AND user_id = $1 AND activated_at IS NULL FOR UPDATE`, user, factor)
}

func insertPending(ctx context.Context, tx postgres.Tx, user, factor id.ID, name *string, sealed []byte) (Factor, error) {
	if _, err := tx.Exec(ctx, "DELETE FROM mfa_factors WHERE user_id = $1 AND activated_at IS NULL", user); err != nil {
		return Factor{}, fmt.Errorf("delete pending factor: %w", err)
	}
	return one(ctx, tx, "insert factor", scanFactor, `
		INSERT INTO mfa_factors (id, user_id, kind, name, secret_sealed) VALUES ($1, $2, 'totp', $3, $4)
		RETURNING `+factorColumns, factor, user, name, sealed)
}

func activate(ctx context.Context, tx postgres.Tx, factor id.ID, step int64) (Factor, error) {
	return one(ctx, tx, "activate factor", scanFactor, `
		UPDATE mfa_factors SET activated_at = now(), last_used_at = now(), last_step = $2 WHERE id = $1
		RETURNING `+factorColumns, factor, step)
}

func remove(ctx context.Context, tx postgres.Tx, user, factor id.ID) (Factor, error) {
	return one(ctx, tx, "delete factor", scanFactor,
		`DELETE FROM mfa_factors WHERE id = $2 AND user_id = $1 RETURNING `+factorColumns, user, factor)
}

func othersHave(ctx context.Context, db postgres.DB, user, factor id.ID) (bool, error) {
	return one(ctx, db, "look for factor", pgx.RowTo[bool],
		"SELECT EXISTS (SELECT FROM mfa_factors WHERE id = $2 AND user_id <> $1)", user, factor)
}

func countActive(ctx context.Context, db postgres.DB, user id.ID) (int, error) {
	return one(ctx, db, "count factors", pgx.RowTo[int],
		"SELECT count(*) FROM mfa_factors WHERE user_id = $1 AND activated_at IS NOT NULL", user)
}

// useStep compares and raises the step in one statement: of parallel uses of a code one finds it lower.
func useStep(ctx context.Context, tx postgres.Tx, user, factor id.ID, step int64) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE mfa_factors SET last_step = $3, last_used_at = now()
		WHERE id = $2 AND user_id = $1 AND activated_at IS NOT NULL AND last_step < $3`, user, factor, step)
	if err != nil {
		return false, fmt.Errorf("use code of factor: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func countCodes(ctx context.Context, db postgres.DB, user id.ID) (int, error) {
	return one(ctx, db, "count recovery codes", pgx.RowTo[int], "SELECT count(*) FROM mfa_recovery_codes WHERE user_id = $1", user)
}

func hasCode(ctx context.Context, db postgres.DB, user id.ID, hash []byte) (bool, error) {
	return one(ctx, db, "look for recovery code", pgx.RowTo[bool],
		"SELECT EXISTS (SELECT FROM mfa_recovery_codes WHERE user_id = $1 AND code_hash = $2)", user, hash)
}

func useCode(ctx context.Context, tx postgres.Tx, user id.ID, hash []byte) (bool, error) {
	tag, err := tx.Exec(ctx, "DELETE FROM mfa_recovery_codes WHERE user_id = $1 AND code_hash = $2", user, hash)
	if err != nil {
		return false, fmt.Errorf("use recovery code: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func replaceCodes(ctx context.Context, tx postgres.Tx, user id.ID, hashes [][]byte) error {
	_, err := tx.Exec(ctx, `
		WITH old AS (DELETE FROM mfa_recovery_codes WHERE user_id = $1)
		INSERT INTO mfa_recovery_codes (user_id, code_hash) SELECT $1, unnest($2::bytea[])`, user, hashes)
	if err != nil {
		return fmt.Errorf("replace recovery codes: %w", err)
	}
	return nil
}

func endAll(ctx context.Context, tx postgres.Tx, user id.ID) error {
	_, err := tx.Exec(ctx, `
		WITH factors AS (DELETE FROM mfa_factors WHERE user_id = $1),
			codes AS (DELETE FROM mfa_recovery_codes WHERE user_id = $1)
		DELETE FROM mfa_challenges WHERE user_id = $1`, user)
	if err != nil {
		return fmt.Errorf("delete factors of user: %w", err)
	}
	return nil
}

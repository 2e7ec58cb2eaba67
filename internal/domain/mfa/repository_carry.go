package mfa

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// sealedFactor is a factor with its secret as it is stored.
type sealedFactor struct {
	CarriedFactor
	id     id.ID
	sealed []byte
}

func carriedFactors(ctx context.Context, db postgres.DB, accounts []id.ID) ([]sealedFactor, error) {
	scan := func(row pgx.CollectableRow) (f sealedFactor, err error) {
		err = row.Scan(&f.id, &f.UserID, &f.Name, &f.sealed, &f.LastStep, &f.CreatedAt, &f.ActivatedAt, &f.LastUsedAt)
		return f, err
	}
	return many(ctx, db, "read factors to carry", scan, `
		SELECT id, user_id, name, secret_sealed, last_step, created_at, activated_at, last_used_at FROM mfa_factors
		WHERE user_id = ANY($1) AND activated_at IS NOT NULL ORDER BY user_id, created_at, id`, accounts)
}

func carriedCodes(ctx context.Context, db postgres.DB, accounts []id.ID) ([]CarriedCode, error) {
	scan := func(row pgx.CollectableRow) (c CarriedCode, err error) { return c, row.Scan(&c.UserID, &c.Hash) }
	return many(ctx, db, "read recovery codes to carry", scan,
		"SELECT user_id, code_hash FROM mfa_recovery_codes WHERE user_id = ANY($1) ORDER BY user_id, code_hash", accounts)
}

func restore(ctx context.Context, tx postgres.Tx, factors []sealedFactor, codes []CarriedCode) error {
	if len(factors) > 0 {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"mfa_factors"},
			[]string{"id", "user_id", "name", "secret_sealed", "last_step", "created_at", "activated_at", "last_used_at"},
			pgx.CopyFromSlice(len(factors), func(i int) ([]any, error) {
				f := &factors[i]
				return []any{f.id, f.UserID, f.Name, f.sealed, f.LastStep, f.CreatedAt, f.ActivatedAt, f.LastUsedAt}, nil
			}))
		if err != nil {
			return fmt.Errorf("restore factors: %w", err)
		}
	}
	if len(codes) > 0 {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"mfa_recovery_codes"}, []string{"user_id", "code_hash"},
			pgx.CopyFromSlice(len(codes), func(i int) ([]any, error) { return []any{codes[i].UserID, codes[i].Hash}, nil }))
		if err != nil {
			return fmt.Errorf("restore recovery codes: %w", err)
		}
	}
	return nil
}

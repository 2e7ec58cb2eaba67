package user

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const carriedColumns = `id, kind, email, email_norm, email_verified, was_verified, display_name, locale, timezone, status,
	password_hash, external_id, metadata::text AS metadata, app_metadata::text AS app_metadata, mfa_enabled,
	last_login_at, deleted_at, created_at, updated_at`

// Carry returns at most limit accounts whose ids lie behind this one, in their order. It is for the service itself.
func Carry(ctx context.Context, db postgres.DB, after id.ID, limit int) ([]Carried, error) {
	rows, err := db.Query(ctx, "SELECT "+carriedColumns+" FROM users WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("read users to carry: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Carried, err error) {
		err = row.Scan(&c.ID, &c.Kind, &c.Email, &c.EmailNorm, &c.EmailVerified, &c.WasVerified, &c.DisplayName, &c.Locale, &c.Timezone, &c.Status,
			&c.PasswordHash, &c.ExternalID, (*[]byte)(&c.Metadata), (*[]byte)(&c.AppMetadata), &c.MFAEnabled,
			&c.LastLoginAt, &c.DeletedAt, &c.CreatedAt, &c.UpdatedAt)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("read users to carry: %w", err)
	}
	return found, nil
}

// ErrThere refuses an id that another account has.
var ErrThere = fault.New(fault.Conflict, "already_exists", "Another account has this id.")

// Restore makes these accounts, checked ones, as they were. One COPY. ErrThere, ErrEmailTaken and ErrExternalID end tx.
func Restore(ctx context.Context, tx postgres.Tx, accounts []Carried) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"users"}, []string{
		"id", "kind", "email", "email_norm", "email_verified", "was_verified", "display_name", "locale", "timezone", "status",
		"password_hash", "external_id", "metadata", "app_metadata", "mfa_enabled", "last_login_at", "deleted_at", "created_at", "updated_at",
	}, pgx.CopyFromSlice(len(accounts), func(i int) ([]any, error) {
		c := &accounts[i]
		return []any{
			c.ID, string(c.Kind), c.Email, c.EmailNorm, c.EmailVerified, c.WasVerified, c.DisplayName, c.Locale, c.Timezone, string(c.Status),
			c.PasswordHash, c.ExternalID, object(c.Metadata), object(c.AppMetadata), c.MFAEnabled, c.LastLoginAt, c.DeletedAt, c.CreatedAt, c.UpdatedAt,
		}, nil
	}))
	if postgres.Constraint(err) == "users_pkey" {
		return ErrThere
	}
	if err != nil {
		return fmt.Errorf("restore users: %w", taken(err))
	}
	return nil
}

// Known is an account by what must be its alone.
type Known struct {
	ID         id.ID
	EmailNorm  *string
	ExternalID *string
}

// KnownBy returns the accounts that have one of these ids, addresses or external ids.
func KnownBy(ctx context.Context, tx postgres.Tx, ids []id.ID, addresses, externalIDs []string) ([]Known, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, email_norm, external_id FROM users WHERE id = ANY($1)
		UNION SELECT id, email_norm, external_id FROM users WHERE email_norm = ANY($2)
		UNION SELECT id, email_norm, external_id FROM users WHERE external_id = ANY($3)`, ids, addresses, externalIDs)
	if err != nil {
		return nil, fmt.Errorf("find known users: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Known])
	if err != nil {
		return nil, fmt.Errorf("find known users: %w", err)
	}
	return found, nil
}

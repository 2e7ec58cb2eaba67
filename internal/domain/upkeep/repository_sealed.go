package upkeep

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

// AllSealed counts what is sealed, by kind and key. Of sessions, of which there may be millions, the newest hundred thousand are looked at.
func AllSealed(ctx context.Context, db postgres.DB) ([]Sealed, error) {
	rows, err := db.Query(ctx, `
		SELECT what, substr(sealed, 1, 9) AS head, count(*) AS count FROM (
			SELECT 'signing keys' AS what, private_key AS sealed FROM signing_keys WHERE retires_at IS NULL OR retires_at > now()
			UNION ALL SELECT 'authenticator apps', secret_sealed FROM mfa_factors
			UNION ALL (SELECT 'sessions', secret_sealed FROM sessions WHERE expires_at > now() ORDER BY created_at DESC LIMIT 100000)
			UNION ALL SELECT 'waiting mails', payload FROM mail_messages WHERE state = 'queued'
			UNION ALL SELECT 'kept answers', answer FROM idempotency_keys WHERE expires_at > now()
			UNION ALL SELECT 'lines of imports', sealed FROM import_lines
		) s WHERE length(sealed) >= 9 GROUP BY 1, 2 ORDER BY 1, 2`)
	if err != nil {
		return nil, fmt.Errorf("look at what is sealed: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Sealed])
	if err != nil {
		return nil, fmt.Errorf("look at what is sealed: %w", err)
	}
	return all, nil
}

package session

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

func familiar(ctx context.Context, db postgres.DB, account id.ID) ([]Familiar, error) {
	rows, err := db.Query(ctx, `
		SELECT n.network, ARRAY(SELECT a.family FROM sign_in_agents a
			WHERE a.user_id = n.user_id AND a.network = n.network ORDER BY a.family) AS programs, n.first_at, n.last_at
		FROM sign_in_networks n
		WHERE n.user_id = $1
		ORDER BY n.last_at DESC, n.network`, account)
	if err != nil {
		return nil, fmt.Errorf("list networks of sign-ins: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Familiar])
	if err != nil {
		return nil, fmt.Errorf("list networks of sign-ins: %w", err)
	}
	return found, nil
}

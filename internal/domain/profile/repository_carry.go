package profile

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Carry returns the profiles of these accounts that somebody has filled in, by account. It is for the service itself.
func Carry(ctx context.Context, db postgres.DB, accounts []id.ID) (map[id.ID]*Profile, error) {
	rows, err := db.Query(ctx, "SELECT "+columns+" FROM profiles p JOIN users u ON u.id = p.user_id WHERE p.user_id = ANY($1)", accounts)
	if err != nil {
		return nil, fmt.Errorf("read profiles to carry: %w", err)
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("read profiles to carry: %w", err)
	}
	profiles := make(map[id.ID]*Profile, len(found))
	for _, r := range found {
		profiles[r.UserID] = &r.Profile
	}
	return profiles, nil
}

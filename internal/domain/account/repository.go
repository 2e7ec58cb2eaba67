package account

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// hasAdmin says whether anybody holds role admin for good, be it one who has yet to accept his invitation.
func hasAdmin(ctx context.Context, db postgres.DB) (bool, error) {
	var there bool
	err := db.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM user_roles ur JOIN users u ON u.id = ur.user_id
			WHERE ur.role_id = $1 AND ur.expires_at IS NULL AND u.status <> 'deleting')`, role.AdminID).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("look for an administrator: %w", err)
	}
	return there, nil
}

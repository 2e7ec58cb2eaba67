package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Gone returns which of these accounts, none of which is there now, were deleted here.
func Gone(ctx context.Context, tx postgres.Tx, accounts []id.ID) (map[id.ID]bool, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT target_id FROM audit_events
		WHERE target_id = ANY($1) AND action IN ('user.delete', 'user.purge') AND outcome = 'success'`, accounts)
	if err != nil {
		return nil, fmt.Errorf("look for deleted users: %w", err)
	}
	gone := map[id.ID]bool{}
	var one id.ID
	_, err = pgx.ForEachRow(rows, []any{&one}, func() error {
		gone[one] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for deleted users: %w", err)
	}
	return gone, nil
}

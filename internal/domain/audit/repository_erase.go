package audit

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Erase empties one person's rows: labels, addresses, reasons, changed values. What happened, when and under which ids
// stays, and so do the commitments. It cannot be undone.
func Erase(ctx context.Context, tx postgres.Tx, person id.ID) error {
	if _, err := tx.Exec(ctx, "SELECT audit_erase($1)", person); err != nil {
		return fmt.Errorf("erase personal data from the audit log: %w", err)
	}
	return nil
}

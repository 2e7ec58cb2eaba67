package audit

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Erase empties one person's rows: labels, addresses, reasons, changed values; also those of attempts at the account by
// somebody unknown from an address or with a program of the person. What happened, when and under which ids stays, and
// so do the commitments. It cannot be undone.
func Erase(ctx context.Context, tx postgres.Tx, person id.ID) error {
	_, err := tx.Exec(ctx, `
		WITH noted AS (INSERT INTO recent_erasures (subject_id) VALUES ($1) ON CONFLICT ON CONSTRAINT recent_erasures_pkey DO NOTHING)
		SELECT audit_erase($1)`, person)
	if err != nil {
		return fmt.Errorf("erase personal data from the audit log: %w", err)
	}
	return nil
}

// EraseLate empties what requests that were under way at an erasure wrote of the person after it: they may have read him
// a second before. It is periodic work; no request is under way for longer than a minute.
func EraseLate(ctx context.Context, db postgres.DB) error {
	const batch = 200
	for done := batch; done == batch; {
		err := db.QueryRow(ctx, `
			WITH due AS (
				DELETE FROM recent_erasures
				WHERE subject_id IN (SELECT subject_id FROM recent_erasures WHERE erased_at < now() - interval '1 minute' LIMIT $1)
				RETURNING subject_id
			)
			SELECT count(audit_erase(subject_id)) FROM due`, batch).Scan(&done)
		if err != nil {
			return fmt.Errorf("erase what was recorded late: %w", err)
		}
	}
	return nil
}

package idempotency

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// found is what take saw. Free: there was no row that counts when it looked.
type found struct {
	Taken       bool
	Free        bool
	Fingerprint []byte
	Status      int
	Answer      []byte
}

// take inserts the lease, or takes over a row that has expired or whose holder died.
//
// A row that counts is only read: its holder may be about to commit its answer, and a repeat must be refused at once
// rather than wait for that. Of two that see no such row, the conflict on the key lets one through; the other finds the
// condition of the update false by then.
func take(ctx context.Context, db postgres.DB, key, fingerprint []byte, holder id.ID) (found, error) {
	rows, err := db.Query(ctx, `
		WITH current AS MATERIALIZED (
			SELECT fingerprint, status, answer
			FROM idempotency_keys
			WHERE key = $1 AND expires_at > now() AND (answer IS NOT NULL OR leased_until > now())
		), taken AS (
			INSERT INTO idempotency_keys AS k (key, fingerprint, holder, leased_until, expires_at)
			SELECT $1, $2, $3, now() + $4::interval, now() + $5::interval
			WHERE NOT EXISTS (SELECT FROM current)
			ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE
			SET fingerprint = EXCLUDED.fingerprint, holder = EXCLUDED.holder, leased_until = EXCLUDED.leased_until,
				status = NULL, answer = NULL, created_at = now(), expires_at = EXCLUDED.expires_at
			WHERE NOT (k.expires_at > now() AND (k.answer IS NOT NULL OR k.leased_until > now()))
			RETURNING key
		)
		SELECT EXISTS (SELECT FROM taken) AS taken, current.fingerprint IS NULL AS free, current.fingerprint,
			coalesce(current.status, 0) AS status, current.answer
		FROM (VALUES (1)) AS always LEFT JOIN current ON true`,
		key, fingerprint, holder, lease, kept)
	if err != nil {
		return found{}, fmt.Errorf("take idempotency key: %w", err)
	}
	f, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[found])
	if err != nil {
		return found{}, fmt.Errorf("take idempotency key: %w", err)
	}
	return f, nil
}

// row is a kept answer.
type row struct {
	key             []byte
	holder          id.ID
	status          int
	answer          []byte
	caller, subject id.ID // Nil: none
}

func keep(ctx context.Context, tx postgres.Tx, r row) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE idempotency_keys SET status = $3, answer = $4, expires_at = now() + $5::interval,
			caller_id = nullif($6, '00000000-0000-0000-0000-000000000000'::uuid), subject_id = nullif($7, '00000000-0000-0000-0000-000000000000'::uuid)
		WHERE key = $1 AND holder = $2`,
		r.key, r.holder, r.status, r.answer, kept, r.caller, r.subject)
	if err != nil {
		return false, fmt.Errorf("keep idempotent answer: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// Forget deletes the answers that a person got, and those about him. Their repeats are new requests.
func Forget(ctx context.Context, tx postgres.Tx, person id.ID) error {
	if _, err := tx.Exec(ctx, `DELETE FROM idempotency_keys WHERE caller_id = $1 OR subject_id = $1`, person); err != nil {
		return fmt.Errorf("forget idempotent answers: %w", err)
	}
	return nil
}

func release(ctx context.Context, db postgres.DB, key []byte, holder id.ID) error {
	_, err := db.Exec(ctx, `DELETE FROM idempotency_keys WHERE key = $1 AND holder = $2 AND answer IS NULL`, key, holder)
	if err != nil {
		return fmt.Errorf("release idempotency key: %w", err)
	}
	return nil
}

func sweep(ctx context.Context, db postgres.DB) (int64, error) {
	const batch = 1000
	var total int64
	for {
		tag, err := db.Exec(ctx, `
			DELETE FROM idempotency_keys
			WHERE key IN (SELECT key FROM idempotency_keys WHERE expires_at <= now() LIMIT $1)
				AND expires_at <= now()`, batch)
		total += tag.RowsAffected()
		if err != nil {
			return total, fmt.Errorf("sweep idempotency keys: %w", err)
		}
		if tag.RowsAffected() < batch {
			return total, nil
		}
	}
}

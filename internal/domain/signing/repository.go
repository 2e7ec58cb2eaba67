package signing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

type row struct {
	KID        string
	Algorithm  string
	PublicKey  []byte
	PrivateKey []byte
	ActiveFrom time.Time
	RetiresAt  *time.Time
}

// lock lets one transaction at a time decide whether a key is missing. Readers go on.
func lock(ctx context.Context, tx postgres.Tx) error {
	if _, err := tx.Exec(ctx, "LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE"); err != nil {
		return fmt.Errorf("lock signing keys: %w", err)
	}
	return nil
}

// stock says what keys there are.
type stock struct {
	Current bool // one of the wanted algorithm that does not retire
	Others  bool // any that still verify
}

func survey(ctx context.Context, tx postgres.Tx, algorithm string) (stock, error) {
	var s stock
	err := tx.QueryRow(ctx, `
		SELECT coalesce(bool_or(algorithm = $1 AND retires_at IS NULL), false), count(*) > 0
		FROM signing_keys WHERE retires_at IS NULL OR retires_at > now()`, algorithm).Scan(&s.Current, &s.Others)
	if err != nil {
		return stock{}, fmt.Errorf("look for signing keys: %w", err)
	}
	return s, nil
}

// insert adds a key. When it replaces others it signs after publishFor and they retire verifyFor later. The first
// one of all signs from the beginning of time, so that no replica's clock finds it too young.
func insert(ctx context.Context, tx postgres.Tx, k row, replaces bool) error {
	_, err := tx.Exec(ctx, `
		WITH replaced AS (
			UPDATE signing_keys SET retires_at = now() + make_interval(secs => $6) WHERE retires_at IS NULL
		)
		INSERT INTO signing_keys (kid, algorithm, public_key, private_key, active_from)
		VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() + make_interval(secs => $7) ELSE to_timestamp(0) END)`,
		k.KID, k.Algorithm, k.PublicKey, k.PrivateKey, replaces, (publishFor + verifyFor).Seconds(), publishFor.Seconds())
	if err != nil {
		return fmt.Errorf("insert signing key: %w", err)
	}
	return nil
}

func live(ctx context.Context, db postgres.DB) ([]row, error) {
	rows, err := db.Query(ctx, `
		SELECT kid, algorithm, public_key, private_key, active_from, retires_at
		FROM signing_keys WHERE retires_at IS NULL OR retires_at > now()`)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return list, nil
}

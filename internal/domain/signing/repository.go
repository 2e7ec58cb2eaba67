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
	Young   bool // and was made within the interval
	Others  bool // any that still verify
}

// survey decides by database time, so that replicas agree.
func survey(ctx context.Context, db postgres.DB, algorithm string, interval time.Duration) (stock, error) {
	var s stock
	err := db.QueryRow(ctx, `
		SELECT coalesce(bool_or(algorithm = $1 AND retires_at IS NULL), false),
			coalesce(bool_or(algorithm = $1 AND retires_at IS NULL AND created_at > now() - make_interval(secs => $2)), false),
			count(*) > 0
		FROM signing_keys WHERE retires_at IS NULL OR retires_at > now()`, algorithm, interval.Seconds()).Scan(&s.Current, &s.Young, &s.Others)
	if err != nil {
		return stock{}, fmt.Errorf("look for signing keys: %w", err)
	}
	return s, nil
}

// retire sets when the keys of now end: verifyFor after the next one signs, or at once, and then also those that were
// about to end. It returns their ids.
func retire(ctx context.Context, tx postgres.Tx, when activation) ([]string, error) {
	rows, err := tx.Query(ctx, `
		UPDATE signing_keys SET retires_at = CASE WHEN $1 THEN now() ELSE now() + make_interval(secs => $2) END
		WHERE retires_at IS NULL OR $1 AND retires_at > now()
		RETURNING kid`, when == now, (publishFor + verifyFor).Seconds())
	if err != nil {
		return nil, fmt.Errorf("retire signing keys: %w", err)
	}
	kids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("retire signing keys: %w", err)
	}
	return kids, nil
}

// activation says when a key begins to sign.
type activation uint8

const (
	always activation = iota // the first of all: no replica's clock finds it too young
	now                      // at once, also for a replica whose clock is behind by maxSkew
	later                    // after publishFor
)

// insert adds a key and returns from when on it signs.
func insert(ctx context.Context, tx postgres.Tx, k row, when activation) (from time.Time, err error) {
	after := publishFor
	if when == now {
		after = -maxSkew
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO signing_keys (kid, algorithm, public_key, private_key, active_from)
		VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN to_timestamp(0) ELSE now() + make_interval(secs => $6) END)
		RETURNING active_from`,
		k.KID, k.Algorithm, k.PublicKey, k.PrivateKey, when == always, after.Seconds()).Scan(&from)
	if err != nil {
		return time.Time{}, fmt.Errorf("insert signing key: %w", err)
	}
	return from, nil
}

func sweep(ctx context.Context, db postgres.DB) error {
	if _, err := db.Exec(ctx, "DELETE FROM signing_keys WHERE retires_at < now() - interval '1 day'"); err != nil {
		return fmt.Errorf("sweep signing keys: %w", err)
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

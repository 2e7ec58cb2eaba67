package apikey

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// rotate ends the current secret of a locked key after the overlap and makes another the current one. Secrets of one key
// are made at different times also within a millisecond, so that their order is known; an overlap of nothing is over at once
// also where the column would round up.
func rotate(ctx context.Context, tx postgres.Tx, k Key, overlap time.Duration, made token.APIKey) (Key, error) {
	_, err := tx.Exec(ctx, `
		WITH gone AS (
			DELETE FROM api_key_secrets WHERE key_id = $1 AND expires_at < now() - $2 * interval '1 second'
		), touched AS (
			UPDATE api_keys SET version = version + 1, updated_at = now() WHERE id = $1
		)
		UPDATE api_key_secrets SET expires_at = date_trunc('milliseconds', now()) + $3 * interval '1 second' WHERE key_id = $1 AND expires_at IS NULL`,
		k.ID, int64(forgetAfter/time.Second), int64(overlap/time.Second))
	if err != nil {
		return Key{}, fmt.Errorf("end secret of api key: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO api_key_secrets (public_id, key_id, secret_hash, last4, created_at)
		SELECT $2, $1, $3, $4, greatest(now(), max(created_at) + interval '1 ms') FROM api_key_secrets WHERE key_id = $1`,
		k.ID, made.PublicID, made.Hash[:], made.Last4)
	if err != nil {
		return Key{}, fmt.Errorf("insert secret of api key: %w", err)
	}
	return get(ctx, tx, k.ID)
}

// foundSecret is what a presented key is compared with.
type foundSecret struct {
	KeyID       id.ID // Nil: there is no such secret
	UserID      id.ID
	Environment token.Environment
	Hash        []byte // zeros when there is no such secret: nothing has this hash
	Ended       bool
}

func (f foundSecret) unknown() bool { return f.KeyID == id.Nil }

func findSecret(ctx context.Context, db postgres.DB, publicID string) (foundSecret, error) {
	rows, err := db.Query(ctx, `
		SELECT k.id AS key_id, k.user_id, k.environment, x.secret_hash AS hash, coalesce(x.expires_at <= now(), false) AS ended
		FROM api_key_secrets x JOIN api_keys k ON k.id = x.key_id WHERE x.public_id = $1`, publicID)
	if err != nil {
		return foundSecret{}, fmt.Errorf("find secret: %w", err)
	}
	f, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[foundSecret])
	if postgres.NoRows(err) {
		return foundSecret{Hash: make([]byte, 32)}, nil
	}
	if err != nil {
		return foundSecret{}, fmt.Errorf("find secret: %w", err)
	}
	return f, nil
}

func quarantine(ctx context.Context, tx postgres.Tx, key id.ID) error {
	_, err := tx.Exec(ctx, `
		UPDATE api_keys SET quarantined_at = now(), version = version + 1, updated_at = now() WHERE id = $1`, key)
	if err != nil {
		return fmt.Errorf("quarantine api key: %w", err)
	}
	return nil
}

// person is who answers for a key.
type person struct {
	UserID id.ID // the key's owner, with whom the mail goes
	Email  string
	Name   string
	Locale string
	Now    time.Time
}

func responsible(ctx context.Context, tx postgres.Tx, key id.ID) (p person, ok bool, err error) {
	rows, err := tx.Query(ctx, `
		SELECT k.user_id, coalesce(u.email, c.email) AS email, now() AS now,
			coalesce(CASE WHEN u.email IS NULL THEN c.display_name ELSE u.display_name END, '') AS name,
			coalesce(CASE WHEN u.email IS NULL THEN c.locale ELSE u.locale END, '') AS locale
		FROM api_keys k JOIN users u ON u.id = k.user_id LEFT JOIN users c ON c.id = k.created_by
		WHERE k.id = $1 AND coalesce(u.email, c.email) IS NOT NULL`, key)
	if err != nil {
		return person{}, false, fmt.Errorf("find who answers for an api key: %w", err)
	}
	p, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[person])
	if postgres.NoRows(err) {
		return person{}, false, nil
	}
	if err != nil {
		return person{}, false, fmt.Errorf("find who answers for an api key: %w", err)
	}
	return p, true, nil
}

// expiring is a key whose owner is to be told that it ends.
type expiring struct {
	ID        id.ID
	Name      string
	Last4     string
	ExpiresAt time.Time
}

// takeExpiring marks and returns keys that end within 14 days, or within one. A key that was made for less than that is
// not announced: its owner has just said when it ends. The late mail makes the early one superfluous.
func takeExpiring(ctx context.Context, tx postgres.Tx, most int) ([]expiring, error) {
	rows, err := tx.Query(ctx, `
		WITH due AS (
			SELECT id, expires_at <= now() + interval '1 day' AS late FROM api_keys
			WHERE revoked_at IS NULL AND quarantined_at IS NULL AND expires_at > now()
				AND CASE WHEN expires_at <= now() + interval '1 day'
					THEN warned_late_for IS DISTINCT FROM expires_at AND expires_at - interval '1 day' >= created_at
					ELSE expires_at <= now() + interval '14 days'
						AND warned_early_for IS DISTINCT FROM expires_at AND expires_at - interval '14 days' >= created_at
				END
			ORDER BY expires_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
		)
		UPDATE api_keys k
		SET warned_early_for = k.expires_at, warned_late_for = CASE WHEN due.late THEN k.expires_at ELSE k.warned_late_for END
		FROM due WHERE k.id = due.id
		RETURNING k.id, k.name, k.expires_at,
			(SELECT last4 FROM api_key_secrets WHERE key_id = k.id ORDER BY expires_at IS NULL DESC, created_at DESC LIMIT 1) AS last4`, most)
	if err != nil {
		return nil, fmt.Errorf("find keys that expire: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByName[expiring])
	if err != nil {
		return nil, fmt.Errorf("find keys that expire: %w", err)
	}
	return keys, nil
}

// oldInUse is a secret that is still used although it ends soon.
type oldInUse struct {
	KeyID      id.ID
	Name       string
	Last4      string
	ExpiresAt  time.Time
	LastUsedAt time.Time
	From       string // an address; "" when it is not known
	By         string // a user agent; "" when it is not known
}

// takeOldInUse marks and returns secrets in the last quarter of their overlap that were used within as much time before.
// The overlap began when the secret after it was made.
func takeOldInUse(ctx context.Context, tx postgres.Tx, most int) ([]oldInUse, error) {
	rows, err := tx.Query(ctx, `
		WITH due AS (
			SELECT x.public_id FROM api_key_secrets x
			JOIN api_keys k ON k.id = x.key_id AND k.revoked_at IS NULL AND k.quarantined_at IS NULL
				AND (k.expires_at IS NULL OR k.expires_at > now())
			JOIN api_key_secrets c ON c.key_id = x.key_id AND c.expires_at IS NULL
			WHERE x.expires_at > now() AND x.expires_at - (x.expires_at - c.created_at) / 4 <= now() AND x.warned_at IS NULL
				AND x.last_used_at > greatest(c.created_at, now() - (x.expires_at - c.created_at) / 4)
			ORDER BY x.expires_at LIMIT $1 FOR NO KEY UPDATE OF x SKIP LOCKED
		)
		UPDATE api_key_secrets x SET warned_at = now()
		FROM due, api_keys k WHERE x.public_id = due.public_id AND k.id = x.key_id
		RETURNING x.key_id, k.name, x.last4, x.expires_at, x.last_used_at,
			coalesce(host(x.last_used_ip), '') AS "from", coalesce(x.last_used_user_agent, '') AS by`, most)
	if err != nil {
		return nil, fmt.Errorf("find secrets that are still used: %w", err)
	}
	secrets, err := pgx.CollectRows(rows, pgx.RowToStructByName[oldInUse])
	if err != nil {
		return nil, fmt.Errorf("find secrets that are still used: %w", err)
	}
	return secrets, nil
}

package apikey

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// columns are those of a key k with its secrets s. A key that has expired is another version of itself, although
// nothing was written: the stored version counts twice, and expiry once.
const columns = `
	k.id, k.user_id, k.name, k.environment, k.scopes, s.secrets,
	CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked'
		WHEN k.quarantined_at IS NOT NULL THEN 'quarantined'
		WHEN k.expires_at <= now() THEN 'expired'
		ELSE 'active' END AS status,
	k.expires_at, k.last_used_at, k.allowed_ips, k.rate_limit, k.rate_window_seconds, k.metadata,
	2 * k.version + (k.expires_at IS NOT NULL AND k.expires_at <= now())::int AS version, k.created_at, k.updated_at`

// secretColumns are those of a secret.
const secretColumns = `
	last4, created_at, expires_at, last_used_at, host(last_used_ip) AS last_used_ip, last_used_user_agent`

const withSecrets = `
	CROSS JOIN LATERAL (
		SELECT jsonb_agg(to_jsonb(x) ORDER BY x.expires_at IS NULL DESC, x.created_at DESC) AS secrets
		FROM (
			SELECT` + secretColumns + ` FROM api_key_secrets WHERE key_id = k.id
			ORDER BY expires_at IS NULL DESC, created_at DESC LIMIT 10
		) x
	) s`

// secretRow is a secret as the database writes it.
type secretRow struct {
	Last4             string      `json:"last4"`
	CreatedAt         time.Time   `json:"created_at"`
	ExpiresAt         *time.Time  `json:"expires_at"`
	LastUsedAt        *time.Time  `json:"last_used_at"`
	LastUsedIP        *netip.Addr `json:"last_used_ip"`
	LastUsedUserAgent *string     `json:"last_used_user_agent"`
}

type row struct {
	ID                id.ID
	UserID            id.ID
	Name              string
	Environment       token.Environment
	Scopes            []string
	Secrets           []secretRow
	Status            Status
	ExpiresAt         *time.Time
	LastUsedAt        *time.Time
	AllowedIPs        []netip.Prefix
	RateLimit         *int
	RateWindowSeconds *int
	Metadata          []byte
	Version           int64
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

func (r row) key() Key {
	k := Key{
		ID: r.ID, UserID: r.UserID, Name: r.Name, Environment: r.Environment, Scopes: r.Scopes, Last4: r.Secrets[0].Last4,
		Status: r.Status, ExpiresAt: r.ExpiresAt, LastUsedAt: r.LastUsedAt, AllowedIPs: r.AllowedIPs,
		Metadata: jsontext.Value(r.Metadata), Version: r.Version, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	for _, x := range r.Secrets {
		k.Secrets = append(k.Secrets, Secret(x))
	}
	if r.RateLimit != nil && r.RateWindowSeconds != nil {
		k.RateLimit = &RateLimit{Limit: *r.RateLimit, WindowSeconds: *r.RateWindowSeconds}
	}
	return k
}

func one(rows pgx.Rows, err error) (Key, error) {
	if err != nil {
		return Key{}, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[row])
	switch {
	case postgres.NoRows(err):
		return Key{}, fault.ErrNotFound
	case err != nil:
		return Key{}, err
	}
	return r.key(), nil
}

func rateArgs(l *RateLimit) (limit, window *int) {
	if l == nil {
		return nil, nil
	}
	return &l.Limit, &l.WindowSeconds
}

func insert(ctx context.Context, tx postgres.Tx, k Key, createdBy id.ID, made token.APIKey) (Key, error) {
	limit, window := rateArgs(k.RateLimit)
	stored, err := one(tx.Query(ctx, `
		WITH k AS (
			INSERT INTO api_keys (id, user_id, created_by, name, environment, scopes, allowed_ips, rate_limit,
				rate_window_seconds, metadata, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11)
			RETURNING *
		), x AS (
			INSERT INTO api_key_secrets (public_id, key_id, secret_hash, last4)
			VALUES ($12, $1, $13, $14)
			RETURNING`+secretColumns+`
		)
		SELECT`+columns+` FROM k CROSS JOIN (SELECT jsonb_agg(to_jsonb(x)) AS secrets FROM x) s`,
		k.ID, k.UserID, createdBy, k.Name, string(k.Environment), k.Scopes, k.AllowedIPs, limit, window,
		string(k.Metadata), k.ExpiresAt, made.PublicID, made.Hash[:], made.Last4))
	if err != nil {
		return Key{}, fmt.Errorf("insert api key: %w", err)
	}
	return stored, nil
}

// update writes what a patch may change.
func update(ctx context.Context, tx postgres.Tx, k Key) (Key, error) {
	limit, window := rateArgs(k.RateLimit)
	stored, err := one(tx.Query(ctx, `
		WITH k AS (
			UPDATE api_keys
			SET name = $2, scopes = $3, allowed_ips = $4, rate_limit = $5, rate_window_seconds = $6,
				metadata = $7::jsonb, expires_at = $8, version = version + 1, updated_at = now()
			WHERE id = $1
			RETURNING *
		)
		SELECT`+columns+` FROM k`+withSecrets,
		k.ID, k.Name, k.Scopes, k.AllowedIPs, limit, window, string(k.Metadata), k.ExpiresAt))
	if err != nil {
		return Key{}, fmt.Errorf("update api key: %w", err)
	}
	return stored, nil
}

func revoke(ctx context.Context, tx postgres.Tx, key id.ID) error {
	_, err := tx.Exec(ctx, `
		UPDATE api_keys SET revoked_at = now(), version = version + 1, updated_at = now()
		WHERE id = $1 AND revoked_at IS NULL`, key)
	if err != nil {
		return fmt.Errorf("revoke api key: %w", err)
	}
	return nil
}

// RevokeAll ends every key of an account for good and returns those that it ended. The caller has locked the account's
// row, records why, and announces it.
func RevokeAll(ctx context.Context, tx postgres.Tx, owner id.ID) ([]id.ID, error) {
	rows, err := tx.Query(ctx, `
		UPDATE api_keys SET revoked_at = now(), version = version + 1, updated_at = now()
		WHERE user_id = $1 AND revoked_at IS NULL
		RETURNING id`, owner)
	if err != nil {
		return nil, fmt.Errorf("revoke api keys of user: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[id.ID])
	if err != nil {
		return nil, fmt.Errorf("revoke api keys of user: %w", err)
	}
	return ids, nil
}

func get(ctx context.Context, db postgres.DB, key id.ID) (Key, error) {
	k, err := one(db.Query(ctx, `SELECT`+columns+` FROM api_keys k`+withSecrets+` WHERE k.id = $1`, key))
	if err != nil {
		return Key{}, fmt.Errorf("read api key: %w", err)
	}
	return k, nil
}

// lock reads a key and keeps others from changing it until tx ends.
func lock(ctx context.Context, tx postgres.Tx, key id.ID) (Key, error) {
	k, err := one(tx.Query(ctx, `SELECT`+columns+` FROM api_keys k`+withSecrets+` WHERE k.id = $1 FOR NO KEY UPDATE OF k`, key))
	if err != nil {
		return Key{}, fmt.Errorf("lock api key: %w", err)
	}
	return k, nil
}

var statusCondition = map[Status]string{
	Revoked:     "k.revoked_at IS NOT NULL",
	Quarantined: "k.revoked_at IS NULL AND k.quarantined_at IS NOT NULL",
	Expired:     "k.revoked_at IS NULL AND k.quarantined_at IS NULL AND k.expires_at <= now()",
	Active:      "k.revoked_at IS NULL AND k.quarantined_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())",
}

func list(ctx context.Context, db postgres.DB, f Filter) ([]Key, error) {
	where := []string{"true"}
	var args []any
	add := func(condition string, values ...any) {
		for _, value := range values {
			args = append(args, value)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	if !f.Everyone {
		add("k.user_id = ?", f.UserID)
	}
	if f.Status != "" {
		add(statusCondition[f.Status])
	}
	if f.Environment != "" {
		add("k.environment = ?", string(f.Environment))
	}
	order, behind := "DESC", "<"
	if f.Ascending {
		order, behind = "ASC", ">"
	}
	if f.After != nil {
		add("(k.created_at, k.id) "+behind+" (?, ?)", f.After.Time, f.After.ID)
	}
	args = append(args, f.Limit)
	rows, err := db.Query(ctx, `SELECT`+columns+` FROM api_keys k`+withSecrets+`
		WHERE `+strings.Join(where, " AND ")+fmt.Sprintf(`
		ORDER BY k.created_at %s, k.id %s LIMIT $%d`, order, order, len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("list api keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (Key, error) {
		stored, err := pgx.RowToStructByName[row](r)
		if err != nil {
			return Key{}, err
		}
		return stored.key(), nil
	})
	if err != nil {
		return nil, fmt.Errorf("list api keys: %w", err)
	}
	return keys, nil
}

// owner is the account that a key is made for.
type owner struct {
	Kind   user.Kind
	Status user.Status
}

// lockOwner holds off what ends an account's keys (recovery, deletion) until tx ends, so that none is made behind it.
func lockOwner(ctx context.Context, tx postgres.Tx, account id.ID) (owner, error) {
	rows, err := tx.Query(ctx, `SELECT kind, status FROM users WHERE id = $1 FOR SHARE`, account)
	if err != nil {
		return owner{}, fmt.Errorf("lock owner of api key: %w", err)
	}
	o, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[owner])
	if postgres.NoRows(err) {
		return owner{}, fault.ErrNotFound
	}
	if err != nil {
		return owner{}, fmt.Errorf("lock owner of api key: %w", err)
	}
	return o, nil
}

// moment returns the database's time, by which keys expire. It refuses a caller whose session has ended since he was
// let in: what ends sessions ends keys too, and must not be outrun.
func moment(ctx context.Context, tx postgres.Tx, by actor.Actor) (time.Time, error) {
	var now time.Time
	var ended bool
	err := tx.QueryRow(ctx, `SELECT now(), $1::uuid <> $2 AND NOT EXISTS (SELECT FROM sessions WHERE id = $1)`,
		by.SessionID, id.Nil).Scan(&now, &ended)
	if err != nil {
		return time.Time{}, fmt.Errorf("look up session: %w", err)
	}
	if ended {
		return time.Time{}, actor.ErrSession
	}
	return now, nil
}

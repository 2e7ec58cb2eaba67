package apikey

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// usageBatch is the columns of what writeUsage writes: a row a secret, and a row a count of one.
type usageBatch struct {
	publicIDs  []string
	keys       []id.ID
	agesMS     []int64 // how long ago, by this process; the database subtracts it from its own time
	accepted   []bool
	ips        []string
	userAgents []string

	countKeys   []id.ID
	countAgesMS []int64
	kinds       []string
	names       []string
	counts      []int64
}

func (b *usageBatch) add(publicID string, t *tally, ageMS int64) {
	b.publicIDs, b.keys, b.agesMS = append(b.publicIDs, publicID), append(b.keys, t.key), append(b.agesMS, ageMS)
	b.accepted, b.ips, b.userAgents = append(b.accepted, t.accepted), append(b.ips, ipText(t.ip)), append(b.userAgents, stored(t.userAgent))
	if t.allowed > 0 {
		b.count(t.key, ageMS, count{string(Allowed), "", t.allowed})
	}
	for _, c := range t.refused {
		b.count(t.key, ageMS, c)
	}
	for _, c := range t.permissions {
		b.count(t.key, ageMS, c)
	}
}

func (b *usageBatch) count(key id.ID, ageMS int64, c count) {
	b.countKeys, b.countAgesMS = append(b.countKeys, key), append(b.countAgesMS, ageMS)
	b.kinds, b.names, b.counts = append(b.kinds, c.kind), append(b.names, c.name), append(b.counts, c.n)
}

// writeUsage moves the time of last use forward, never back, and adds to the counts: replicas write in any order. Keys
// are locked in the order of their ids before anything of theirs is touched, so that two replicas cannot wait for each
// other. Neither version nor updated_at changes. Of permissions only registered ones are counted: a wildcard covers any
// name that somebody asks for.
func writeUsage(ctx context.Context, db postgres.DB, b usageBatch) error {
	_, err := db.Exec(ctx, `
		WITH used AS (
			SELECT public_id, key_id, (now() - age * interval '1 ms')::timestamptz(3) AS at, accepted, nullif(ip, '')::inet AS ip, nullif(agent, '') AS agent
			FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bool[], $5::text[], $6::text[]) AS u (public_id, key_id, age, accepted, ip, agent)
		), locked AS MATERIALIZED (
			SELECT id FROM api_keys WHERE id IN (SELECT key_id FROM used) ORDER BY id FOR NO KEY UPDATE
		), keys AS (
			UPDATE api_keys k SET last_used_at = newest.at
			FROM (SELECT key_id, max(at) AS at FROM used JOIN locked ON locked.id = used.key_id WHERE accepted GROUP BY key_id) newest
			WHERE k.id = newest.key_id AND (k.last_used_at IS NULL OR k.last_used_at < newest.at)
		), counted AS (
			INSERT INTO api_key_usage (key_id, day, kind, name, count)
			SELECT c.key_id, ((now() - c.age * interval '1 ms') AT TIME ZONE 'UTC')::date, c.kind, c.name, sum(c.n)
			FROM unnest($7::uuid[], $8::bigint[], $9::text[], $10::text[], $11::bigint[]) AS c (key_id, age, kind, name, n)
			JOIN locked ON locked.id = c.key_id
			WHERE c.kind <> 'permission' OR EXISTS (SELECT FROM permissions p WHERE p.name = c.name)
			GROUP BY 1, 2, 3, 4
			ON CONFLICT (key_id, day, kind, name) DO UPDATE SET count = api_key_usage.count + excluded.count
		)
		UPDATE api_key_secrets s SET last_used_at = used.at, last_used_ip = used.ip, last_used_user_agent = used.agent
		FROM used JOIN locked ON locked.id = used.key_id
		WHERE s.public_id = used.public_id AND used.accepted AND (s.last_used_at IS NULL OR s.last_used_at < used.at)`,
		b.publicIDs, b.keys, b.agesMS, b.accepted, b.ips, b.userAgents, b.countKeys, b.countAgesMS, b.kinds, b.names, b.counts)
	if err != nil {
		return fmt.Errorf("record use of api keys: %w", err)
	}
	return nil
}

// usageRow is one count of one day.
type usageRow struct {
	Day   time.Time
	Kind  string
	Name  string
	Count int64
}

func readUsage(ctx context.Context, db postgres.DB, key id.ID, days int) ([]usageRow, error) {
	rows, err := db.Query(ctx, `
		SELECT day, kind, name, count FROM api_key_usage
		WHERE key_id = $1 AND day > (now() AT TIME ZONE 'UTC')::date - $2::int ORDER BY day DESC, kind, name`, key, days)
	if err != nil {
		return nil, fmt.Errorf("read use of api key: %w", err)
	}
	counts, err := pgx.CollectRows(rows, pgx.RowToStructByName[usageRow])
	if err != nil {
		return nil, fmt.Errorf("read use of api key: %w", err)
	}
	return counts, nil
}

// usedPermissions lists what the key used on the last days.
func usedPermissions(ctx context.Context, db postgres.DB, key id.ID, days int) ([]string, error) {
	rows, err := db.Query(ctx, `
		SELECT DISTINCT name FROM api_key_usage
		WHERE key_id = $1 AND kind = 'permission' AND day > (now() AT TIME ZONE 'UTC')::date - $2::int`, key, days)
	if err != nil {
		return nil, fmt.Errorf("read permissions that an api key used: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read permissions that an api key used: %w", err)
	}
	return names, nil
}

func sweepUsage(ctx context.Context, db postgres.DB, days int) error {
	_, err := db.Exec(ctx, `DELETE FROM api_key_usage WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::int`, days)
	if err != nil {
		return fmt.Errorf("delete old use of api keys: %w", err)
	}
	return nil
}

package apikey

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// usageBatch is the columns of what writeUsage writes, a row a secret.
type usageBatch struct {
	publicIDs  []string
	keys       []id.ID
	agesMS     []int64 // how long ago, by this process; the database subtracts it from its own time
	ips        []string
	userAgents []string
}

// writeUsage moves the time of last use forward, never back: replicas write in any order. Rows are locked in the order
// of their ids, so that two of them cannot wait for each other. Neither version nor updated_at changes.
func writeUsage(ctx context.Context, db postgres.DB, b usageBatch) error {
	_, err := db.Exec(ctx, `
		WITH used AS (
			SELECT public_id, key_id, (now() - age * interval '1 ms')::timestamptz(3) AS at, nullif(ip, '')::inet AS ip, nullif(agent, '') AS agent
			FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[]) AS u (public_id, key_id, age, ip, agent)
		), locked AS MATERIALIZED (
			SELECT id FROM api_keys WHERE id IN (SELECT key_id FROM used) ORDER BY id FOR NO KEY UPDATE
		), keys AS (
			UPDATE api_keys k SET last_used_at = newest.at
			FROM (SELECT key_id, max(at) AS at FROM used JOIN locked ON locked.id = used.key_id GROUP BY key_id) newest
			WHERE k.id = newest.key_id AND (k.last_used_at IS NULL OR k.last_used_at < newest.at)
		)
		UPDATE api_key_secrets s SET last_used_at = used.at, last_used_ip = used.ip, last_used_user_agent = used.agent
		FROM used JOIN locked ON locked.id = used.key_id
		WHERE s.public_id = used.public_id AND (s.last_used_at IS NULL OR s.last_used_at < used.at)`,
		b.publicIDs, b.keys, b.agesMS, b.ips, b.userAgents)
	if err != nil {
		return fmt.Errorf("record use of api keys: %w", err)
	}
	return nil
}

package user

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

// seedBatch is how many accounts one statement makes, well within the time that a statement has.
const seedBatch = 5000

var (
	seedFirst = []string{"Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Hedy", "Ivan", "Jean", "Katherine", "Linus", "Margaret", "Niklaus", "Radia", "Tim"}
	seedLast  = []string{"Allen", "Bartik", "Dijkstra", "Hamilton", "Hopper", "Johnson", "Lamarr", "Liskov", "Lovelace", "Perlman", "Sutherland", "Turing", "Wirth"}
)

// Seed makes n people without passwords, for development: names, addresses at example.com, a few pending or suspended,
// spread over the past. Those of an earlier call stay and are not made again. It returns how many were made.
func Seed(ctx context.Context, db postgres.DB, n int) (int64, error) {
	var made int64
	for from := 1; from <= n; from += seedBatch {
		tag, err := db.Exec(ctx, `
			INSERT INTO users (email, email_norm, email_verified, display_name, locale, status, created_at)
			SELECT address, address, i % 33 <> 0, first || ' ' || last, CASE WHEN i % 4 = 0 THEN 'de' ELSE 'en' END,
				CASE WHEN i % 33 = 0 THEN 'pending' WHEN i % 97 = 0 THEN 'suspended' ELSE 'active' END,
				now() - i * interval '1 minute'
			FROM generate_series($1::int, $2::int) AS i,
				LATERAL (SELECT ($3::text[])[1 + i % $4::int] AS first, ($5::text[])[1 + i % $6::int] AS last) AS name,
				LATERAL (SELECT lower(first || '.' || last) || '.' || i || '@example.com' AS address) AS contact
			ON CONFLICT ON CONSTRAINT users_email_norm_key DO NOTHING`,
			from, min(from+seedBatch-1, n), seedFirst, len(seedFirst), seedLast, len(seedLast))
		if err != nil {
			return made, fmt.Errorf("seed users: %w", err)
		}
		made += tag.RowsAffected()
	}
	return made, nil
}

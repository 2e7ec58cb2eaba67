package throttle

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

// counts are the counters after an attempt was counted; zero where an earlier one refused it already.
type counts struct {
	pair, network, account  int
	pairReset, networkReset time.Duration
	known                   bool // the account signed in from there lately
}

// raise counts pair, network, account, in this order everywhere (see giveBack), so that attempts never deadlock.
// A window is fixed: it begins with its first attempt, by database time.
func (l *Limits) raise(ctx context.Context, a Attempt) (counts, error) {
	pair, network, account := l.keys(a)
	var c counts
	var pairReset, networkReset float64
	err := l.db.QueryRow(ctx, `
		WITH pair AS (
			INSERT INTO credential_limits AS l (key, count, resets_at)
			VALUES ($1, 1, now() + make_interval(secs => $4))
			ON CONFLICT (key) DO UPDATE SET
				count = CASE WHEN l.resets_at <= now() THEN 1 ELSE least(l.count, 1000000) + 1 END,
				resets_at = CASE WHEN l.resets_at <= now() THEN excluded.resets_at ELSE l.resets_at END
			RETURNING count, resets_at
		), network AS (
			INSERT INTO credential_limits AS l (key, count, resets_at)
			SELECT $2, 1, now() + make_interval(secs => $4) FROM pair WHERE pair.count <= $5
			ON CONFLICT (key) DO UPDATE SET
				count = CASE WHEN l.resets_at <= now() THEN 1 ELSE least(l.count, 1000000) + 1 END,
				resets_at = CASE WHEN l.resets_at <= now() THEN excluded.resets_at ELSE l.resets_at END
			RETURNING count, resets_at
		), account AS (
			INSERT INTO credential_limits AS l (key, count, resets_at)
			SELECT $3, 1, now() + make_interval(secs => $8) FROM network WHERE network.count <= $6 AND NOT $9
			ON CONFLICT (key) DO UPDATE SET
				count = CASE WHEN l.resets_at <= now() THEN 1 ELSE least(l.count, 1000000) + 1 END,
				resets_at = CASE WHEN l.resets_at > now() AND l.count + 1 >= $7 THEN 'infinity' ELSE excluded.resets_at END
			RETURNING count
		)
		SELECT pair.count, extract(epoch FROM pair.resets_at - now())::float8,
			coalesce(network.count, 0), coalesce(extract(epoch FROM network.resets_at - now()), 0)::float8,
			coalesce(account.count, 0),
			CASE WHEN account.count > $7 THEN EXISTS (
				SELECT FROM users u JOIN sign_in_networks n ON n.user_id = u.id
				WHERE u.email_norm = $10 AND n.network = $11 AND n.last_at > now() - make_interval(secs => $12)
			) ELSE false END
		FROM pair LEFT JOIN network ON true LEFT JOIN account ON true`,
		pair, network, account, l.cfg.Login.Window.Seconds(), l.cfg.Login.Limit, l.cfg.Login.Limit*networkFactor,
		accountFailures, accountMemory.Seconds(), a.Proven, a.EmailNorm, cidr(a.IP), signInMemory.Seconds(),
	).Scan(&c.pair, &pairReset, &c.network, &networkReset, &c.account, &c.known)
	if err != nil {
		return counts{}, fmt.Errorf("count attempt: %w", err)
	}
	c.pairReset, c.networkReset = seconds(pairReset), seconds(networkReset)
	return c, nil
}

// giveBack takes one attempt out of each count. The account's becomes zero when it is at most ends.
func (l *Limits) giveBack(ctx context.Context, db postgres.DB, a Attempt, ends int) error {
	pair, network, account := l.keys(a)
	if a.Proven {
		account = nil // it was not counted
	}
	_, err := db.Exec(ctx, `
		UPDATE credential_limits SET count = CASE WHEN key = $3 AND count <= $4 THEN 0 ELSE greatest(count - 1, 0) END
		WHERE key IN (
			SELECT l.key FROM unnest(ARRAY[$1::bytea, $2, $3]) WITH ORDINALITY AS k (key, n)
			JOIN credential_limits l ON l.key = k.key
			WHERE l.resets_at > now()
			ORDER BY k.n FOR UPDATE OF l)`, pair, network, account, ends)
	if err != nil {
		return fmt.Errorf("give attempt back: %w", err)
	}
	return nil
}

func (l *Limits) reset(ctx context.Context, db postgres.DB, emailNorm string) error {
	if _, err := db.Exec(ctx, "DELETE FROM credential_limits WHERE key = $1", l.key("account", emailNorm)); err != nil {
		return fmt.Errorf("reset failures of account: %w", err)
	}
	return nil
}

func (l *Limits) allowMail(ctx context.Context, db postgres.DB, emailNorm string, ip netip.Addr) (bool, error) {
	from := ratelimit.Network(ip).String()
	var allowed bool
	err := db.QueryRow(ctx, `
		WITH owner AS (
			SELECT EXISTS (
				SELECT FROM users u JOIN sign_in_networks n ON n.user_id = u.id
				WHERE u.email_norm = $5 AND n.network = $6 AND n.last_at > now() - make_interval(secs => $7)) AS here
		), hour AS (
			INSERT INTO credential_limits AS l (key, count, resets_at)
			SELECT CASE WHEN here THEN $3::bytea ELSE $1 END, 1, now() + interval '1 hour' FROM owner
			ON CONFLICT (key) DO UPDATE SET
				count = CASE WHEN l.resets_at <= now() THEN 1 ELSE least(l.count, 1000000) + 1 END,
				resets_at = CASE WHEN l.resets_at <= now() THEN excluded.resets_at ELSE l.resets_at END
			RETURNING count
		), day AS (
			INSERT INTO credential_limits AS l (key, count, resets_at)
			SELECT CASE WHEN here THEN $4::bytea ELSE $2 END, 1, now() + interval '1 day' FROM owner, hour WHERE hour.count <= $8
			ON CONFLICT (key) DO UPDATE SET
				count = CASE WHEN l.resets_at <= now() THEN 1 ELSE least(l.count, 1000000) + 1 END,
				resets_at = CASE WHEN l.resets_at <= now() THEN excluded.resets_at ELSE l.resets_at END
			RETURNING count
		)
		SELECT hour.count <= $8 AND coalesce(day.count <= $9, false) FROM hour LEFT JOIN day ON true`,
		l.key("mail hour", emailNorm), l.key("mail day", emailNorm),
		l.key("own mail hour", emailNorm, from), l.key("own mail day", emailNorm, from),
		emailNorm, cidr(ip), signInMemory.Seconds(), mailsAnHour, mailsADay,
	).Scan(&allowed)
	if err != nil {
		return false, fmt.Errorf("count mail: %w", err)
	}
	return allowed, nil
}

func (l *Limits) sweep(ctx context.Context) error {
	if _, err := l.db.Exec(ctx, "DELETE FROM credential_limits WHERE resets_at <= now()"); err != nil {
		return fmt.Errorf("sweep credential limits: %w", err)
	}
	return nil
}

// cidr returns the network as a parameter; null, which no row equals, for an address that is not known.
func cidr(ip netip.Addr) *netip.Prefix {
	n := ratelimit.Network(ip)
	if !n.IsValid() {
		return nil
	}
	return &n
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

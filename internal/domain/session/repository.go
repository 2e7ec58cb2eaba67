package session

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// heldRoles are the names of the roles that account u holds now, without the implied one.
const heldRoles = `ARRAY(SELECT r.name FROM user_roles g JOIN roles r ON r.id = g.role_id
	WHERE g.user_id = u.id AND (g.expires_at IS NULL OR g.expires_at > now()))`

// ttl is how long session s lives from now on, in seconds.
const ttl = `extract(epoch FROM least(s.idle_expires_at, s.expires_at) - now())::float8`

// liveColumns are those of live, of session s and its account u.
const liveColumns = `s.id, s.user_id, u.email, s.auth_time, s.acr, s.amr, ` + ttl + ` AS ttl, ` + heldRoles + ` AS roles, s.cookie`

// live is a session with what its owner's tokens say.
type live struct {
	ID       id.ID
	UserID   id.ID
	Email    *string
	AuthTime time.Time
	ACR      string
	AMR      []string
	TTL      float64
	Roles    []string
	Cookie   bool
}

func (l live) grant() Grant {
	g := Grant{
		SessionID: l.ID, UserID: l.UserID, AuthTime: l.AuthTime, ACR: l.ACR, AMR: l.AMR, Roles: withImplied(l.Roles), Cookie: l.Cookie,
		RefreshTTL: time.Duration(l.TTL * float64(time.Second)),
	}
	if l.Email != nil {
		g.Email = *l.Email
	}
	return g
}

type newRow struct {
	New
	id                       id.ID
	secretHash, secretSealed []byte
	network                  *netip.Prefix
	family                   string
	deviceName, userAgent    *string
	ip                       *netip.Addr
}

type inserted struct {
	live
	Unfamiliar  bool
	DisplayName *string
	Locale      *string
}

// insert gives pgx.ErrNoRows when the account is no longer as it was. What it looks up is what was there when the
// statement began, so that the first sign-in of all is no news. Who knows the password could make up programs without
// end: after so many in a day the owner knows, and is not told again.
func insert(ctx context.Context, tx postgres.Tx, cfg Config, n newRow) (inserted, error) {
	return one[inserted](ctx, tx, "insert session", `
		WITH account AS (
			UPDATE users SET last_login_at = now(), password_hash = coalesce($4, password_hash)
			WHERE id = $1 AND status = 'active' AND auth_epoch = $2 AND ($3::text IS NULL OR password_hash = $3)
				AND (NOT mfa_enabled OR $9 = 'aal2')
			RETURNING id, email, auth_epoch, display_name, locale
		), seen AS (
			INSERT INTO sign_in_networks (user_id, network) SELECT id, $5 FROM account WHERE $5::cidr IS NOT NULL
			ON CONFLICT (user_id, network) DO UPDATE SET last_at = now()
		), fresh AS (
			INSERT INTO sign_in_agents (user_id, network, family) SELECT id, $5, $17 FROM account WHERE $5::cidr IS NOT NULL
			ON CONFLICT (user_id, network, family) DO NOTHING
			RETURNING user_id
		), s AS (
			INSERT INTO sessions (id, user_id, secret_hash, secret_sealed, auth_epoch, acr, amr, device_name, user_agent, ip,
				idle_expires_at, expires_at, cookie)
			SELECT $6, id, $7, $8, auth_epoch, $9, $10, $11, $12, $13, now() + make_interval(secs => $14), now() + make_interval(secs => $15), $16
			FROM account
			RETURNING id, user_id, auth_time, acr, amr, idle_expires_at, expires_at, cookie
		)
		SELECT `+liveColumns+`,
			EXISTS (SELECT FROM fresh) AND (
				SELECT count(*) > 0 AND count(*) FILTER (WHERE a.first_at > now() - interval '1 day') < $18
				FROM sign_in_agents a WHERE a.user_id = s.user_id) AS unfamiliar, u.display_name, u.locale
		FROM s JOIN account u ON u.id = s.user_id`,
		n.UserID, n.AuthEpoch, n.PasswordHash, n.Rehash, n.network,
		n.id, n.secretHash, n.secretSealed, n.ACR, n.AMR, n.deviceName, n.userAgent, n.ip,
		cfg.IdleTTL.Seconds(), cfg.MaxTTL.Seconds(), n.Cookie, n.family, noticesADay)
}

// rotateSQL compares, raises the counter and records it in one statement: of all that the service does this is what
// every client does all the time.
var rotateSQL = `
	WITH rotated AS (
		UPDATE sessions s SET counter = s.counter + 1, rotated_at = now(), last_used_at = now(),
			idle_expires_at = now() + make_interval(secs => $4), user_agent = coalesce($5, s.user_agent), ip = coalesce($6, s.ip)
		FROM users u
		WHERE s.id = $1 AND s.counter = $2 AND s.secret_hash = $3 AND s.idle_expires_at > now() AND s.expires_at > now()
			AND u.id = s.user_id AND u.status = 'active' AND u.auth_epoch = s.auth_epoch
		RETURNING ` + liveColumns + `
	), ` + audit.Inline("rotated", 7) + `
	SELECT id, user_id, email, auth_time, acr, amr, ttl, roles, cookie FROM rotated`

// rotate gives pgx.ErrNoRows, and does nothing, unless the token is the session's current one and the session lives.
func rotate(ctx context.Context, db postgres.DB, cfg Config, t token.Refresh, by actor.Actor) (live, error) {
	event, err := audit.InlineArgs(by, "session.refresh", "session")
	if err != nil {
		return live{}, err
	}
	hash := t.SecretHash()
	return one[live](ctx, db, "rotate session", rotateSQL, append([]any{
		t.SessionID, t.Counter, hash[:], cfg.IdleTTL.Seconds(), clean(by.Origin.UserAgent, maxUserAgent), address(by.Origin.IP),
	}, event...)...)
}

// inspected is a session whose current token is not the one presented.
type inspected struct {
	live
	Counter    int64
	Alive      bool
	InGrace    bool
	DeviceName *string
	UserAgent  *string
	Locale     *string
}

// inspect locks the session, so that what is decided about it still holds when it is done.
func inspect(ctx context.Context, tx postgres.Tx, cfg Config, t token.Refresh) (inspected, error) {
	hash := t.SecretHash()
	return one[inspected](ctx, tx, "inspect session", `
		SELECT `+liveColumns+`, s.counter,
			s.idle_expires_at > now() AND s.expires_at > now() AND u.status = 'active' AND u.auth_epoch = s.auth_epoch AS alive,
			s.rotated_at > now() - make_interval(secs => $3) AS in_grace, s.device_name, s.user_agent, u.locale
		FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.id = $1 AND s.secret_hash = $2
		FOR UPDATE OF s`, t.SessionID, hash[:], cfg.Grace.Seconds())
}

type stamped struct {
	live
	Counter      int64
	SecretSealed []byte
}

func stamp(ctx context.Context, tx postgres.Tx, session, user id.ID, how Assurance) (stamped, error) {
	return one[stamped](ctx, tx, "stamp session", `
		UPDATE sessions s SET auth_time = now(), acr = $3, amr = $4
		FROM users u
		WHERE s.id = $1 AND s.user_id = $2 AND s.idle_expires_at > now() AND s.expires_at > now()
			AND u.id = s.user_id AND u.status = 'active' AND u.auth_epoch = s.auth_epoch
		RETURNING `+liveColumns+`, s.counter, s.secret_sealed`,
		session, user, how.ACR, how.AMR)
}

// List returns at most f.Limit of an account's sessions that live. Whether the caller may see them is the caller's to check.
func List(ctx context.Context, db postgres.DB, user id.ID, f Filter) ([]Session, error) {
	var at *time.Time
	var after *id.ID
	order, behind := "DESC", "<"
	if f.Ascending {
		order, behind = "ASC", ">"
	}
	if f.After != nil {
		at, after = &f.After.Time, &f.After.ID
	}
	rows, err := db.Query(ctx, fmt.Sprintf(`
		SELECT id, device_name, user_agent, ip, created_at, last_used_at, least(idle_expires_at, expires_at) AS expires_at
		FROM sessions
		WHERE user_id = $1 AND idle_expires_at > now() AND sessions.expires_at > now()
			AND ($2::timestamptz IS NULL OR (created_at, id) %[1]s ($2, $3::uuid))
		ORDER BY created_at %[2]s, id %[2]s LIMIT $4`, behind, order), user, at, after, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	sessions, err := pgx.CollectRows(rows, pgx.RowToStructByName[Session])
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return sessions, nil
}

func remove(ctx context.Context, tx postgres.Tx, session, user id.ID) (bool, error) {
	tag, err := tx.Exec(ctx, "DELETE FROM sessions WHERE id = $1 AND user_id = $2", session, user)
	if err != nil {
		return false, fmt.Errorf("delete session: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func removeOthers(ctx context.Context, tx postgres.Tx, user, current id.ID) ([]id.ID, error) {
	rows, err := tx.Query(ctx, "DELETE FROM sessions WHERE user_id = $1 AND id <> $2 RETURNING id", user, current)
	if err != nil {
		return nil, fmt.Errorf("delete other sessions: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[id.ID])
	if err != nil {
		return nil, fmt.Errorf("delete other sessions: %w", err)
	}
	return ids, nil
}

func removeByHash(ctx context.Context, tx postgres.Tx, session id.ID, hash []byte) (owner id.ID, email *string, err error) {
	err = tx.QueryRow(ctx, `
		DELETE FROM sessions s USING users u WHERE s.id = $1 AND s.secret_hash = $2 AND u.id = s.user_id
		RETURNING u.id, u.email`, session, hash).Scan(&owner, &email)
	if err != nil {
		return id.Nil, nil, fmt.Errorf("delete session: %w", err)
	}
	return owner, email, nil
}

// EndAll ends every session of an account and returns how many there were. The caller records why, and announces it.
func EndAll(ctx context.Context, tx postgres.Tx, user id.ID) (int64, error) {
	tag, err := tx.Exec(ctx, "DELETE FROM sessions WHERE user_id = $1", user)
	if err != nil {
		return 0, fmt.Errorf("delete sessions of user: %w", err)
	}
	return tag.RowsAffected(), nil
}

// KeepOnly ends every session of an account but one, and binds that one to the account's new epoch; fault.ErrNotFound when
// it has ended, too. The caller has raised the epoch in tx, records why, and announces it.
func KeepOnly(ctx context.Context, tx postgres.Tx, user, kept id.ID, epoch int64) error {
	tag, err := tx.Exec(ctx, `
		WITH ended AS (DELETE FROM sessions WHERE user_id = $1 AND id <> $2)
		UPDATE sessions SET auth_epoch = $3
		WHERE id = $2 AND user_id = $1 AND auth_epoch = $3 - 1 AND idle_expires_at > now() AND expires_at > now()`,
		user, kept, epoch)
	if err != nil {
		return fmt.Errorf("end all sessions but one: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fault.ErrNotFound
	}
	return nil
}

func exists(ctx context.Context, db postgres.DB, session id.ID) (bool, error) {
	var known bool
	if err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM sessions WHERE id = $1)", session).Scan(&known); err != nil {
		return false, fmt.Errorf("look for session: %w", err)
	}
	return known, nil
}

func sweep(ctx context.Context, db postgres.DB) error {
	if _, err := db.Exec(ctx, "DELETE FROM sessions WHERE least(idle_expires_at, expires_at) <= now()"); err != nil {
		return fmt.Errorf("sweep sessions: %w", err)
	}
	return nil
}

// one returns the only row; pgx.ErrNoRows stays in the chain.
func one[T any](ctx context.Context, db postgres.DB, doing, sql string, args ...any) (T, error) {
	var none T
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return none, fmt.Errorf("%s: %w", doing, err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
	if err != nil {
		return none, fmt.Errorf("%s: %w", doing, err)
	}
	return row, nil
}

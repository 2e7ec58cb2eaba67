package audit

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Record appends the event, with db: the transaction of its effect, or the pool for a refusal that has none.
// When it fails the operation must fail. One statement.
func Record(ctx context.Context, db postgres.DB, by actor.Actor, e Event) error {
	r, err := newRow(by, e)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, `
		WITH event AS (
			INSERT INTO audit_events (id, action, outcome, actor_type, actor_id, target_type, target_id, request_id,
				actor_commitment, target_commitment)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		)
		INSERT INTO audit_personal (event_id, subject_role, subject_id, salt, label, ip, user_agent, reason, changes)
		SELECT $1, role, subject_id, salt, label, ip, user_agent, reason, changes
		FROM (VALUES
			('actor', $11::uuid, $12::bytea, $13::text, $14::text, $15::text, NULL::text, NULL::jsonb),
			('target', $16, $17, $18, NULL, NULL, $19::text, $20::jsonb)
		) AS part (role, subject_id, salt, label, ip, user_agent, reason, changes)
		WHERE salt IS NOT NULL`,
		r.id, r.action, r.outcome, r.actorType, r.actorID, r.targetType, r.targetID, r.requestID,
		r.actorCommitment, r.targetCommitment,
		r.actorSubject, r.actorSalt, r.actor.Label, r.actor.IP, r.actor.UserAgent,
		r.targetSubject, r.targetSalt, r.target.Label, r.target.Reason, jsonArg(r.target.Changes))
	if err != nil {
		return fmt.Errorf("insert audit event: %w", err)
	}
	return nil
}

func jsonArg(v jsontext.Value) *string {
	if v == nil {
		return nil
	}
	s := string(v)
	return &s
}

// Filter narrows a list of events; zero members do not.
type Filter struct {
	ActorID, TargetID  id.ID
	TargetType, Action string
	Outcome            Outcome
	IP                 netip.Addr
	From, To           time.Time // from inclusive, to exclusive

	Ascending bool
	After     *page.Position // keyset: events behind this one
	Limit     int
}

const selected = `
	e.id, e.time, e.action, e.outcome, e.actor_type, e.actor_id, a.label, e.target_type, e.target_id, t.label,
	t.changes, t.reason, a.ip, a.user_agent, e.request_id,
	1 + (e.actor_commitment IS NOT NULL AND a.salt IS NULL)::int + (e.target_commitment IS NOT NULL AND t.salt IS NULL)::int`

const columns = selected + `
	FROM audit_events e
	LEFT JOIN audit_personal a ON a.event_id = e.id AND a.subject_role = 'actor' AND a.event_time = e.time
	LEFT JOIN audit_personal t ON t.event_id = e.id AND t.subject_role = 'target' AND t.event_time = e.time`

func scan(row pgx.CollectableRow) (Recorded, error) {
	var r Recorded
	var targetType, targetLabel *string
	var changes []byte
	err := row.Scan(&r.ID, &r.Time, &r.Action, &r.Outcome, &r.ActorType, &r.ActorID, &r.Label, &targetType, &r.TargetID, &targetLabel,
		&changes, &r.Reason, &r.IP, &r.UserAgent, &r.RequestID, &r.Version)
	if targetType != nil {
		r.Target.Type = *targetType
	}
	if targetLabel != nil {
		r.Target.Label = *targetLabel
	}
	r.Changes = changes
	return r, err
}

func list(ctx context.Context, db postgres.DB, f Filter) ([]Recorded, error) {
	var where []string
	var args []any
	add := func(cond string, arg any) {
		args = append(args, arg)
		where = append(where, strings.ReplaceAll(cond, "?", fmt.Sprintf("$%d", len(args))))
	}
	if f.ActorID != id.Nil {
		add("e.actor_id = ?", f.ActorID)
	}
	if f.TargetID != id.Nil {
		add("e.target_id = ?", f.TargetID)
	}
	if f.TargetType != "" {
		add("e.target_type = ?", f.TargetType)
	}
	if f.Action != "" {
		add("e.action = ?", f.Action)
	}
	if f.Outcome != "" {
		add("e.outcome = ?", f.Outcome)
	}
	if f.IP.IsValid() {
		add("a.ip = ?", f.IP.Unmap().String())
	}
	if !f.From.IsZero() {
		add("e.time >= ?", f.From)
	}
	if !f.To.IsZero() {
		add("e.time < ?", f.To)
	}
	order, behind := "DESC", "<"
	if f.Ascending {
		order, behind = "ASC", ">"
	}
	if f.After != nil {
		args = append(args, f.After.Time, f.After.ID)
		where = append(where, fmt.Sprintf("(e.time, e.id) %s ($%d, $%d)", behind, len(args)-1, len(args)))
	}
	sql := "SELECT" + columns
	if len(where) > 0 {
		sql += "\n\tWHERE " + strings.Join(where, " AND ")
	}
	args = append(args, f.Limit)
	sql += fmt.Sprintf("\n\tORDER BY e.time %s, e.id %s LIMIT $%d", order, order, len(args))
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list audit events: %w", err)
	}
	events, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("list audit events: %w", err)
	}
	return events, nil
}

func get(ctx context.Context, db postgres.DB, event id.ID) (Recorded, error) {
	rows, err := db.Query(ctx, "SELECT"+columns+"\n\tWHERE e.id = $1", event)
	if err != nil {
		return Recorded{}, fmt.Errorf("read audit event: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scan)
	if postgres.NoRows(err) {
		return Recorded{}, fault.ErrNotFound
	}
	if err != nil {
		return Recorded{}, fmt.Errorf("read audit event: %w", err)
	}
	return r, nil
}

// EnsurePartitions makes the partitions of this month and the next three.
func EnsurePartitions(ctx context.Context, db postgres.DB) error {
	if _, err := db.Exec(ctx, "SELECT audit_ensure_partitions(3)"); err != nil {
		return fmt.Errorf("make audit partitions: %w", err)
	}
	return nil
}

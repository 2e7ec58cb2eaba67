package audit

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// own returns events that a person did, that were done to him, or that hold data of his. Of everybody else in them
// there is the id alone. Only time narrows: each of the three branches walks its index to the limit. One statement.
func own(ctx context.Context, db postgres.DB, person id.ID, f Filter) ([]Recorded, error) {
	args := []any{person, f.Limit}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	order, behind := "DESC", "<"
	if f.Ascending {
		order, behind = "ASC", ">"
	}
	var bounds string // of time and id, which the tables name each in its way
	if !f.From.IsZero() {
		bounds += " AND TIME >= " + arg(f.From)
	}
	if !f.To.IsZero() {
		bounds += " AND TIME < " + arg(f.To)
	}
	if f.After != nil {
		bounds += " AND (TIME, ID) " + behind + " (" + arg(f.After.Time) + ", " + arg(f.After.ID) + ")"
	}
	branch := func(table, column, time, id string) string {
		return "(SELECT " + id + " AS id, " + time + " AS time FROM " + table + " WHERE " + column + " = $1" +
			strings.NewReplacer("TIME", time, "ID", id).Replace(bounds) +
			" ORDER BY " + time + " " + order + ", " + id + " " + order + " LIMIT $2)"
	}
	rows, err := db.Query(ctx, `
		WITH mine AS (
			`+branch("audit_events", "actor_id", "time", "id")+`
			UNION `+branch("audit_events", "target_id", "time", "id")+`
			UNION `+branch("audit_personal", "subject_id", "event_time", "event_id")+`
		)
		SELECT`+selected+`
		FROM mine JOIN audit_events e USING (id, time)
		LEFT JOIN audit_personal a ON a.event_id = e.id AND a.subject_role = 'actor' AND a.event_time = e.time AND a.subject_id = $1
		LEFT JOIN audit_personal t ON t.event_id = e.id AND t.subject_role = 'target' AND t.event_time = e.time
			AND (t.subject_id = $1 OR t.subject_id IS NULL AND a.subject_id = $1)
		ORDER BY e.time `+order+`, e.id `+order+` LIMIT $2`, args...)
	if err != nil {
		return nil, fmt.Errorf("list own audit events: %w", err)
	}
	events, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("list own audit events: %w", err)
	}
	return events, nil
}

package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

var (
	eventColumns = []string{
		"id", "action", "outcome", "actor_type", "actor_id", "target_type", "target_id", "request_id", "actor_commitment", "target_commitment",
	}
	personalColumns = []string{"event_id", "subject_role", "subject_id", "salt", "label", "ip", "user_agent", "reason", "changes"}
)

func copyEvents(ctx context.Context, tx postgres.Tx, entries []Entry) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"audit_events"}, eventColumns, pgx.CopyFromSlice(len(entries), func(i int) ([]any, error) {
		r := entries[i].row
		return []any{
			r.id, r.action, string(r.outcome), string(r.actorType), idArg(r.actorID), r.targetType, idArg(r.targetID), r.requestID, r.actorCommitment, r.targetCommitment,
		}, nil
	}))
	if err != nil {
		return fmt.Errorf("copy audit events: %w", err)
	}
	return nil
}

// copyPersonal appends the parts of the persons, as Record does: one that has nothing to say has no row.
func copyPersonal(ctx context.Context, tx postgres.Tx, entries []Entry) error {
	parts := make([]part, 0, 2*len(entries))
	for _, e := range entries {
		r := e.row
		if r.actorSalt != nil {
			parts = append(parts, part{r, "actor"})
		}
		if r.targetSalt != nil {
			parts = append(parts, part{r, "target"})
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"audit_personal"}, personalColumns,
		pgx.CopyFromSlice(len(parts), func(i int) ([]any, error) { return parts[i].values(), nil }))
	if err != nil {
		return fmt.Errorf("copy personal data of audit events: %w", err)
	}
	return nil
}

// part is what an event holds of one person.
type part struct {
	*row
	role string
}

func (p part) values() []any {
	if p.role == "actor" {
		return []any{p.id, p.role, idArg(p.actorSubject), p.actorSalt, p.actor.Label, p.actor.IP, p.actor.UserAgent, nil, nil}
	}
	return []any{p.id, p.role, idArg(p.targetSubject), p.targetSalt, p.target.Label, nil, nil, p.target.Reason, jsonArg(p.target.Changes)}
}

// idArg spares the driver the way of database/sql, which it takes with pointers to identifiers.
func idArg(v *id.ID) any {
	if v == nil {
		return nil
	}
	return *v
}

package audit

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// RecordMany appends many events of one actor, as Record does each, in two statements.
func RecordMany(ctx context.Context, tx postgres.Tx, by actor.Actor, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	var acts, parts [][]any
	for _, e := range events {
		r, err := newRow(by, e)
		if err != nil {
			return err
		}
		acts = append(acts, []any{
			r.id, r.action, string(r.outcome), string(r.actorType), r.actorID, r.targetType, r.targetID, r.requestID, r.actorCommitment, r.targetCommitment,
		})
		if r.actorSalt != nil {
			parts = append(parts, []any{r.id, "actor", r.actorSubject, r.actorSalt, r.actor.Label, r.actor.IP, r.actor.UserAgent, nil, nil})
		}
		if r.targetSalt != nil {
			parts = append(parts, []any{
				r.id, "target", r.targetSubject, r.targetSalt, r.target.Label, nil, nil, r.target.Reason, jsonArg(r.target.Changes),
			})
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"audit_events"}, []string{
		"id", "action", "outcome", "actor_type", "actor_id", "target_type", "target_id", "request_id", "actor_commitment", "target_commitment",
	}, pgx.CopyFromRows(acts))
	if err == nil {
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"audit_personal"}, []string{
			"event_id", "subject_role", "subject_id", "salt", "label", "ip", "user_agent", "reason", "changes",
		}, pgx.CopyFromRows(parts))
	}
	if err != nil {
		return fmt.Errorf("insert audit events: %w", err)
	}
	return nil
}

// Gone returns which of these accounts, none of which is there now, were deleted here.
func Gone(ctx context.Context, tx postgres.Tx, accounts []id.ID) (map[id.ID]bool, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT target_id FROM audit_events
		WHERE target_id = ANY($1) AND action IN ('user.delete', 'user.purge') AND outcome = 'success'`, accounts)
	if err != nil {
		return nil, fmt.Errorf("look for deleted users: %w", err)
	}
	gone := map[id.ID]bool{}
	var one id.ID
	_, err = pgx.ForEachRow(rows, []any{&one}, func() error {
		gone[one] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for deleted users: %w", err)
	}
	return gone, nil
}

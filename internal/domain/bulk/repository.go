package bulk

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// staged is a line that waits.
type staged struct {
	line   int64
	sealed []byte
}

func insert(ctx context.Context, db postgres.DB, of id.ID, by actor.Actor, o Options) error {
	_, err := db.Exec(ctx, `
		INSERT INTO imports (id, actor_type, actor_id, key_id, actor_label, on_conflict, dry_run) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		of, string(by.Kind), present(by.UserID), present(by.KeyID), by.Label, string(o.OnConflict), o.DryRun)
	if err != nil {
		return fmt.Errorf("insert import: %w", err)
	}
	return nil
}

func present(v id.ID) *id.ID {
	if v == id.Nil {
		return nil
	}
	return &v
}

// get reads an import; lock is the end of the statement.
func get(ctx context.Context, db postgres.DB, of id.ID, lock string) (*Import, error) {
	i := &Import{}
	var kind string
	var user, key *id.ID
	err := db.QueryRow(ctx, `
		SELECT id, status, reason, on_conflict, dry_run, total, processed, created, updated, skipped, failed, created_at, finished_at,
			actor_type, actor_id, key_id, actor_label
		FROM imports WHERE id = $1`+lock, of).Scan(&i.ID, (*string)(&i.Status), &i.Reason, (*string)(&i.OnConflict), &i.DryRun,
		&i.Total, &i.Processed, &i.Created, &i.Updated, &i.Skipped, &i.Rejected, &i.CreatedAt, &i.FinishedAt, &kind, &user, &key, &i.by.Label)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read import: %w", err)
	}
	i.by.Kind = actor.Kind(kind)
	if user != nil {
		i.by.UserID = *user
	}
	if key != nil {
		i.by.KeyID = *key
	}
	return i, nil
}

// stage adds lines to an import that is received.
func stage(ctx context.Context, db *postgres.Pool, of id.ID, lines []staged, total int64) error {
	return db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"import_lines"}, []string{"import_id", "line", "sealed"},
			pgx.CopyFromSlice(len(lines), func(i int) ([]any, error) { return []any{of, lines[i].line, lines[i].sealed}, nil }))
		if err != nil {
			return fmt.Errorf("copy lines of an import: %w", err)
		}
		if _, err := tx.Exec(ctx, "UPDATE imports SET total = $2, received_at = now() WHERE id = $1", of, total); err != nil {
			return fmt.Errorf("count lines of an import: %w", err)
		}
		return nil
	})
}

// move changes the status from one to another, or returns fault.ErrNotFound.
func move(ctx context.Context, tx postgres.Tx, of id.ID, from, to Status) error {
	tag, err := tx.Exec(ctx, "UPDATE imports SET status = $3 WHERE id = $1 AND status = $2", of, string(from), string(to))
	if err != nil {
		return fmt.Errorf("move import: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return fault.ErrNotFound
	}
	return nil
}

func drop(ctx context.Context, db postgres.DB, of id.ID) error {
	if _, err := db.Exec(ctx, "DELETE FROM imports WHERE id = $1 AND status = 'receiving'", of); err != nil {
		return fmt.Errorf("drop import: %w", err)
	}
	return nil
}

// waiting returns the lines behind one, in their order: as many as fit into most lines and size bytes, at least one if any
// is there.
func waiting(ctx context.Context, db postgres.DB, of id.ID, after int64, most, size int) ([]staged, error) {
	// Their sizes first: the server would spool the lines themselves to sum them up.
	rows, err := db.Query(ctx, "SELECT line, octet_length(sealed) FROM import_lines WHERE import_id = $1 AND line > $2 ORDER BY line LIMIT $3", of, after, most)
	if err != nil {
		return nil, fmt.Errorf("read sizes of an import: %w", err)
	}
	last, sum := after, 0
	var line int64
	var length int
	_, err = pgx.ForEachRow(rows, []any{&line, &length}, func() error {
		if sum < size {
			last = line
		}
		sum += length
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read sizes of an import: %w", err)
	}
	rows, err = db.Query(ctx, "SELECT line, sealed FROM import_lines WHERE import_id = $1 AND line > $2 AND line <= $3 ORDER BY line", of, after, last)
	if err != nil {
		return nil, fmt.Errorf("read lines of an import: %w", err)
	}
	lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l staged, err error) {
		return l, row.Scan(&l.line, &l.sealed)
	})
	if err != nil {
		return nil, fmt.Errorf("read lines of an import: %w", err)
	}
	return lines, nil
}

// take removes the lines of a plan, or returns errElsewhere when they are not as many as they were.
func take(ctx context.Context, tx postgres.Tx, p *plan) error {
	tag, err := tx.Exec(ctx, "DELETE FROM import_lines WHERE import_id = $1 AND line BETWEEN $2 AND $3", p.imp.ID, p.lines[0], p.last())
	if err != nil {
		return fmt.Errorf("take lines of an import: %w", err)
	}
	if tag.RowsAffected() != int64(len(p.lines)) {
		return errElsewhere
	}
	return nil
}

// refusal is why a line was not taken.
type refusal struct {
	line  int64
	fault *fault.Error
}

func reject(ctx context.Context, tx postgres.Tx, of id.ID, refused []refusal) error {
	if len(refused) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"import_errors"}, []string{"import_id", "line", "code", "errors"},
		pgx.CopyFromSlice(len(refused), func(i int) ([]any, error) {
			f := refused[i].fault
			fields := f.Fields
			if fields == nil {
				fields = []fault.Field{{Code: f.Code, Detail: f.Detail}}
			}
			errs, err := json.Marshal(fields)
			return []any{of, refused[i].line, f.Code, string(errs)}, err
		}))
	if err != nil {
		return fmt.Errorf("copy errors of lines: %w", err)
	}
	return nil
}

// rejected reads the errors behind a line, in the order of lines.
func rejected(ctx context.Context, db postgres.DB, of id.ID, after int64, most int) ([]Rejection, error) {
	rows, err := db.Query(ctx, `
		SELECT line, code, errors FROM import_errors WHERE import_id = $1 AND line > $2 ORDER BY line LIMIT $3`, of, after, most)
	if err != nil {
		return nil, fmt.Errorf("read errors of an import: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Rejection, err error) {
		var errs []byte
		if err := row.Scan(&r.Line, &r.Code, &errs); err != nil {
			return r, err
		}
		return r, json.Unmarshal(errs, &r.Errors)
	})
	if err != nil {
		return nil, fmt.Errorf("read errors of an import: %w", err)
	}
	return found, nil
}

// advance adds what a batch did. One that has failed meanwhile stays so.
func advance(ctx context.Context, tx postgres.Tx, of id.ID, did tally) error {
	_, err := tx.Exec(ctx, `
		UPDATE imports SET processed = processed + $2, created = created + $3, updated = updated + $4, skipped = skipped + $5, failed = failed + $6,
			status = CASE status WHEN 'waiting' THEN 'running' ELSE status END
		WHERE id = $1`, of, did.sum(), did.created, did.updated, did.skipped, did.failed)
	if err != nil {
		return fmt.Errorf("advance import: %w", err)
	}
	return nil
}

// finish says whether the import, which is locked, is over; it is when no line waits.
func finish(ctx context.Context, tx postgres.Tx, of id.ID) (ended bool, err error) {
	err = tx.QueryRow(ctx, `
		WITH ended AS (
			UPDATE imports SET status = 'done', finished_at = now()
			WHERE id = $1 AND status IN ('waiting', 'running') AND NOT EXISTS (SELECT FROM import_lines WHERE import_id = $1)
			RETURNING id
		)
		SELECT EXISTS (SELECT FROM ended) OR EXISTS (SELECT FROM imports WHERE id = $1 AND status IN ('done', 'failed'))`, of).Scan(&ended)
	if err != nil {
		return false, fmt.Errorf("finish import: %w", err)
	}
	return ended, nil
}

// fail ends an import before its end. What waits is dropped.
func fail(ctx context.Context, db postgres.DB, of id.ID, reason string) error {
	_, err := db.Exec(ctx, `
		WITH dropped AS (DELETE FROM import_lines WHERE import_id = $1)
		UPDATE imports SET status = 'failed', reason = $2, finished_at = now() WHERE id = $1 AND status <> 'done'`, of, reason)
	if err != nil {
		return fmt.Errorf("fail import: %w", err)
	}
	return nil
}

// Sweep removes what was never received to its end, an hour after its last line, and what ended 30 days ago.
func (s *Service) Sweep(ctx context.Context) error {
	_, err := s.DB.Exec(ctx, `
		DELETE FROM imports WHERE status = 'receiving' AND received_at < now() - interval '1 hour' OR finished_at < now() - interval '30 days'`)
	if err != nil {
		return fmt.Errorf("sweep imports: %w", err)
	}
	return nil
}

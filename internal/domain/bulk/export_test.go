package bulk

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Batch works the next lines of an import.
func Batch(s *Service, ctx context.Context, of id.ID) (ended bool, err error) {
	for {
		imp, err := get(ctx, s.DB, of, "")
		if err != nil {
			return false, err
		}
		waits, err := waiting(ctx, s.DB, of, 0, s.Limits.Batch, batchBytes)
		if err != nil {
			return false, err
		}
		if len(waits) == 0 {
			return s.finish(ctx, of)
		}
		p, err := s.plan(imp, waits)
		if err != nil {
			return false, err
		}
		if ended, err := s.work(ctx, p); !errors.Is(err, errElsewhere) {
			return ended, err
		}
	}
}

// Run works batches for one turn.
var Run = (*Service).run

// Parse reads one line.
var Parse = parse

// Advance counts a line that was skipped.
func Advance(ctx context.Context, tx postgres.Tx, of id.ID) error {
	return advance(ctx, tx, of, tally{skipped: 1})
}

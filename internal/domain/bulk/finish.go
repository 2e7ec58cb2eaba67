package bulk

import (
	"context"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// finishTries is how often in a row the database may have no time for Finish.
const finishTries = 10

// Finish works an import that has begun to its end, as its job does, and beside it: it is for the command line, which may
// stand alone. When it ends early, the job goes on where a service runs.
func (s *Service) Finish(ctx context.Context, of id.ID) error {
	for failed := 0; ; {
		ended, err := s.run(ctx, of)
		switch {
		case ended:
			return err
		case err == nil:
			failed = 0
		case ctx.Err() != nil || failed == finishTries || postgres.Classify(err) == nil:
			return err
		default:
			failed++ // such as a lock that the job has held for too long
		}
	}
}

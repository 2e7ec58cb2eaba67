package bulk

import (
	"context"
	"errors"
	"time"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const (
	batchLines = 200
	turn       = 15 * time.Second // of one attempt, well within its 25 s; then others have theirs
)

// Work registers the job.
func (s *Service) Work(c *jobs.Client) {
	jobs.Handle(c, func(ctx context.Context, j jobs.Job[job]) error {
		ended, err := s.run(ctx, j.Args.Import)
		switch {
		case err != nil && j.Last && ctx.Err() == nil:
			return errors.Join(err, fail(ctx, s.DB, j.Args.Import, "internal_error"))
		case err != nil:
			return err
		case !ended:
			return jobs.Snooze(time.Millisecond)
		}
		return nil
	})
}

func (s *Service) run(ctx context.Context, of id.ID) (ended bool, err error) {
	for began := time.Now(); !ended && err == nil && time.Since(began) < turn; {
		ended, err = s.batch(ctx, of)
	}
	return ended, err
}

// batch works the next lines. They leave the table in the transaction of what they did, under a lock on the import: two
// workers take turns, and a killed one has done nothing.
func (s *Service) batch(ctx context.Context, of id.ID) (ended bool, err error) {
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		imp, err := get(ctx, tx, of, " FOR UPDATE")
		if errors.Is(err, fault.ErrNotFound) || err == nil && (imp.Status == Done || imp.Status == Failed) {
			ended = true // whoever began it was erased, or a repetition came late
			return nil
		}
		if err != nil {
			return err
		}
		by, err := s.caller(ctx, tx, imp.by)
		if f := fault.As(err); f != nil {
			ended = true
			return fail(ctx, tx, of, f.Code)
		}
		if err != nil {
			return err
		}
		lines, err := take(ctx, tx, of, batchLines)
		if err != nil {
			return err
		}
		var did tally
		for _, l := range lines {
			if err := s.one(ctx, tx, by, imp, l, &did); err != nil {
				return err
			}
		}
		ended = len(lines) < batchLines
		return advance(ctx, tx, of, did, ended)
	})
	return ended, err
}

// caller is who began the import, with the rights of this moment. The fault says that they no longer suffice.
func (s *Service) caller(ctx context.Context, tx postgres.Tx, by actor.Actor) (actor.Actor, error) {
	if by.Kind == actor.System {
		return actor.Service(by.Label), nil
	}
	u, err := user.FindOne(ctx, tx, by.UserID)
	if err != nil {
		return by, err
	}
	if u.Status != user.Active {
		return by, actor.Denied(account.ImportPermission)
	}
	if err := s.Authorizer.CheckOwn(ctx, tx, by, actor.Permissions{account.ImportPermission}); err != nil {
		return by, err
	}
	if by.Kind == actor.APIKey {
		by.Permissions = actor.Permissions{account.ImportPermission} // roles need a session
		return by, nil
	}
	by.Permissions, err = s.Authorizer.Effective(ctx, tx, by.UserID, nil)
	return by, err
}

// one works a line, in a savepoint. What is wrong with it is its own affair; any other error is the batch's.
func (s *Service) one(ctx context.Context, tx postgres.Tx, by actor.Actor, imp *Import, l staged, did *tally) error {
	text, err := s.Ring.Open(sealPurpose, bound(imp.ID, l.line), l.sealed)
	if err != nil {
		return err
	}
	outcome := account.Outcome("")
	n, err := parse(text)
	if err == nil {
		err = tx.Try(ctx, !imp.DryRun, func(ctx context.Context, tx postgres.Tx) (err error) {
			outcome, err = s.Accounts.Import(ctx, tx, by, n, imp.OnConflict == Update)
			return err
		})
	}
	if f := fault.As(err); f != nil && f.Kind != fault.Unavailable {
		did.failed++
		return reject(ctx, tx, imp.ID, l.line, f)
	}
	did.add(outcome)
	return err
}

// tally counts what became of lines.
type tally struct{ created, updated, skipped, failed int64 }

func (t *tally) add(o account.Outcome) {
	switch o {
	case account.Created:
		t.created++
	case account.Updated:
		t.updated++
	case account.Skipped:
		t.skipped++
	}
}

func (t *tally) sum() int64 { return t.created + t.updated + t.skipped + t.failed }

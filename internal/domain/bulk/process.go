package bulk

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// A batch is worked in one transaction. It is bounded in bytes as well: memory does not grow with the lines.
const (
	batchLines = 500
	batchBytes = 512 << 10
	turn       = 15 * time.Second // of one attempt, well within its 25 s; then others have theirs
)

// errElsewhere: somebody else has worked lines of the batch.
var errElsewhere = errors.New("lines of the import were worked elsewhere")

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

// run works batches until none is left, or the turn ends. Of an import that updates nothing, several are worked at once as
// long as they are about different accounts, so that each line ends as if the lines came one after the other.
func (s *Service) run(ctx context.Context, of id.ID) (ended bool, err error) {
	imp, err := get(ctx, s.DB, of, "")
	if errors.Is(err, fault.ErrNotFound) {
		return true, nil // whoever began it was erased
	}
	if err != nil {
		return false, err
	}
	workers := min(max(runtime.GOMAXPROCS(0), 2), 3) // more take more memory than an import may
	if imp.OnConflict == Update {
		workers = 1
	}
	l := &lane{s: s, imp: imp, until: time.Now().Add(turn)}
	group, gctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error { return l.work(gctx) })
	}
	if err := group.Wait(); err != nil || !l.emptied {
		return l.ended, err
	}
	return s.finish(ctx, of)
}

// work works a batch. Its lines leave the table in the transaction of what they did: a worker that is killed has done
// nothing, and one that comes second finds them gone. ended says that the import is over.
func (s *Service) work(ctx context.Context, p *plan) (ended bool, err error) {
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		// Nobody removes it meanwhile; others may count what they did.
		imp, err := get(ctx, tx, p.imp.ID, " FOR KEY SHARE")
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
			return fail(ctx, tx, imp.ID, f.Code)
		}
		if err != nil {
			return err
		}
		if err := take(ctx, tx, p); err != nil {
			return err
		}
		var did tally
		if err := s.settle(ctx, tx, by, p, &did); err != nil {
			return err
		}
		return advance(ctx, tx, imp.ID, did)
	})
	return ended, err
}

// finish ends an import of which no line waits.
func (s *Service) finish(ctx context.Context, of id.ID) (ended bool, err error) {
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if _, err := get(ctx, tx, of, " FOR UPDATE"); err != nil { // whoever works lines holds it
			return err
		}
		ended, err = finish(ctx, tx, of)
		return err
	})
	if errors.Is(err, fault.ErrNotFound) {
		return true, nil
	}
	return ended, err
}

// settle decides about each line of a batch: about most together, about the rest in their order.
func (s *Service) settle(ctx context.Context, tx postgres.Tx, by actor.Actor, p *plan, did *tally) error {
	update := p.imp.OnConflict == Update
	var results []account.Result
	err := tx.Try(ctx, !p.imp.DryRun, func(ctx context.Context, tx postgres.Tx) (err error) {
		results, err = s.Accounts.ImportMany(ctx, tx, by, p.candidates, update)
		return err
	})
	if err != nil {
		return err
	}
	var refused []refusal
	for i, r := range results {
		if r.Open() {
			r.Fault = tx.Try(ctx, !p.imp.DryRun, func(ctx context.Context, tx postgres.Tx) (err error) {
				r.Outcome, err = s.Accounts.Import(ctx, tx, by, p.candidates[i], update)
				return err
			})
		}
		if f := fault.As(r.Fault); f != nil && f.Kind != fault.Unavailable {
			did.failed++
			refused = append(refused, refusal{p.lines[i], f})
			continue
		}
		if r.Fault != nil {
			return r.Fault // what is wrong with a line is its own affair; any other error is the batch's
		}
		did.add(r.Outcome)
	}
	return reject(ctx, tx, p.imp.ID, refused)
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
		switch err := s.Authorizer.CheckOwn(ctx, tx, by, actor.Permissions{profile.WritePermission}); {
		case err == nil:
			by.Permissions = append(by.Permissions, profile.WritePermission)
		case fault.As(err) == nil:
			return by, err
		}
		return by, nil
	}
	by.Permissions, err = s.Authorizer.Effective(ctx, tx, by.UserID, nil)
	return by, err
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

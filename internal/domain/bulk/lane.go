package bulk

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/user-management-service/ums/internal/domain/account"
)

// lane is what the workers of one import share. They take batches in the order of the lines and prepare them side by side;
// each waits for those before it that are about one of its accounts.
type lane struct {
	s     *Service
	imp   *Import
	until time.Time // no batch is begun later

	mu      sync.Mutex // held while lines are read
	after   int64
	flying  []*flight // in their order
	emptied bool      // no line is left
	ended   bool      // the import is over, whatever is left
	astray  bool      // somebody else works lines too
}

// flight is a batch that is under way.
type flight struct {
	before      []*flight
	known, done chan struct{}
	claims      account.Claims // once known
}

// work works batches until there is none. An error ends the lane: the context stops whoever else is in it.
func (l *lane) work(ctx context.Context) error {
	for {
		waits, f, err := l.next(ctx)
		if err != nil || f == nil {
			return err
		}
		p, err := l.s.plan(l.imp, waits)
		if err != nil {
			return err
		}
		if err := f.clear(ctx, account.ClaimsOf(p.candidates)); err != nil {
			return err
		}
		ended, err := l.s.work(ctx, p)
		if err != nil && !errors.Is(err, errElsewhere) {
			return err
		}
		l.land(f, ended, err != nil)
	}
}

// next reads the next lines; no flight: there is none to begin.
func (l *lane) next(ctx context.Context) ([]staged, *flight, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.emptied || l.ended || l.astray || time.Now().After(l.until) {
		return nil, nil, nil
	}
	waits, err := waiting(ctx, l.s.DB, l.imp.ID, l.after, l.s.Limits.Batch, batchBytes)
	if err != nil {
		return nil, nil, err
	}
	if len(waits) == 0 {
		l.emptied = true
		return nil, nil, nil
	}
	l.after = waits[len(waits)-1].line
	f := &flight{before: slices.Clone(l.flying), known: make(chan struct{}), done: make(chan struct{})}
	l.flying = append(l.flying, f)
	return waits, f, nil
}

// clear makes known what the batch is about and waits until it may be worked.
func (f *flight) clear(ctx context.Context, claims account.Claims) error {
	f.claims = claims
	close(f.known)
	for _, b := range f.before {
		if err := await(ctx, b.known); err != nil {
			return err
		}
		if !b.claims.Overlap(claims) {
			continue
		}
		if err := await(ctx, b.done); err != nil {
			return err
		}
	}
	f.before = nil
	return nil
}

func await(ctx context.Context, happens <-chan struct{}) error {
	select {
	case <-happens:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *lane) land(f *flight, ended, astray bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(f.done)
	l.flying = slices.DeleteFunc(l.flying, func(other *flight) bool { return other == f })
	l.ended, l.astray = l.ended || ended, l.astray || astray
}

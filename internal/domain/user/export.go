package user

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/page"
)

// exportBatch is how many accounts an export reads at once.
const exportBatch = 500

// Export records that the caller takes accounts out of the service, and returns what reads the next of them; none is the
// end. For callers with users:export, who need no users:read. Of the filter After and Limit do not count, and the order
// is by creation: in another one accounts could be missed or seen twice. All that can be refused has been when it
// returns, a short term among it, which a list refuses only on the page where it would take too long.
func (s *Service) Export(ctx context.Context, by actor.Actor, f Filter) (next func(context.Context) ([]*User, error), err error) {
	if !by.May(ExportPermission) {
		return nil, actor.Denied(ExportPermission)
	}
	f.Sort = page.Sort{Field: DefaultSort.Field, Descending: f.Sort.Descending}
	f.After, f.Limit = nil, exportBatch
	if err := f.prepare(); err != nil {
		return nil, err
	}
	if f.Search != "" && f.emailNorm == "" && !Searchable(f.Search) {
		return nil, ErrShortSearch
	}
	err = audit.Record(ctx, s.db, by, audit.Event{Action: "user.bulk_export", Outcome: audit.Success, Target: audit.Target{Type: "user"}})
	if err != nil {
		return nil, err
	}
	ended := false
	return func(ctx context.Context) ([]*User, error) {
		if ended {
			return nil, nil
		}
		batch, err := list(ctx, s.db, f)
		if err != nil {
			return nil, err
		}
		if ended = len(batch) < f.Limit; !ended {
			last := batch[len(batch)-1]
			f.after = &position{present: true, value: last.CreatedAt, id: last.ID}
		}
		return batch, nil
	}, nil
}

package profile

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Draft is the profile of an account that is being made. Its values are checked.
type Draft struct {
	profile Profile
	changes map[string]audit.Change
}

// Draft checks a whole profile as Replace does. It asks no database.
func (s *Service) Draft(c Changes) (*Draft, error) {
	empty := Profile{Visibility: Private, Attributes: []byte("{}")}
	d := &Draft{profile: empty}
	if err := d.profile.apply(c, s.clock.Now(), empty.Attributes, s.schema); err != nil {
		return nil, err
	}
	d.changes = differences(empty, d.profile)
	return d, nil
}

// Empty says whether the profile says nothing: then it has no row, and leaves no event.
func (d *Draft) Empty() bool { return d == nil || len(d.changes) == 0 }

// Of gives the profile to its account, which the log names by label, and returns the event of it.
func (d *Draft) Of(owner id.ID, label string) audit.Event {
	d.profile.UserID = owner
	return updated(owner, label, d.changes)
}

// InsertMany writes the profiles of accounts that tx has made; none of them is Empty. The caller has asked for
// profiles:write and records the events. One statement.
func InsertMany(ctx context.Context, tx postgres.Tx, drafts []*Draft) error {
	if len(drafts) == 0 {
		return nil
	}
	return copyNew(ctx, tx, drafts)
}

// Merge is Update in a transaction of the caller's, for callers with profiles:write. It says whether anything changed.
func (s *Service) Merge(ctx context.Context, tx postgres.Tx, by actor.Actor, owner id.ID, c Changes) (bool, error) {
	if !by.May(WritePermission) {
		return false, actor.Denied(WritePermission)
	}
	_, changed, err := s.changeIn(ctx, tx, by, owner, nil, func(*Profile) {}, c)
	return changed, err
}

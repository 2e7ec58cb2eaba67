package profile

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

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

// Compose returns the profile that these changes make of an empty one, or what is wrong with it, all of it, as Replace
// does. It asks no database.
func (s *Service) Compose(owner id.ID, c Changes) (*Profile, error) {
	// Its first row is version 2, as save has it.
	p := &Profile{UserID: owner, Visibility: Private, Attributes: jsontext.Value("{}"), Version: 2}
	if err := p.apply(c, s.clock.Now(), p.Attributes, s.schema); err != nil {
		return nil, err
	}
	return p, nil
}

// Draft is Compose for an account that has no id yet.
func (s *Service) Draft(c Changes) (*Draft, error) {
	p, err := s.Compose(id.Nil, c)
	if err != nil {
		return nil, err
	}
	return &Draft{profile: *p, changes: differences(Profile{Visibility: Private, Attributes: jsontext.Value("{}")}, *p)}, nil
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
	profiles := make([]*Profile, len(drafts))
	for i, d := range drafts {
		profiles[i] = &d.profile
	}
	return Restore(ctx, tx, profiles)
}

// Merge is Update in a transaction of the caller's, for callers with profiles:write. It says whether anything changed.
func (s *Service) Merge(ctx context.Context, tx postgres.Tx, by actor.Actor, owner id.ID, c Changes) (bool, error) {
	if !by.May(WritePermission) {
		return false, actor.Denied(WritePermission)
	}
	_, changed, err := s.changeIn(ctx, tx, by, owner, nil, func(*Profile) {}, c)
	return changed, err
}

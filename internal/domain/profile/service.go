package profile

import (
	"context"
	"reflect"
	"regexp"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/text"
)

// Service reads and changes profiles for callers.
type Service struct {
	db         *postgres.Pool
	authorizer role.Authorizer
	clock      clock.Clock
	schema     *Schema
}

// NewService works on db. The clock says what day it is: nobody is born tomorrow. Without a schema attributes are free.
func NewService(db *postgres.Pool, authorizer role.Authorizer, c clock.Clock, schema *Schema) *Service {
	return &Service{db: db, authorizer: authorizer, clock: c, schema: schema}
}

// own says whether the caller may do this to the profile because it is his own: in a session, or with a key that has
// the permission of the owner's kind.
func own(by actor.Actor, owner id.ID, permission string) bool {
	return by.Is(owner) && (by.Kind == actor.User || by.May(permission))
}

// Get returns one's own profile, or the part of another's that the caller may see: all of it with profiles:read, else
// the public part of a public profile of an active account. Everything else does not exist for him.
func (s *Service) Get(ctx context.Context, by actor.Actor, owner id.ID) (*Profile, error) {
	r, err := find(ctx, s.db, owner)
	if err != nil {
		return nil, err
	}
	return r.seenBy(by)
}

func (r *row) seenBy(by actor.Actor) (*Profile, error) {
	switch {
	case own(by, r.UserID, "me:read"), by.May(ReadPermission):
		r.Whole = true
		return &r.Profile, nil
	case r.Visibility == Public && r.status == user.Active:
		return r.publicPart(), nil
	}
	return nil, actor.NotFound()
}

// Update merges the changes into a profile: one's own, or any with profiles:write.
func (s *Service) Update(ctx context.Context, by actor.Actor, owner id.ID, c Changes, ifMatch *int64) (*Profile, error) {
	return s.change(ctx, by, owner, ifMatch, func(*Profile) {}, c)
}

// Replace sets every field of a profile: what c lacks becomes empty, but for the avatar.
func (s *Service) Replace(ctx context.Context, by actor.Actor, owner id.ID, c Changes, ifMatch *int64) (*Profile, error) {
	return s.change(ctx, by, owner, ifMatch, func(p *Profile) {
		*p = Profile{UserID: p.UserID, Visibility: Private, Attributes: []byte("{}"), Avatar: p.Avatar, UpdatedAt: p.UpdatedAt, Version: p.Version}
	}, c)
}

// Check returns what is wrong with changes by themselves, whatever the profile; nil when that depends on it.
func (s *Service) Check(c Changes) error {
	c.Attributes.Set = false // judged as a whole, merged
	return (&Profile{}).apply(c, s.clock.Now(), nil, s.schema)
}

func (s *Service) change(
	ctx context.Context, by actor.Actor, owner id.ID, ifMatch *int64, prepare func(*Profile), c Changes,
) (*Profile, error) {
	if !own(by, owner, "me:write") && !by.May(WritePermission) {
		return nil, actor.NotFound()
	}
	var changed *Profile
	err := s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		changed, _, err = s.changeIn(ctx, tx, by, owner, ifMatch, prepare, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// changeIn also says whether anything is other than before.
func (s *Service) changeIn(
	ctx context.Context, tx postgres.Tx, by actor.Actor, owner id.ID, ifMatch *int64, prepare func(*Profile), c Changes,
) (changed *Profile, some bool, err error) {
	r, err := lock(ctx, tx, owner)
	if err != nil {
		return nil, false, err
	}
	if !own(by, owner, "me:write") {
		if err := s.authorizer.CheckTarget(ctx, tx, by, owner); err != nil {
			return nil, false, err
		}
	}
	if ifMatch != nil && *ifMatch != r.Version {
		return nil, false, fault.ErrPrecondition
	}
	before := r.Profile
	after := before
	prepare(&after)
	if err := after.apply(c, s.clock.Now(), before.Attributes, s.schema); err != nil {
		return nil, false, err
	}
	after.Whole = true
	changes := differences(before, after)
	if len(changes) == 0 {
		return &after, false, nil
	}
	if err := save(ctx, tx, &after); err != nil {
		return nil, false, err
	}
	return &after, true, audit.Record(ctx, tx, by, updated(owner, r.label, changes))
}

func updated(owner id.ID, label string, changes map[string]audit.Change) audit.Event {
	return audit.Event{
		Action: "profile.update", Outcome: audit.Success, Changes: changes,
		Target: audit.Target{Type: "profile", ID: owner, Label: label, Owner: owner},
	}
}

// differences are the fields that changed, for the audit log.
func differences(a, b Profile) map[string]audit.Change {
	changes := map[string]audit.Change{}
	for _, f := range []struct {
		name     string
		from, to any
	}{
		{"given_name", a.GivenName, b.GivenName},
		{"family_name", a.FamilyName, b.FamilyName},
		{"nickname", a.Nickname, b.Nickname},
		{"bio", a.Bio, b.Bio},
		{"phone", a.Phone, b.Phone},
		{"website", a.Website, b.Website},
		{"birth_date", a.BirthDate, b.BirthDate},
		{"address", a.Address, b.Address},
		{"social_links", a.SocialLinks, b.SocialLinks},
		{"visibility", a.Visibility, b.Visibility},
	} {
		if !reflect.DeepEqual(f.from, f.to) {
			changes[f.name] = audit.Change{From: f.from, To: f.to}
		}
	}
	user.ObjectChange(changes, "attributes", a.Attributes, b.Attributes)
	return changes
}

// The bounds of a filter, in code points.
const (
	maxSearch         = 200
	maxAttributeName  = 64
	maxAttributeValue = 500
	maxFilters        = 2
)

var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?$`)

// Filter narrows a list; zero members do not.
type Filter struct {
	Search     string            // part of a name or nickname, in any case
	Attributes map[string]string // each equal to this text, or to the number, true or false that it spells
	After      *page.Position    // profiles behind this one; nil: from the start
	Limit      int
}

func (f Filter) narrow() bool { return f.Search != "" || len(f.Attributes) > 0 }

func (f Filter) check() error {
	var v fault.Validation
	if f.Search != "" {
		text.Line(&v, "query/search", f.Search, maxSearch)
	}
	for name, value := range f.Attributes {
		text.Line(&v, "query/attributes."+name, name, maxAttributeName)
		text.Line(&v, "query/attributes."+name, value, maxAttributeValue)
	}
	if err := v.Err(); err != nil {
		return err
	}
	if len(f.Attributes) > maxFilters {
		return errManyFilters
	}
	return nil
}

var errManyFilters = fault.New(fault.Invalid, "unsupported_filter", "Give at most two attributes beside search.")

// Listed is a profile in a list.
type Listed struct {
	*Profile
	createdAt time.Time
}

// Position is its place in the list, which goes by the account's creation.
func (l Listed) Position() page.Position { return page.Position{Time: l.createdAt, ID: l.UserID} }

// List returns at most f.Limit profiles, those of the newest accounts first: the public parts of public ones of active
// accounts, and everything of all with profiles:read, which filters by
// attributes need.
func (s *Service) List(ctx context.Context, by actor.Actor, f Filter) ([]Listed, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if len(f.Attributes) > 0 && !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission) // what one may not read, one may not ask for either
	}
	all := by.May(ReadPermission)
	rows, err := list(ctx, s.db, f, all)
	if err != nil {
		return nil, err
	}
	listed := make([]Listed, len(rows))
	for i, r := range rows {
		listed[i] = Listed{&r.Profile, r.createdAt}
		if r.Whole = all; !all {
			listed[i].Profile = r.publicPart()
		}
	}
	return listed, nil
}

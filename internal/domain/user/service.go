package user

import (
	"context"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/coalesce"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/text"
)

// Sorts are the fields that lists can go by; DefaultSort is newest first.
var (
	Sorts       = []string{"created_at", "email", "last_login_at"}
	DefaultSort = page.Sort{Field: "created_at", Descending: true}
)

const maxSearch = 200

// Service reads accounts, and changes what their owners may change. What an administrator does is in package account.
type Service struct {
	db   *postgres.Pool
	byID *coalesce.Loader[id.ID, *User]
}

// NewService works on db.
func NewService(db *postgres.Pool) *Service {
	return &Service{db: db, byID: coalesce.New(func(ctx context.Context, ids []id.ID) (map[id.ID]*User, error) {
		return Find(ctx, db, ids)
	})}
}

// Me returns the caller's own account: of a key, its owner's, for which it needs me:read or users:read.
func (s *Service) Me(ctx context.Context, by actor.Actor) (*User, error) {
	if by.Kind == actor.APIKey && !by.May("me:read") && !by.May(ReadPermission) {
		return nil, actor.Denied("me:read")
	}
	return s.get(ctx, by.UserID)
}

// Get returns an account, for callers with users:read. Reads of concurrent callers share a statement; each has been
// checked by himself.
func (s *Service) Get(ctx context.Context, by actor.Actor, user id.ID) (*User, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	return s.get(ctx, user)
}

func (s *Service) get(ctx context.Context, user id.ID) (*User, error) {
	u, found, err := s.byID.Load(ctx, user)
	if err != nil {
		return nil, err
	}
	if !found || u.ID != user {
		return nil, fault.ErrNotFound
	}
	return u, nil
}

// Filter narrows and orders a list; zero members do not narrow. Accounts that are being deleted appear when asked for
// by status alone.
type Filter struct {
	Email         string // exact, in any spelling of the same identity
	Status        Status
	Role          string // held at this moment
	Kind          Kind
	CreatedAfter  time.Time // exclusive
	CreatedBefore time.Time // exclusive
	Search        string    // part of the name or address, in any case
	Sort          page.Sort
	After         []string // SortKeys of the last row of the page before
	Limit         int

	emailNorm string
	after     *position
}

// List returns at most f.Limit accounts, in one statement; for callers with users:read.
func (s *Service) List(ctx context.Context, by actor.Actor, f Filter) ([]*User, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	if err := f.prepare(); err != nil {
		return nil, err
	}
	return list(ctx, s.db, f)
}

func (f *Filter) prepare() error {
	var v fault.Validation
	if f.Email != "" {
		_, norm, err := ParseEmail(f.Email)
		if err != nil {
			v.Add("query/email", "invalid_email", "Give one plain address such as name@example.org.")
		}
		f.emailNorm = norm
	}
	if f.Search != "" {
		text.Line(&v, "query/search", f.Search, maxSearch)
	}
	if f.Role != "" {
		text.Line(&v, "query/role", f.Role, 63)
	}
	if f.After != nil {
		var ok bool
		if f.after, ok = parsePosition(f.Sort, f.After); !ok {
			return page.ErrInvalidCursor
		}
	}
	if err := v.Err(); err != nil {
		return err
	}
	return f.servable()
}

// Total estimates how many accounts the filter leaves, whatever the page; for callers with users:read. It is what the
// planner expects, from samples: counting a million rows would cost more than it tells.
func (s *Service) Total(ctx context.Context, by actor.Actor, f Filter) (int64, error) {
	if !by.May(ReadPermission) {
		return 0, actor.Denied(ReadPermission)
	}
	f.After = nil
	if err := f.prepare(); err != nil {
		return 0, err
	}
	return estimate(ctx, s.db, f)
}

// UpdateMe changes the caller's own account. A key needs me:write.
func (s *Service) UpdateMe(ctx context.Context, by actor.Actor, c Changes, ifMatch *int64) (*User, error) {
	if by.Kind == actor.APIKey && !by.May("me:write") {
		return nil, actor.Denied("me:write")
	}
	var u *User
	err := s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if u, err = Lock(ctx, tx, by.UserID); err != nil {
			return err
		}
		if ifMatch != nil && *ifMatch != u.Version {
			return fault.ErrPrecondition
		}
		return Apply(ctx, tx, by, u, AdminChanges{Changes: c}, nil)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// Apply changes an account that the caller has locked and may change, and records it. A change that changes nothing
// leaves no trace. invalid are faults of the same input that the caller has found already, or nil: they are told with
// these.
func Apply(ctx context.Context, tx postgres.Tx, by actor.Actor, u *User, c AdminChanges, invalid error) error {
	changes, err := u.apply(c, invalid)
	if err != nil || len(changes) == 0 {
		return err
	}
	if err := save(ctx, tx, u); err != nil {
		return err
	}
	return audit.Record(ctx, tx, by, audit.Event{
		Action: "user.update", Outcome: audit.Success, Target: u.Target(), Changes: changes,
	})
}

// Check returns what is wrong with changes by themselves, whatever the account, and the faults in invalid, as Apply; nil
// when that depends on it.
func Check(c AdminChanges, invalid error) error {
	c.Metadata.Set, c.AppMetadata.Set = false, false // judged as a whole, merged
	_, err := (&User{Kind: Human}).apply(c, invalid)
	return err
}

// Target is the account as the audit log names it.
func (u *User) Target() audit.Target {
	return audit.Target{Type: "user", ID: u.ID, Label: u.Label(), Owner: u.ID}
}

// apply makes the changes in memory and returns those that are some; u is in no state to be used when it fails.
func (u *User) apply(c AdminChanges, invalid error) (map[string]audit.Change, error) {
	var v fault.Validation
	if f := fault.As(invalid); f != nil {
		for _, field := range f.Fields {
			v.Add(field.Pointer, field.Code, field.Detail)
		}
	}
	changes := map[string]audit.Change{}
	line := func(name string, current **string, set bool, value *string, check func(v *fault.Validation, pointer, s string)) {
		if !set {
			return
		}
		if value != nil {
			check(&v, "/"+name, *value)
		}
		if !same(*current, value) {
			changes[name] = audit.Change{From: *current, To: value}
			*current = value
		}
	}
	if c.Locale.Set && !c.Locale.Null {
		c.Locale.Value = ParseLocale(&v, "/locale", c.Locale.Value)
	}
	line("display_name", &u.DisplayName, c.DisplayName.Set, c.DisplayName.Pointer(), CheckDisplayName)
	line("locale", &u.Locale, c.Locale.Set, c.Locale.Pointer(), func(*fault.Validation, string, string) {})
	line("timezone", &u.Timezone, c.Timezone.Set, c.Timezone.Pointer(), checkTimezone)
	line("external_id", &u.ExternalID, c.ExternalID.Set, c.ExternalID.Pointer(), CheckExternalID)
	if u.Kind == Program && u.DisplayName == nil {
		v.Add("/display_name", "required", "A service account needs a name.")
	}
	if c.Metadata.Set {
		after := MergeObject(&v, "/metadata", u.Metadata, c.Metadata)
		ObjectChange(changes, "metadata", u.Metadata, after)
		u.Metadata = after
	}
	if c.AppMetadata.Set {
		after := MergeObject(&v, "/app_metadata", u.AppMetadata, c.AppMetadata)
		ObjectChange(changes, "app_metadata", u.AppMetadata, after)
		u.AppMetadata = after
	}
	return changes, v.Err()
}

package account

import (
	"context"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// ImportPermission is what importing needs.
const ImportPermission = "users:import"

// ErrAmbiguous refuses an import whose address is one account's and whose external id is another's.
var ErrAmbiguous = fault.New(fault.Conflict, "ambiguous_account", "The address belongs to one account and the external id to another.")

// Imported is an account that comes from another program.
type Imported struct {
	New                           // without Password and SendInvite
	PasswordHash string           // of any scheme that password.ParseForeign takes; empty: none
	CreatedAt    *time.Time       // nil: now
	Suspended    bool             // it may not sign in; for the service's command line alone
	Profile      *profile.Changes // what it has is set; nil: none. Needs profiles:write
}

// Outcome is what became of an imported account.
type Outcome string

// The outcomes.
const (
	Created Outcome = "created"
	Updated Outcome = "updated"
	Skipped Outcome = "skipped" // it is there already
)

// Candidate is an imported account that has been checked, with the events that making it will leave. It asks no database,
// so that many can be prepared while others are being written.
type Candidate struct {
	in      Imported
	draft   user.Draft
	profile *profile.Draft
	entries []audit.Entry
	fault   error // what is wrong with it: then it has nothing else
}

// Candidate checks an imported account.
func (s *Service) Candidate(by *audit.Author, n Imported) (*Candidate, error) {
	draft, filled, err := s.imported(n)
	if f := fault.As(err); f != nil {
		return Refused(f), nil
	}
	if err != nil {
		return nil, err
	}
	draft.ID = id.New()
	c := &Candidate{in: n, draft: draft, profile: filled}
	made := newborn(draft, n.Roles)
	events := []audit.Event{Creation(made)}
	if !filled.Empty() {
		events = append(events, filled.Of(draft.ID, made.Label()))
	}
	for _, e := range events {
		entry, err := by.Entry(e)
		if err != nil {
			return nil, err
		}
		c.entries = append(c.entries, entry)
	}
	return c, nil
}

// Refused is a candidate of which it is known already that it will not do.
func Refused(f *fault.Error) *Candidate { return &Candidate{fault: f} }

// newborn is a draft's account as readers will see it.
func newborn(d user.Draft, roles []string) *user.User {
	u := &user.User{
		ID: d.ID, Kind: d.Kind, EmailVerified: d.EmailVerified, DisplayName: d.DisplayName, Locale: d.Locale, ExternalID: d.ExternalID,
		Status: d.Status, Metadata: d.Metadata, AppMetadata: d.AppMetadata, Roles: []string{},
	}
	if d.Email != "" {
		u.Email = &d.Email
	}
	if d.Metadata == nil {
		u.Metadata = jsontext.Value("{}")
	}
	if d.AppMetadata == nil {
		u.AppMetadata = jsontext.Value("{}")
	}
	for _, name := range roles {
		if name != role.UserName { // everyone's, of which no assignment tells
			u.Roles = append(u.Roles, name)
		}
	}
	if d.Kind == user.Human && d.Status != user.Pending {
		u.Roles = append(u.Roles, role.UserName)
	}
	slices.Sort(u.Roles)
	u.Roles = slices.Compact(u.Roles)
	return u
}

// imported returns what an imported account is made from, or what is wrong with it, all of it. It asks no database and
// hashes nothing.
func (s *Service) imported(n Imported) (user.Draft, *profile.Draft, error) {
	var v fault.Validation
	add := func(at string, err error) error {
		f := fault.As(err)
		if f == nil {
			return err
		}
		for _, field := range f.Fields {
			v.Add(at+field.Pointer, field.Code, field.Detail)
		}
		return nil
	}
	draft, err := s.draft(n.New)
	if err := add("", err); err != nil {
		return draft, nil, err
	}
	if n.Suspended {
		draft.Status = user.Suspended
	}
	if n.PasswordHash != "" {
		switch {
		case n.Kind == user.Program:
			v.Add("/password_hash", "not_allowed", "A service account has none: it works with API keys alone.")
		case !n.EmailVerified:
			// Else whoever registered a foreign address there would hold the account of its owner here.
			v.Add("/password_hash", "invalid_combination", "A password comes with a verified address only; without one its owner sets another.")
		case password.ParseForeign(n.PasswordHash) != nil:
			v.Add("/password_hash", "unsupported_hash", "No scheme that is accepted, or costs beyond its bounds.")
		default:
			draft.PasswordHash = &n.PasswordHash
		}
	}
	if n.CreatedAt != nil {
		at := n.CreatedAt.UTC().Truncate(time.Millisecond)
		if at.After(s.Clock.Now()) || at.Year() < 1970 {
			v.Add("/created_at", "out_of_range", "Give a time since 1970 that is past.")
		}
		draft.CreatedAt = &at
	}
	var filled *profile.Draft
	if n.Profile != nil {
		filled, err = s.Profiles.Draft(*n.Profile)
		if err := add("/profile", err); err != nil {
			return draft, nil, err
		}
	}
	return draft, filled, v.Err()
}

// Import makes the account in tx unless its address or external id is there already: then it is left alone, or with
// update gets the names, locale, metadata and members of the profile that were given, and never an address, password, role
// or status. Nobody is mailed: one whose address is not vouched for is pending until its owner proves it. Needs
// users:import, for roles what Create needs, and for a profile profiles:write. The faults are Create's, profile's and
// ErrAmbiguous; a failed statement ends tx. ImportMany does the same for many.
func (s *Service) Import(ctx context.Context, tx postgres.Tx, by actor.Actor, c *Candidate, update bool) (Outcome, error) {
	if err := c.allowed(by); err != nil {
		return "", err
	}
	there, err := user.Claimants(ctx, tx, []user.Claim{c.claim()})
	if err != nil {
		return "", err
	}
	switch known := there[0]; {
	case len(known) > 1:
		return "", ErrAmbiguous
	case len(known) == 1 && !update:
		return Skipped, nil
	case len(known) == 1:
		return s.again(ctx, tx, by, known[0], c.in)
	}
	of, err := user.Insert(ctx, tx, c.draft)
	if err != nil {
		return "", err
	}
	if err := s.Authorizer.GrantNames(ctx, tx, by, of, "/roles", c.in.Roles); err != nil {
		return "", err
	}
	if !c.profile.Empty() {
		if err := profile.InsertMany(ctx, tx, []*profile.Draft{c.profile}); err != nil {
			return "", err
		}
	}
	return Created, audit.Append(ctx, tx, c.entries)
}

func (c *Candidate) claim() user.Claim {
	return user.Claim{EmailNorm: c.draft.EmailNorm, ExternalID: orEmpty(c.draft.ExternalID)}
}

// allowed returns why it is not taken, as far as no database has to be asked.
func (c *Candidate) allowed(by actor.Actor) error {
	switch {
	case !by.May(ImportPermission):
		return actor.Denied(ImportPermission)
	case c.fault != nil:
		return c.fault
	case c.in.Suspended && by.Kind != actor.System:
		return fault.InvalidField("/suspended", "not_allowed", "Only the service's command line sets it; suspend the account when it is there.")
	case c.in.Profile != nil && !by.May(profile.WritePermission):
		return actor.Denied(profile.WritePermission)
	}
	return nil
}

// again is an import of an account that is there.
func (s *Service) again(ctx context.Context, tx postgres.Tx, by actor.Actor, of id.ID, n Imported) (Outcome, error) {
	u, err := s.lock(ctx, tx, by, of, nil)
	if err != nil {
		return "", err
	}
	before := u.Version
	if err := user.Apply(ctx, tx, by, u, importedChanges(n), nil); err != nil {
		return "", err
	}
	changed := u.Version != before
	if n.Profile != nil {
		more, err := s.Profiles.Merge(ctx, tx, by, of, *n.Profile)
		if err != nil {
			return "", err
		}
		changed = changed || more
	}
	if !changed {
		return Skipped, nil
	}
	return Updated, nil
}

func importedChanges(n Imported) user.AdminChanges {
	var c user.AdminChanges
	c.DisplayName, c.Locale, c.ExternalID = patch.Of(n.DisplayName), patch.Of(n.Locale), patch.Of(n.ExternalID)
	if n.Metadata != nil {
		c.Metadata = patch.To[jsontext.Value](n.Metadata)
	}
	if n.AppMetadata != nil {
		c.AppMetadata = patch.To[jsontext.Value](n.AppMetadata)
	}
	return c
}

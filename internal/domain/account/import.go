package account

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
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
	New                     // without Password and SendInvite
	PasswordHash string     // of any scheme that password.ParseForeign takes; empty: none
	CreatedAt    *time.Time // nil: now
}

// Outcome is what became of an imported account.
type Outcome string

// The outcomes.
const (
	Created Outcome = "created"
	Updated Outcome = "updated"
	Skipped Outcome = "skipped" // it is there already
)

// CheckImport returns what is wrong with an imported account, all of it, or nil. It asks no database and hashes nothing.
func (s *Service) CheckImport(n Imported) error {
	_, err := s.imported(n)
	return err
}

func (s *Service) imported(n Imported) (user.Draft, error) {
	draft, err := s.draft(n.New)
	var v fault.Validation
	if f := fault.As(err); f != nil {
		for _, field := range f.Fields {
			v.Add(field.Pointer, field.Code, field.Detail)
		}
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
	return draft, v.Err()
}

// Import makes the account in tx unless its address or external id is there already: then it is left alone, or with
// update gets the names, locale and metadata that were given, and never an address, password, role or status. Nobody is
// mailed: one whose address is not vouched for is pending until its owner proves it. Needs users:import, and for roles
// what Create needs. The faults are Create's and ErrAmbiguous; a failed statement ends tx.
func (s *Service) Import(ctx context.Context, tx postgres.Tx, by actor.Actor, n Imported, update bool) (Outcome, error) {
	if !by.May(ImportPermission) {
		return "", actor.Denied(ImportPermission)
	}
	draft, err := s.imported(n)
	if err != nil {
		return "", err
	}
	there, err := user.Claimants(ctx, tx, draft.EmailNorm, orEmpty(draft.ExternalID))
	if err != nil {
		return "", err
	}
	switch {
	case len(there) > 1:
		return "", ErrAmbiguous
	case len(there) == 1 && !update:
		return Skipped, nil
	case len(there) == 1:
		u, err := s.lock(ctx, tx, by, there[0], nil)
		if err != nil {
			return "", err
		}
		before := u.Version
		if err := user.Apply(ctx, tx, by, u, importedChanges(n), nil); err != nil {
			return "", err
		}
		if u.Version == before {
			return Skipped, nil
		}
		return Updated, nil
	}
	of, err := user.Insert(ctx, tx, draft)
	if err != nil {
		return "", err
	}
	if err := s.Authorizer.GrantNames(ctx, tx, by, of, "/roles", n.Roles); err != nil {
		return "", err
	}
	made, err := user.FindOne(ctx, tx, of)
	if err != nil {
		return "", err
	}
	return Created, audit.Record(ctx, tx, by, creation(made))
}

func importedChanges(n Imported) user.AdminChanges {
	var c user.AdminChanges
	c.DisplayName, c.Locale, c.ExternalID = given(n.DisplayName), given(n.Locale), given(n.ExternalID)
	if n.Metadata != nil {
		c.Metadata = patch.To[jsontext.Value](n.Metadata)
	}
	if n.AppMetadata != nil {
		c.AppMetadata = patch.To[jsontext.Value](n.AppMetadata)
	}
	return c
}

func given(s *string) (f patch.Field[string]) {
	if s != nil {
		f = patch.To(*s)
	}
	return f
}

package user

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/patch"
)

// Carried is an account on its way from one service to another: all of it that is not another noun's. It is for what the
// operator does on the server; nothing else sets an id, a status or times.
type Carried struct {
	ID            id.ID
	Kind          Kind
	Email         *string // nil: a service account
	EmailNorm     *string
	EmailVerified bool
	WasVerified   bool // an earlier address was proven
	DisplayName   *string
	Locale        *string
	Timezone      *string
	Status        Status
	PasswordHash  *string // of any scheme that password.ParseForeign takes
	ExternalID    *string
	Metadata      jsontext.Value
	AppMetadata   jsontext.Value
	MFAEnabled    bool // it comes with a second factor
	LastLoginAt   *time.Time
	DeletedAt     *time.Time // when its deletion was asked for
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// Check returns what is wrong with an account that comes in, all of it, and brings its address, texts and times into the
// form in which they are stored. It asks no database and hashes nothing.
func (c *Carried) Check(now time.Time) error {
	var v fault.Validation
	if c.ID == id.Nil {
		v.Add("/id", "required", "Give the account's UUID.")
	}
	switch c.Kind {
	case Human:
		c.checkHuman(&v)
	case Program:
		c.checkProgram(&v)
	default:
		v.Add("/kind", "not_allowed", "Give human or service.")
	}
	c.checkTexts(&v)
	if c.CreatedAt.After(now) || c.CreatedAt.Year() < 1970 {
		v.Add("/created_at", "out_of_range", "Give a time since 1970 that is past.")
	}
	if (c.Status == Deleting) != (c.DeletedAt != nil) {
		v.Add("/deleted_at", "invalid_combination", "An account that is being deleted has the time at which that was asked for, no other has.")
	}
	c.CreatedAt, c.UpdatedAt = millis(c.CreatedAt), millis(c.UpdatedAt)
	if c.UpdatedAt.Before(c.CreatedAt) || c.UpdatedAt.After(now) {
		c.UpdatedAt = c.CreatedAt
	}
	for _, t := range []*time.Time{c.LastLoginAt, c.DeletedAt} {
		if t != nil {
			*t = millis(*t)
		}
	}
	return v.Err()
}

func (c *Carried) checkHuman(v *fault.Validation) {
	if c.Email == nil {
		v.Add("/email", "required", "A human needs an address.")
	} else if email, norm, err := ParseEmail(*c.Email); err != nil {
		if f := fault.As(err); f != nil {
			v.Add("/email", f.Fields[0].Code, f.Fields[0].Detail)
		}
	} else {
		c.Email, c.EmailNorm = &email, &norm
	}
	switch c.Status {
	case Active, Pending, Suspended, Deleting:
	default:
		v.Add("/status", "not_allowed", "Give active, pending, suspended or deleting.")
	}
	switch {
	case c.PasswordHash == nil:
	case c.Status == Pending:
		// Whoever registered a foreign address there would hold the account of its owner here.
		v.Add("/password_hash", "invalid_combination", "A pending account has no password: nobody has proven the address.")
	case password.ParseForeign(*c.PasswordHash) != nil:
		v.Add("/password_hash", "unsupported_hash", "No scheme that is accepted, or costs beyond its bounds.")
	}
}

func (c *Carried) checkProgram(v *fault.Validation) {
	const detail = "A service account has none: it works with API keys alone."
	if c.Email != nil {
		v.Add("/email", "not_allowed", detail)
	}
	if c.EmailVerified || c.WasVerified {
		v.Add("/email_verified", "not_allowed", detail)
	}
	if c.PasswordHash != nil {
		v.Add("/password_hash", "not_allowed", detail)
	}
	if c.MFAEnabled {
		v.Add("", "not_allowed", "A service account has no second factor.")
	}
	if c.DisplayName == nil {
		v.Add("/display_name", "required", "A service account needs a name.")
	}
	switch c.Status {
	case Active, Suspended, Deleting:
	default:
		v.Add("/status", "not_allowed", "Give active, suspended or deleting.")
	}
}

func (c *Carried) checkTexts(v *fault.Validation) {
	if c.DisplayName != nil {
		CheckDisplayName(v, "/display_name", *c.DisplayName)
	}
	if c.ExternalID != nil {
		CheckExternalID(v, "/external_id", *c.ExternalID)
	}
	if c.Locale != nil {
		locale := ParseLocale(v, "/locale", *c.Locale)
		c.Locale = &locale
	}
	if c.Timezone != nil {
		checkTimezone(v, "/timezone", *c.Timezone)
	}
	for _, o := range []struct {
		pointer string
		value   *jsontext.Value
	}{{"/metadata", &c.Metadata}, {"/app_metadata", &c.AppMetadata}} {
		if *o.value != nil {
			*o.value = MergeObject(v, o.pointer, nil, patch.To(*o.value))
		}
	}
}

// Seen is the account as readers see it, with the roles that it comes with.
func (c *Carried) Seen(roles []string) *User {
	return &User{
		ID: c.ID, Kind: c.Kind, Email: c.Email, EmailVerified: c.EmailVerified, DisplayName: c.DisplayName, Locale: c.Locale, Timezone: c.Timezone,
		Status: c.Status, Roles: roles, Metadata: jsontext.Value(object(c.Metadata)), AppMetadata: jsontext.Value(object(c.AppMetadata)),
		ExternalID: c.ExternalID, MFAEnabled: c.MFAEnabled, LastLoginAt: c.LastLoginAt, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

func millis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Package user is the account: one row a person or program, and what may stand in it.
package user

import (
	"bytes"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // zones exist on every machine, also in an image without files

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/language"

	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/text"
)

// Kind says whether an account is a person's or a program's.
type Kind string

// The kinds. A service account has no address, no login and no sessions: only keys.
const (
	Human   Kind = "human"
	Program Kind = "service"
)

// Status is where an account stands.
type Status string

// The statuses. Only an active account gets in; a pending one has not been proven yet.
const (
	Active    Status = "active"
	Pending   Status = "pending"
	Suspended Status = "suspended"
	Deleting  Status = "deleting"
)

// The permissions of this noun.
const (
	ReadPermission   = "users:read"
	WritePermission  = "users:write"
	DeletePermission = "users:delete"
	ExportPermission = "users:export"
)

// FirstEpoch is the epoch of a new account.
const FirstEpoch int64 = 1

// Lengths in code points.
const (
	maxDisplayName = 120
	maxExternalID  = 255
	maxLocale      = 35 // RFC 5646, section 4.4.1
)

// User is an account as its readers see it. Values may be shared between requests: nobody changes one.
type User struct {
	ID            id.ID
	Kind          Kind
	Email         *string // nil: a service account
	EmailVerified bool
	DisplayName   *string
	Locale        *string // BCP 47, canonical
	Timezone      *string // IANA name
	Status        Status
	Roles         []string // names, sorted, with the implied one; without expired grants
	Metadata      jsontext.Value
	AppMetadata   jsontext.Value
	ExternalID    *string
	MFAEnabled    bool
	LastLoginAt   *time.Time
	CreatedAt     time.Time
	UpdatedAt     time.Time
	Version       int64 // grows with everything above but LastLoginAt, and when a grant expires
}

// Label is what people know the account by: its address, or a service account's name.
func (u *User) Label() string {
	switch {
	case u.Email != nil:
		return *u.Email
	case u.DisplayName != nil:
		return *u.DisplayName
	}
	return ""
}

// The refusals that concern accounts.
var (
	ErrEmailTaken = fault.New(fault.Conflict, "email_taken", "Another account has this address.")
	ErrExternalID = fault.New(fault.Conflict, "already_exists", "Another account has this external_id.")
)

// Changes is a merge patch of what an owner may change himself. Metadata merges deeply.
type Changes struct {
	DisplayName patch.Field[string]
	Locale      patch.Field[string]
	Timezone    patch.Field[string]
	Metadata    patch.Field[jsontext.Value]
}

// AdminChanges adds what only callers with users:write may change.
type AdminChanges struct {
	Changes
	AppMetadata patch.Field[jsontext.Value]
	ExternalID  patch.Field[string]
}

// CheckDisplayName records what is wrong with a name.
func CheckDisplayName(v *fault.Validation, pointer, name string) {
	text.Line(v, pointer, name, maxDisplayName)
}

// CheckExternalID records what is wrong with another system's name for the account.
func CheckExternalID(v *fault.Validation, pointer, name string) {
	text.Line(v, pointer, name, maxExternalID)
}

// ParseLocale returns the canonical form of a BCP 47 language tag, or records what is wrong with it.
func ParseLocale(v *fault.Validation, pointer, tag string) string {
	if len(tag) <= maxLocale && !strings.Contains(tag, "_") {
		if t, err := language.Parse(tag); err == nil && t != language.Und {
			return t.String()
		}
	}
	v.Add(pointer, "invalid_locale", "Give a BCP 47 language tag such as en, de-AT or zh-Hant.")
	return ""
}

var zoneName = regexp.MustCompile(`^[A-Z][A-Za-z0-9+_-]*(/[A-Z][A-Za-z0-9+_-]*){0,2}$`)

// checkTimezone records what is wrong with the name of a time zone.
func checkTimezone(v *fault.Validation, pointer, name string) {
	if zoneName.MatchString(name) && name != "Local" {
		if _, err := time.LoadLocation(name); err == nil {
			return
		}
	}
	v.Add(pointer, "invalid_timezone", "Give the name of a zone of the IANA database, such as Europe/Vienna.")
}

// MergeObject applies a merge patch to a free-form object (metadata, attributes), or records what is wrong with the
// patch or the result: no object, control characters, over 16 KiB or 8 levels.
func MergeObject(v *fault.Validation, pointer string, current jsontext.Value, f patch.Field[jsontext.Value]) jsontext.Value {
	change := f.Value
	if f.Null {
		return jsontext.Value("{}")
	}
	if change.Kind() != '{' {
		v.Add(pointer, "wrong_type", "Give an object, or null.")
		return current
	}
	var tree any
	if err := json.Unmarshal(change, &tree); err != nil {
		v.Add(pointer, "invalid_object", "Give an object of plain JSON: no duplicate names, no number beyond a double's range.")
		return current
	}
	if forbidden(tree) {
		v.Add(pointer, "control_character", "Control characters other than line feed and tab are not allowed.")
		return current
	}
	merged, err := patch.Merge(current, change)
	if err != nil {
		v.Add(pointer, "too_long", "The object may have at most 16 KiB and 8 levels.")
		return current
	}
	return merged
}

// forbidden finds a character in a name or string of a JSON tree that no text may hold.
func forbidden(tree any) bool {
	bad := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return text.Forbidden(r, true) })
	}
	switch t := tree.(type) {
	case string:
		return bad(t)
	case []any:
		for _, item := range t {
			if forbidden(item) {
				return true
			}
		}
	case map[string]any:
		for name, member := range t {
			if bad(name) || forbidden(member) {
				return true
			}
		}
	}
	return false
}

// ObjectChange records, under name, the top-level members of an object that differ, before and after.
func ObjectChange(changes map[string]audit.Change, name string, before, after jsontext.Value) {
	var b, a map[string]jsontext.Value
	if json.Unmarshal(before, &b) != nil || json.Unmarshal(after, &a) != nil {
		return
	}
	from, to := map[string]jsontext.Value{}, map[string]jsontext.Value{}
	for member, old := range b {
		if now, ok := a[member]; !ok || !SameJSON(old, now) {
			from[member] = old
		}
	}
	for member, now := range a {
		if old, ok := b[member]; !ok || !SameJSON(old, now) {
			to[member] = now
		}
	}
	if len(from)+len(to) > 0 {
		changes[name] = audit.Change{From: from, To: to}
	}
}

// SameJSON compares by canonical form (RFC 8785): the database writes members in an order and spacing of its own.
func SameJSON(a, b jsontext.Value) bool {
	a, b = a.Clone(), b.Clone()
	return a.Canonicalize() == nil && b.Canonicalize() == nil && bytes.Equal(a, b)
}

func same(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}

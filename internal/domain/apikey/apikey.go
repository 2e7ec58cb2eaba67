// Package apikey is the keys by which programs call the service: what they may do is their scopes within what their
// owner may do at that moment. Only a hash of a key's secret is stored; its text is shown once.
package apikey

import (
	"errors"
	"net/netip"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

// What reading, changing and verifying the keys of others needs.
const (
	ReadPermission   = "api_keys:read"
	WritePermission  = "api_keys:write"
	VerifyPermission = "api_keys:verify"
)

// Status says whether a key works. It is computed at each reading, by database time.
type Status string

// The statuses of keys; of several that hold the first one counts.
const (
	Revoked     Status = "revoked"
	Quarantined Status = "quarantined" // somebody showed that he has it
	Expired     Status = "expired"
	Active      Status = "active"
)

// Key is an API key as it may be shown: without its secret.
type Key struct {
	ID          id.ID
	UserID      id.ID // the owner, for whom it acts
	Name        string
	Environment token.Environment // a label: test keys act on real data
	Scopes      []string          // sorted
	Last4       string            // of the key's text
	Status      Status
	ExpiresAt   *time.Time     // nil: never
	LastUsedAt  *time.Time     // up to some seconds late; no part of Version
	AllowedIPs  []netip.Prefix // empty: from anywhere
	RateLimit   *RateLimit     // instead of the limit of all callers; nil: that one
	Metadata    jsontext.Value
	Secrets     []Secret // the current one first, then those before it, newest first; at most ten
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// issuedAt is when the current secret was made; from here the longest life counts.
func (k Key) issuedAt() time.Time { return k.Secrets[0].CreatedAt }

// Secret is one of the secrets of a key. Through the overlap of a rotation two work.
type Secret struct {
	Last4             string
	CreatedAt         time.Time
	ExpiresAt         *time.Time // the end of the overlap; nil: the current one, which ends with the key
	LastUsedAt        *time.Time // this and what follows are up to some seconds late, and no part of Version
	LastUsedIP        *netip.Addr
	LastUsedUserAgent *string
}

// Current says whether the key was last rotated to this secret.
func (s Secret) Current() bool { return s.ExpiresAt == nil }

// Created is a new key with its text, which nobody can read again.
type Created struct {
	Key
	Text secret.Text
}

// RateLimit is how many requests a key has in a window of whole seconds.
type RateLimit struct {
	Limit         int `json:"limit"`
	WindowSeconds int `json:"window_seconds"`
}

// Rate returns the limit in the limiter's terms.
func (l RateLimit) Rate() ratelimit.Rate {
	return ratelimit.Rate{Limit: l.Limit, Window: time.Duration(l.WindowSeconds) * time.Second}
}

// above says whether a key with this limit could send more than a caller under the general one, be it at once or in
// the long run.
func (l RateLimit) above(general ratelimit.Rate) bool {
	if general.Off() {
		return false
	}
	r := l.Rate()
	return r.Limit > general.Limit || float64(r.Limit)*general.Window.Seconds() > float64(general.Limit)*r.Window.Seconds()
}

// New is what a key is created with.
type New struct {
	Name        string
	UserID      id.ID // the owner; Nil: the caller
	Environment token.Environment
	Scopes      []string
	ExpiresAt   patch.Field[time.Time] // absent: the default life; null: never, where that is allowed
	AllowedIPs  []string               // networks (CIDR) and single addresses
	RateLimit   *RateLimit
	Metadata    jsontext.Value
}

// Patch changes a key: absent members stay, null clears.
type Patch struct {
	Name       patch.Field[string]
	Scopes     patch.Field[[]string]
	ExpiresAt  patch.Field[time.Time]
	AllowedIPs patch.Field[[]string]
	RateLimit  patch.Field[RateLimit]
	Metadata   patch.Field[jsontext.Value] // merged deeply
}

// Filter says which part of a list is wanted. At most Limit rows come back, newest first unless Ascending.
type Filter struct {
	UserID      id.ID // whose; Nil: the caller's
	Everyone    bool
	Status      Status            // "": any
	Environment token.Environment // "": any

	Limit     int
	Ascending bool
	After     *page.Position // rows behind this one; nil: from the start
}

// Config says how long keys live.
type Config struct {
	DefaultTTL time.Duration `env:"UMS_API_KEY_DEFAULT_TTL" envDefault:"2160h"`
	MaxTTL     time.Duration `env:"UMS_API_KEY_MAX_TTL" envDefault:"8760h"` // 0: unlimited
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.MaxTTL < 0:
		return errors.New("UMS_API_KEY_MAX_TTL must not be negative; 0 means unlimited")
	case c.DefaultTTL <= 0:
		return errors.New("UMS_API_KEY_DEFAULT_TTL must be more than 0")
	case c.MaxTTL > 0 && c.DefaultTTL > c.MaxTTL:
		return errors.New("UMS_API_KEY_DEFAULT_TTL must not be above UMS_API_KEY_MAX_TTL")
	}
	return nil
}

// The refusals that concern keys.
var (
	// ErrOthersKey refuses a key for another person: it would act in his name.
	ErrOthersKey = fault.New(fault.Forbidden, "privilege_escalation",
		"A key acts for its owner, so only he can make one; another's can be made for service accounts alone.")
	// ErrScopesAbove refuses scopes that the owner or the caller does not hold.
	ErrScopesAbove = fault.New(fault.Forbidden, "privilege_escalation",
		"A key's scopes must lie within what its owner, and whoever sets them, may do.")
	// ErrRotating refuses a third secret.
	ErrRotating = fault.New(fault.Conflict, "rotation_in_progress",
		"Two secrets of this key work now; rotate it again when the older one has ended, or revoke the key.")
	errFilterTwice = fault.New(fault.Invalid, "unsupported_filter", "Give either user_id or scope=all, not both.")
)

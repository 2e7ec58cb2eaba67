// Package session is a sign-in that lasts: what keeps a person signed in on one device, and what ends it.
//
// A session has one refresh token at a time. The token carries the session's secret and a counter under a MAC; the
// database knows the secret's hash and the newest counter. Rotation compares and raises the counter in one statement,
// so that of parallel refreshes exactly one rotates. Order is by counter, never by time.
package session

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Lengths in code points of what a session remembers of its device.
const (
	MaxDeviceName = 100
	maxUserAgent  = 512
)

// noticesADay is how many new pairs of program and network an account has in a day before another one is no news.
const noticesADay = 10

// Config is how long sessions last.
type Config struct {
	// IdleTTL ends a session that was not refreshed for so long, MaxTTL one that began so long ago.
	IdleTTL time.Duration `env:"UMS_REFRESH_IDLE_TTL" envDefault:"336h"`
	MaxTTL  time.Duration `env:"UMS_REFRESH_MAX_TTL" envDefault:"2160h"`
	// Grace is how long after a rotation its parent gets the same successor again, for clients that lost the answer.
	Grace time.Duration `env:"UMS_REFRESH_GRACE" envDefault:"10s"`
}

// Validate returns every fault of the configuration, each naming its variable.
func (c Config) Validate() error {
	var errs []error
	if c.IdleTTL < time.Minute || c.IdleTTL > c.MaxTTL {
		errs = append(errs, fmt.Errorf("UMS_REFRESH_IDLE_TTL is %s; use 1m to UMS_REFRESH_MAX_TTL", c.IdleTTL))
	}
	if c.MaxTTL < time.Minute || c.MaxTTL > 10*365*24*time.Hour {
		errs = append(errs, fmt.Errorf("UMS_REFRESH_MAX_TTL is %s; use 1m to 87600h", c.MaxTTL))
	}
	if c.Grace < 0 || c.Grace > time.Minute {
		errs = append(errs, fmt.Errorf("UMS_REFRESH_GRACE is %s; use 0s to 1m", c.Grace))
	}
	return errors.Join(errs...)
}

// Session is a sign-in as its owner sees it.
type Session struct {
	ID         id.ID
	DeviceName *string
	UserAgent  *string
	IP         *netip.Addr // of the last refresh
	CreatedAt  time.Time
	LastUsedAt time.Time
	ExpiresAt  time.Time // when it ends unless it is used
}

// Authenticator assurance levels (NIST SP 800-63B-4, section 2).
const (
	AAL1 = "aal1"
	AAL2 = "aal2"
)

// Assurance is how a person has just proven who he is.
type Assurance struct {
	ACR string   // AAL1 or AAL2
	AMR []string // methods (RFC 8176)
}

// ByMail is the assurance of a mailed link alone. RFC 8176 has no name for it; "otp" would be that of a second factor.
func ByMail() Assurance { return Assurance{ACR: AAL1, AMR: []string{"email"}} }

// ByPassword is the assurance of a password alone.
func ByPassword() Assurance { return Assurance{ACR: AAL1, AMR: []string{"pwd"}} }

// ByPasskey is the assurance of a passkey whose authenticator has verified the user, alone or beside the methods of a
// first factor. Methods are those that the passkey stands for.
func ByPasskey(first, methods []string) Assurance {
	amr := slices.Clone(first)
	for _, method := range methods {
		if !slices.Contains(amr, method) {
			amr = append(amr, method)
		}
	}
	return Assurance{ACR: AAL2, AMR: amr}
}

// WithSecond is the assurance of first, the methods of a first factor, and a second factor beside it.
func WithSecond(first []string, second string) Assurance {
	amr := make([]string, 0, len(first)+2)
	for _, method := range append(append(amr, first...), second, "mfa") {
		if !slices.Contains(amr, method) {
			amr = append(amr, method)
		}
	}
	return Assurance{ACR: AAL2, AMR: amr}
}

// Grant is what tokens of a session are minted from.
type Grant struct {
	SessionID id.ID
	UserID    id.ID
	Email     string
	Roles     []string // names held now, sorted, with the implied one
	AuthTime  time.Time
	ACR       string
	AMR       []string

	RefreshToken secret.Text   // the session's current one
	RefreshTTL   time.Duration // how long it lives, by database time
	Cookie       bool          // the refresh token must travel in a cookie only
}

// Outcome says what a refresh token is that did not rotate.
type Outcome uint8

// The outcomes.
const (
	Refused  Outcome = iota // of no session that lives
	Repeated                // the parent, within the grace: the grant has the same successor again
	Reused                  // an older one, or the parent too late: the session has been ended
)

// Judgement is an outcome with the session that it is about. The grant is for minting when Repeated; of a Reused session
// it names the owner.
type Judgement struct {
	Outcome    Outcome
	Grant      Grant
	DeviceName *string
	UserAgent  *string
	Locale     *string // the owner's
}

// clean returns s as it is stored: bounded, valid UTF-8, no control characters; nil when nothing is left.
func clean(s string, most int) *string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most])
	}
	if s == "" {
		return nil
	}
	return &s
}

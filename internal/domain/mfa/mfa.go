// Package mfa is the second step of a sign-in: what an account has beside its password, and the ticket of a person whose
// first factor was right and who has yet to show the second.
//
// A try is counted and committed before it is judged, so that parallel guesses cannot outrun the count. A code is good
// once: of a TOTP the time step only grows, a recovery code is gone when it is used.
package mfa

import (
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// The methods by which a code proves somebody, as clients name them.
const (
	TOTP         = "totp"
	RecoveryCode = "recovery_code"
)

// OTP is what both are among the methods of tokens (RFC 8176).
const OTP = "otp"

// MaxName is the length of a factor's name in code points.
const MaxName = 100

// MaxFactors is how many factors an account may have.
const MaxFactors = 10

// The bounds of a ticket.
const (
	ticketLife = 5 * time.Minute
	maxTries   = 5
)

// The refusals of the second step.
var (
	// ErrRequired carries mfa_token and factors.
	ErrRequired = fault.New(fault.Forbidden, "mfa_required",
		"The account has a second factor; finish the sign-in with mfa_token and one of the factors.")
	ErrTicket = fault.New(fault.Unauthenticated, "invalid_mfa_token",
		"The mfa_token is not valid or no longer; sign in again from the start.")
	ErrCode = fault.New(fault.Unauthenticated, "invalid_code",
		"The code is wrong, too old, or was used before; take the next one.")
	// ErrNoFactor refuses recovery codes to an account that has nothing to recover.
	ErrNoFactor = fault.ErrNotFound.WithDetail("The account has no second factor; enrol one first.")
	errTooMany  = fault.InvalidField("", "too_many", "An account has at most 10 factors; remove one first.")
)

// Factor is a second factor as its owner sees it.
type Factor struct {
	ID          id.ID
	Kind        string
	Name        *string
	CreatedAt   time.Time
	ActivatedAt *time.Time // nil: pending
	LastUsedAt  *time.Time
}

// Code is a second factor as it was typed.
type Code struct {
	Method string // TOTP or RecoveryCode
	Text   secret.Text
}

// Proof is a code that is right and has yet to be used: that is Consume's, in the transaction of its effect.
type Proof struct {
	Method string
	user   id.ID
	factor id.ID
	step   int64
	hash   []byte // of a recovery code
}

// First is a first factor that was right.
type First struct {
	UserID       id.ID
	AuthEpoch    int64
	PasswordHash *string  // the one that was verified; nil: no password was
	AMR          []string // of the first factor
	DeviceName   string   // may be empty
	Cookie       bool     // the refresh token is wanted as a cookie
}

// Ticket is a First that waits for its second factor, with its account as it is now.
type Ticket struct {
	First
	Email         string
	EmailNorm     string
	EmailVerified bool
	DisplayName   *string
	Locale        *string
	hash          []byte
}

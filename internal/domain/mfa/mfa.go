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
)

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
)

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
	Email     string
	EmailNorm string
	hash      []byte
}

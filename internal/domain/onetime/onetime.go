// Package onetime is proof by mail: tokens and codes that are mailed to an address and used once, and the registration
// attempts that they prove.
//
// A registration is a claim on an address. Until one is proven several people may claim the same one, each with a
// password of his own; the first proven attempt gives the account its password and ends the others.
//
// The purpose of a token is part of its key, and every token is bound to the address that it was mailed to and to the
// account's epoch: when either changes, it is dead. A newer one kills the older.
package onetime

import (
	"net/netip"
	"time"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// How long what is mailed lives.
const (
	VerificationLife = 24 * time.Hour
	CodeLife         = 10 * time.Minute
	InvitationLife   = 7 * 24 * time.Hour
	ResetLife        = 30 * time.Minute
	MagicLinkLife    = 15 * time.Minute
)

const (
	maxAttempts = 3 // live ones of one account
	maxTries    = 5 // of one code
)

const (
	purposeVerify     = "verify_email"
	purposeCode       = "verify_email_code"
	purposeInvitation = "invitation"
	purposeReset      = "password_reset"
	purposeMagicLink  = "magic_link"
	// purposeUndo is of the link that gives an account its former address back. No other proof ends it: else whoever
	// stole an account and moved it to a mailbox of his own would end it by a recovery there.
	purposeUndo = "undo_email_change"
)

// ErrInvalid is the refusal of every bad token or code, alike: unknown, expired, used, of another purpose.
var ErrInvalid = fault.New(fault.Malformed, "invalid_token",
	"The token or code is not valid, or no longer; ask for a new mail.")

// Recipient is the account that a mail proves, as it is now.
type Recipient struct {
	UserID    id.ID
	Email     string
	EmailNorm string
	AuthEpoch int64
	Name      string // for the salutation; may be empty
	Locale    string // may be empty
	// From is who asks for the mail without a session, for the limits of such mails. The zero address is an
	// administrator or the service itself: no limit.
	From netip.Addr
}

// Attempt is a registration of an address whose account is pending.
type Attempt struct {
	UserID       id.ID
	Email        string
	EmailNorm    string
	AuthEpoch    int64
	PasswordHash string
	DisplayName  *string
	Locale       *string
	From         netip.Addr // as in Recipient
}

func (a Attempt) recipient() Recipient {
	r := Recipient{UserID: a.UserID, Email: a.Email, EmailNorm: a.EmailNorm, AuthEpoch: a.AuthEpoch, From: a.From}
	if a.DisplayName != nil {
		r.Name = *a.DisplayName
	}
	if a.Locale != nil {
		r.Locale = *a.Locale
	}
	return r
}

// Proof is a token or code that is good now, with what it proves. Using it is Consume's, in the transaction of the effect.
type Proof struct {
	TokenID   id.ID
	UserID    id.ID
	EmailNorm string
	AuthEpoch int64
	Used      bool // it has had its effect

	Email         string // of the account now
	Status        user.Status
	EmailVerified bool
	PasswordHash  *string // the account's

	AttemptID      *id.ID // the registration that it proves, if any
	AttemptHash    *string
	DisplayName    *string
	Locale         *string
	registrationID []byte
}

// NewRegistrationID returns what a registrant holds: 256 random bits. Where no attempt is kept it proves nothing, and
// nobody can tell.
func NewRegistrationID() secret.Text {
	text, _ := newToken()
	return text
}

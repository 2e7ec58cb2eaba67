// Package passkey is WebAuthn credentials (WebAuthn Level 3): which an account has, the challenges that they sign, and
// what a signature proves.
//
// The user is always verified by the authenticator, by PIN or biometry, so that a passkey alone is two factors. A
// challenge is good once, for the ceremony, the person and the session that it was made for, and is used up before
// anything is judged. Of attestation nothing is asked: who made an authenticator decides nothing here.
package passkey

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// Method is the name by which clients ask for a passkey where there are other methods.
const Method = "passkey"

// The bounds of passkeys.
const (
	MaxName      = 100 // code points
	MaxPasskeys  = 50  // of one account
	challengeTTL = 5 * time.Minute
	maxDocument  = 64 << 10 // bytes of a credential as JSON; an honest one has two or three thousand
	defaultName  = "Passkey"
)

// Passkey is a credential as its owner sees it.
type Passkey struct {
	ID             id.ID
	UserID         id.ID
	Name           string
	AAGUID         id.ID    // the authenticator's model; Nil when it does not say
	Transports     []string // how the authenticator is reached, as the browser said
	BackupEligible bool     // can be synchronised between devices
	BackedUp       bool     // is
	CreatedAt      time.Time
	LastUsedAt     *time.Time // no part of Version
	Version        int64
}

// AMR is how a sign-in with the passkey names its methods (RFC 8176): a key in hardware, or in software when it can be
// copied to other devices; the user tested by PIN or biometry; and with that several factors.
func (p Passkey) AMR() []string {
	key := "hwk"
	if p.BackupEligible {
		key = "swk"
	}
	return []string{key, "user", "mfa"}
}

// Options is what a browser's PublicKeyCredential.parseCreationOptionsFromJSON or parseRequestOptionsFromJSON takes.
type Options struct{ PublicKey jsontext.Value }

// Person is whose passkey is made, as the authenticator will show him.
type Person struct {
	ID          id.ID
	Name        string // the address
	DisplayName string
}

// Binding is what a challenge is for. It holds only for exactly this.
type Binding struct {
	ceremony string
	user     *id.ID
	to       []byte
}

// Login is the ceremony of somebody who has said nothing yet.
func Login() Binding { return Binding{ceremony: "login"} }

// Registration is the ceremony that adds a passkey to the session's account.
func Registration(user, session id.ID) Binding { return Binding{"registration", &user, session[:]} }

// Reauthentication is the ceremony by which the person of a session proves himself again.
func Reauthentication(user, session id.ID) Binding {
	return Binding{"reauthentication", &user, session[:]}
}

// SecondFactor is the ceremony after a first factor was right; ticket is the hash of what says so.
func SecondFactor(user id.ID, ticket []byte) Binding { return Binding{"second_factor", &user, ticket} }

// Outcome says what an assertion is worth.
type Outcome uint8

// The outcomes.
const (
	Refused Outcome = iota
	Proven
	Cloned // all right, but for its counter: two devices hold the key, or an old assertion was replayed
)

// Judgement is an outcome with the passkey that it is about.
type Judgement struct {
	Outcome Outcome
	Passkey Passkey // zero when the credential is nobody's
	Asked   bool    // the challenge was one of ours, for this
	why     string

	count    uint32
	backedUp bool
}

// Why says in a few words, for the log, what was wrong; never a client's.
func (j Judgement) Why() string { return j.why }

// New is a credential whose registration was verified and which has yet to be stored.
type New struct {
	Name string

	credentialID, publicKey []byte
	signCount               uint32
	aaguid                  id.ID
	transports              []string
	backupEligible          bool
	backedUp                bool
}

// Filter is a page of a list, newest first unless Ascending.
type Filter struct {
	Limit     int
	Ascending bool
	After     *page.Position
}

// The refusals that concern passkeys.
var (
	ErrNotOffered = fault.ErrNotFound.WithDetail("Passkeys are not offered here: they need a public URL with a host name and https.")
	ErrKnown      = fault.New(fault.Conflict, "already_exists", "This passkey is registered already.")
	// ErrLast refuses to leave an account without a way in. A link by mail does not count: whether one is sent is the
	// operator's to decide, on any day.
	ErrLast = fault.New(fault.Conflict, "last_credential",
		"This is the account's last way to sign in; set a password or add another passkey first.")
)

// errRegistration answers for a registration that is not accepted, whatever is wrong with it.
func errRegistration() error {
	return fault.InvalidField("/credential", "not_accepted", "The passkey was not accepted; ask for new options and try again.")
}

// Package actor is the caller: who does this, from where, with which rights. Every service method takes one.
package actor

import (
	"net/netip"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
)

// Kind is the type of an actor, as the audit log names it.
type Kind string

// The kinds of actors.
const (
	User      Kind = "user"      // a person with a session
	APIKey    Kind = "api_key"   // a program with a key; it acts for the key's owner
	System    Kind = "system"    // the service itself, or its command line
	Anonymous Kind = "anonymous" // nobody is known
)

// Origin says where a request came from.
type Origin struct {
	IP        netip.Addr
	UserAgent string
	RequestID string
}

// Actor is one caller at one moment. Its rights are those of that moment: a second later they are looked up anew.
type Actor struct {
	Kind        Kind
	UserID      id.ID // the account: of a key, its owner; Nil for System and Anonymous
	KeyID       id.ID // APIKey only
	SessionID   id.ID // User only
	Label       string
	Permissions Permissions // effective; of a key: its scopes within its owner's permissions
	AuthTime    time.Time   // when the session last proved who it is
	ACR         string      // the session's assurance level: aal1, aal2
	AMR         []string
	MFAEnabled  bool // the account has a second factor
	Origin      Origin
}

// Nobody returns the anonymous actor at o.
func Nobody(o Origin) Actor { return Actor{Kind: Anonymous, Origin: o} }

// Service returns the actor for what the service does by itself; label names the command or job.
func Service(label string) Actor {
	return Actor{Kind: System, Label: label, Permissions: Permissions{All}}
}

// As returns the account itself as the actor: for a sign-in or verification that has just succeeded.
func (a Actor) As(user id.ID, label string) Actor {
	return Actor{Kind: User, UserID: user, Label: label, Origin: a.Origin}
}

// ID is what the audit log calls the actor: the key of an APIKey, the account of a User, else Nil.
func (a Actor) ID() id.ID {
	if a.Kind == APIKey {
		return a.KeyID
	}
	return a.UserID
}

// Is says whether the actor acts for this account.
func (a Actor) Is(user id.ID) bool { return a.UserID != id.Nil && a.UserID == user }

// May says whether the actor has the permission now.
func (a Actor) May(permission string) bool { return a.Permissions.Has(permission) }

// The refusals that concern any noun.
var (
	ErrPermissionDenied = fault.New(fault.Forbidden, "permission_denied",
		"The caller lacks the permission that this needs.")
	ErrEscalation = fault.New(fault.Forbidden, "privilege_escalation",
		"This would give or take more than the caller may do himself.")
	// ErrSession is told of every access token that is not good, for whichever reason.
	ErrSession = fault.New(fault.Unauthenticated, "invalid_access_token",
		"The access token is not valid or no longer; refresh it or sign in again.")
	// ErrSessionRequired refuses API keys, which never touch credentials, sessions, roles or keys.
	ErrSessionRequired = fault.New(fault.Forbidden, "session_required",
		"An API key cannot do this; sign in and use the access token.")
)

// Denied is ErrPermissionDenied that names what is needed.
func Denied(permission string) error { return ErrPermissionDenied.With("required", permission) }

type hidden struct{}

func (hidden) Error() string { return "the caller may not know of it" }

// ErrHidden is in the chain of a not_found that hides something that exists: the audit log keeps it as a refusal.
var ErrHidden error = hidden{}

// NotFound is the answer for what exists but is not the caller's to know: the same as for an unknown id.
func NotFound() error { return fault.ErrNotFound.Because(ErrHidden) }

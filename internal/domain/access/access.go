// Package access is who may do what now: is this session or key alive, and what are its rights at this moment.
//
// A credential alone is not trusted. Each request asks here; the answer is at most one second old, and an announced
// change of rights ends it at once: on the replica that made the change before its answer goes out, on the others when
// the announcement arrives. When none arrives the second still bounds it.
package access

import (
	"crypto/subtle"
	"net/netip"
	"slices"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

// The refusals of keys; actor.ErrSession is that of access tokens. Which of the many reasons it was is for the log: see Refusal.
var (
	ErrKey = fault.New(fault.Unauthenticated, "invalid_api_key",
		"The API key is not valid or no longer; check it, or make a new one.")
	ErrIPDenied = fault.New(fault.Forbidden, "ip_denied", "The API key may not be used from this address.")
)

// Principal is who a credential stands for, at one moment. Requests share it: nobody changes one.
type Principal struct {
	UserID      id.ID
	SessionID   id.ID             // Nil: a key
	KeyID       id.ID             // Nil: a session
	Kind        string            // of the account: human or service
	Label       string            // the account's address, or its display name
	Permissions actor.Permissions // effective; of a key: its scopes within its owner's
	Roles       []string          // the account's own, with the implied one; sorted names
	AuthTime    time.Time         // of a session, as are the next two
	ACR         string
	AMR         []string
	MFARequired bool // a role of the account, a human's, asks for a second factor
	MFAEnabled  bool // the account has one

	// Of a key:
	PublicID    string
	Environment string
	AllowedIPs  []netip.Prefix // empty: from anywhere
	Rate        ratelimit.Rate // its own limit; zero: the general one
	Scopes      []string
	ExpiresAt   *time.Time // of the presented secret, or of the key if that is earlier; nil: never
}

// Actor returns the caller of a request from o.
func (p *Principal) Actor(o actor.Origin) actor.Actor {
	a := actor.Actor{
		Kind: actor.User, UserID: p.UserID, SessionID: p.SessionID, KeyID: p.KeyID, Label: p.Label,
		Permissions: p.Permissions, AuthTime: p.AuthTime, ACR: p.ACR, AMR: p.AMR, MFAEnabled: p.MFAEnabled, Origin: o,
	}
	if p.KeyID != id.Nil {
		a.Kind = actor.APIKey
	}
	return a
}

// same compares SHA-256 values of secrets in constant time.
func same(stored []byte, presented [32]byte) bool {
	return subtle.ConstantTimeCompare(stored, presented[:]) == 1
}

// allows says whether the key may be used from ip. IPv4 addresses count as such also when they come as IPv6.
func (p *Principal) allows(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return len(p.AllowedIPs) == 0 || slices.ContainsFunc(p.AllowedIPs, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// Reason says why a well-formed key was refused.
type Reason string

// The reasons, in their order of precedence.
const (
	NotFound         Reason = "not_found"
	WrongSecret      Reason = "wrong_secret"
	Revoked          Reason = "revoked"
	Quarantined      Reason = "quarantined"
	Expired          Reason = "expired"
	OwnerSuspended   Reason = "owner_suspended"
	WrongEnvironment Reason = "wrong_environment"

	// Of a verification only:
	IPDenied          Reason = "ip_denied"
	InsufficientScope Reason = "insufficient_scope"
	RateLimited       Reason = "rate_limited"
)

// Refusal is in the chain of ErrKey: what the log may know and the caller may not.
type Refusal struct {
	Reason Reason
	KeyID  id.ID // Nil: there is no such key
	UserID id.ID // its owner
}

func (r *Refusal) Error() string { return "key refused: " + string(r.Reason) }

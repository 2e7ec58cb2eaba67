package httpapi

import (
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// freshFor is how long an authentication counts as recent for calls that need one.
const freshFor = 10 * time.Minute

var (
	errUnauthenticated = fault.New(fault.Unauthenticated, "unauthenticated",
		"Send an access token or an API key: Authorization: Bearer …, or X-API-Key.")
	errMultipleCredentials = fault.New(fault.Malformed, "multiple_credentials",
		"The request carries more than one credential; send exactly one.")
	errReauthenticate = fault.New(fault.Forbidden, "reauthentication_required",
		"This needs an authentication of the last 10 minutes, by a second factor where the account has one; call POST /api/v1/auth/reauthenticate and use the new access token.")
	errEnrollment = fault.New(fault.Forbidden, "mfa_enrollment_required",
		"A role of this account requires a second factor; enrol one first.")
)

// admission is the kind of a policy.
type admission uint8

const (
	noPolicy  admission = iota // a route with none stops the start-up
	open                       // anybody; a credential is ignored
	optional                   // anybody; a valid credential says who
	signedIn                   // signed in; a key too, unless the policy is for sessions only
	self                       // signed in, or a key with one of the permissions: one's own
	permitted                  // whoever has the permission
	ownOr                      // signed in, or a key with one of the permissions; the service decides about the target
)

// Policy says who may call a route at all. Whether the caller may do it to this very target is the service's to decide.
type Policy struct {
	access      admission
	permissions []string // for permitted: the one; for self and ownOr: what a key needs one of
	sessionOnly bool     // no key, whatever its scopes
	fresh       bool     // authenticated within freshFor at the account's level
	enrolment   bool     // open to an account that must yet enrol a second factor
}

// Public lets anybody in and looks at no credential, so that an expired one blocks nothing.
func Public() Policy { return Policy{access: open} }

// Optional lets anybody in; a valid credential says who calls, a bad one is ignored.
func Optional() Policy { return Policy{access: optional} }

// Session needs a signed-in person.
func Session() Policy { return Policy{access: signedIn, sessionOnly: true} }

// Caller lets in whoever is somebody: a session, or a key whatever its scopes.
func Caller() Policy { return Policy{access: signedIn} }

// Self is for one's own things: a session, or a key with one of the permissions.
func Self(key ...string) Policy { return Policy{access: self, permissions: key} }

// Permission needs the permission, of a session or a key.
func Permission(name string) Policy { return Policy{access: permitted, permissions: []string{name}} }

// OwnOr is for things that are one's own or need a permission, as the service decides; a key needs one of these.
func OwnOr(key ...string) Policy { return Policy{access: ownOr, permissions: key} }

// SessionOnly refuses keys.
func (p Policy) SessionOnly() Policy { p.sessionOnly = true; return p }

// Fresh needs an authentication within freshFor, at the account's level.
func (p Policy) Fresh() Policy { p.sessionOnly, p.fresh = true, true; return p }

// Enrolment keeps the route open to an account that a role obliges to a second factor that it lacks.
func (p Policy) Enrolment() Policy { p.enrolment = true; return p }

// String says in words who may call, for people who read the contract.
func (p Policy) String() string {
	session := "a session"
	if p.fresh {
		session = "a session that was authenticated within the last 10 minutes"
	}
	names := "`" + strings.Join(p.permissions, "` or `") + "`"
	switch {
	case p.access == open:
		return "no credential; one that is sent is ignored"
	case p.access == optional:
		return "no credential; one that is sent says who calls"
	case p.access == permitted && p.sessionOnly:
		return session + " with " + names
	case p.access == permitted:
		return names + ", of a session or an API key"
	case p.access == self:
		return session + "; an API key with " + names
	case p.access == ownOr:
		return session + "; an API key with " + names + "; the target decides further"
	case p.sessionOnly:
		return session
	default:
		return "a session or any API key"
	}
}

// anonymous says whether no credential is needed.
func (p Policy) anonymous() bool { return p.access == open || p.access == optional }

// check says whether by may call the route.
func (p Policy) check(by actor.Actor, now time.Time) error {
	if p.anonymous() {
		return nil
	}
	isKey := by.Kind == actor.APIKey
	if isKey && p.sessionOnly {
		return actor.ErrSessionRequired
	}
	switch p.access {
	case permitted:
		if !by.May(p.permissions[0]) {
			return actor.Denied(p.permissions[0])
		}
	case self, ownOr:
		if isKey && !mayAny(by, p.permissions) {
			return actor.Denied(p.permissions[0])
		}
	}
	if p.fresh && !fresh(by, now) {
		return errReauthenticate
	}
	return nil
}

// fresh says whether by has authenticated lately at the account's level: where there is a second factor a password alone
// does not do.
func fresh(by actor.Actor, now time.Time) bool {
	return now.Sub(by.AuthTime) <= freshFor && (!by.MFAEnabled || by.ACR == session.AAL2)
}

// used is the permission by which a caller was let in, "" when none was needed.
func (p Policy) used(by actor.Actor) string {
	for _, name := range p.permissions {
		if by.May(name) {
			return name
		}
	}
	return ""
}

func mayAny(by actor.Actor, permissions []string) bool {
	for _, p := range permissions {
		if by.May(p) {
			return true
		}
	}
	return false
}

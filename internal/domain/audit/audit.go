// Package audit is the log of what happened: who did what to whom, from where, with which outcome.
//
// An event is appended in the transaction of its effect; a refusal in one of its own. Events commit to the personal
// data of each person in them, and the data stands apart, so that it can be erased and the log still verifies.
package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
)

// Outcome says how an act ended.
type Outcome string

// The outcomes: done; refused to a known caller; tried and failed.
const (
	Success Outcome = "success"
	Denied  Outcome = "denied"
	Failure Outcome = "failure"
)

// Target is what an act was done to.
type Target struct {
	Type  string // user, session, role, permission, api_key, profile, route
	ID    id.ID  // Nil when it has none, or is unknown
	Label string // what a reader knows it by: an address, a name
	Owner id.ID  // the person whose data label, reason and changes are; Nil when they are nobody's
}

// Change is a field before and after. Never a secret.
type Change struct {
	From any `json:"from"`
	To   any `json:"to"`
}

// Event is one act, to be recorded.
type Event struct {
	Action  string // noun.verb, as in user.suspend
	Outcome Outcome
	Target  Target
	Changes map[string]Change
	Reason  string
}

// Recorded is an event as it can be read back; what was erased is empty.
type Recorded struct {
	ID        id.ID
	Time      time.Time
	Action    string
	Outcome   Outcome
	ActorType actor.Kind
	ActorID   *id.ID
	Label     *string
	Target    Target
	TargetID  *id.ID
	Changes   jsontext.Value
	Reason    *string
	IP        *string
	UserAgent *string
	RequestID *string
	Version   int64 // grows with each person in it who is erased; nothing else changes
}

const maxText = 512 // code points of a label, reason or user agent that are kept

// personal is one person's part of an event. Its canonical form (RFC 8785 of exactly these members, absent = null) is
// what the commitment covers.
type personal struct {
	Label, IP, UserAgent, Reason *string
	Changes                      jsontext.Value
}

func (p personal) empty() bool {
	return p.Label == nil && p.IP == nil && p.UserAgent == nil && p.Reason == nil && p.Changes == nil
}

// canonical returns the form that is committed to, members in their order. Changes are canonical already.
func (p personal) canonical() ([]byte, error) {
	doc := append(make([]byte, 0, 256+len(p.Changes)), `{"changes":`...)
	if p.Changes == nil {
		doc = append(doc, "null"...)
	}
	doc = append(doc, p.Changes...)
	for _, member := range [...]struct {
		name  string
		value *string
	}{{`,"ip":`, p.IP}, {`,"label":`, p.Label}, {`,"reason":`, p.Reason}, {`,"user_agent":`, p.UserAgent}} {
		if doc = append(doc, member.name...); member.value == nil {
			doc = append(doc, "null"...)
			continue
		}
		var err error
		if doc, err = jsontext.AppendQuote(doc, *member.value); err != nil { // as RFC 8785 has it, section 3.2.2.2
			return nil, fmt.Errorf("encode personal data: %w", err)
		}
	}
	return append(doc, '}'), nil
}

// commitment returns SHA-256(salt ‖ canonical form), as stored in audit_events.
func commitment(salt, canonical []byte) []byte {
	sum := sha256.New()
	sum.Write(salt)
	sum.Write(canonical)
	return sum.Sum(nil)
}

// row is an event ready to be inserted.
type row struct {
	id                                id.ID
	action                            string
	outcome                           Outcome
	actorType                         actor.Kind
	actorID, targetID                 *id.ID
	targetType, requestID             *string
	actor, target                     personal
	actorSubject, targetSubject       *id.ID
	actorSalt, targetSalt             []byte // nil: no such part
	actorCommitment, targetCommitment []byte
}

func newRow(by actor.Actor, e Event) (row, error) {
	doer := personalOf(by)
	canonical, err := doer.canonical()
	if err != nil {
		return row{}, err
	}
	return rowBy(by, doer, canonical, e)
}

// personalOf is the actor's part.
func personalOf(by actor.Actor) personal {
	p := personal{Label: text(by.Label), UserAgent: text(by.Origin.UserAgent)}
	if by.Origin.IP.IsValid() {
		p.IP = text(by.Origin.IP.Unmap().String())
	}
	return p
}

// rowBy is newRow for an actor whose data is canonical already.
func rowBy(by actor.Actor, doer personal, canonical []byte, e Event) (row, error) {
	r := row{
		id: id.New(), action: e.Action, outcome: e.Outcome, actorType: by.Kind,
		actorID: orNil(by.ID()), targetID: orNil(e.Target.ID), targetType: text(e.Target.Type), requestID: text(by.Origin.RequestID),
		actorSubject: orNil(by.UserID), targetSubject: orNil(e.Target.Owner),
		actor:  doer,
		target: personal{Label: text(e.Target.Label), Reason: text(e.Reason)},
	}
	if len(e.Changes) > 0 {
		doc, err := json.Marshal(e.Changes)
		if err != nil {
			return row{}, fmt.Errorf("encode changes: %w", err)
		}
		r.target.Changes = doc
		if err := r.target.Changes.Canonicalize(); err != nil {
			return row{}, fmt.Errorf("canonicalize changes: %w", err)
		}
	}
	if !r.actor.empty() {
		r.actorSalt = salt()
		r.actorCommitment = commitment(r.actorSalt, canonical)
	}
	if !r.target.empty() {
		canonical, err := r.target.canonical()
		if err != nil {
			return row{}, err
		}
		r.targetSalt = salt()
		r.targetCommitment = commitment(r.targetSalt, canonical)
	}
	return r, nil
}

func salt() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

func orNil(u id.ID) *id.ID {
	if u == id.Nil {
		return nil
	}
	return &u
}

// text returns s as it is stored: bounded, valid UTF-8 without NUL, nil when empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	out := make([]rune, 0, min(len(s), maxText))
	for _, r := range s {
		if len(out) == maxText {
			break
		}
		if r == 0 {
			r = utf8.RuneError
		}
		out = append(out, r)
	}
	s = string(out)
	return &s
}

// UnknownLogin labels a login name that was typed for no account: a keyed hash, never the name.
func UnknownLogin(mac []byte) string { return "hmac:" + hex.EncodeToString(mac) }

// Package fault is the error model: what may be told to a client, as a value.
//
// A fault is declared beside the rule that it belongs to (var ErrEmailTaken = fault.New(…)) and returned from there.
// Every other error is internal: it is logged, and its text never reaches a client. The package knows no HTTP;
// httpapi/problem maps kinds to status codes.
package fault

import (
	"errors"
	"maps"
	"time"
)

// Kind says what sort of refusal a fault is; each maps to one HTTP status.
type Kind uint8

// The kinds, in the order of their usual status codes.
const (
	Internal             Kind = iota // 500
	Malformed                        // 400
	Unauthenticated                  // 401
	Forbidden                        // 403
	NotFound                         // 404
	MethodNotAllowed                 // 405
	Conflict                         // 409
	PreconditionFailed               // 412
	TooLarge                         // 413
	UnsupportedMediaType             // 415
	Misdirected                      // 421
	Invalid                          // 422
	Limited                          // 429
	Unavailable                      // 503
)

// Field is one fault of an input. Pointer is an RFC 6901 JSON Pointer into the body ("/email"), or query/NAME,
// path/NAME, header/NAME. Code is stable (`required`, `too_long`, …), Detail says what to do. Neither holds the rejected value.
type Field struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// Error is an error that a client may see. Values are immutable: the With methods return copies.
type Error struct {
	Kind       Kind
	Code       string         // stable, snake_case; documented at /problems/{code}
	Detail     string         // one sentence for the client, says what to do
	Fields     []Field        // the faults of an input, all of them
	Extra      map[string]any // additional members of the problem document, e.g. "required": "users:read"
	RetryAfter time.Duration  // when a retry may succeed; 0 = unsaid
	cause      error          // logged, never shown
}

// New declares a fault.
func New(kind Kind, code, detail string) *Error {
	return &Error{Kind: kind, Code: code, Detail: detail}
}

// Error returns code, detail and cause, for logs.
func (e *Error) Error() string {
	s := e.Code + ": " + e.Detail
	for _, f := range e.Fields {
		s += " [" + f.Pointer + " " + f.Code + "]"
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause, which clients never see.
func (e *Error) Unwrap() error { return e.cause }

// Is holds for faults of the same code, so that errors.Is(err, ErrEmailTaken) survives the With methods.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error) // Is compares with the target itself, never with what it wraps
	return ok && t.Code == e.Code
}

// With returns a copy that carries one more member of the problem document.
func (e *Error) With(name string, value any) *Error {
	c := *e
	c.Extra = maps.Clone(e.Extra)
	if c.Extra == nil {
		c.Extra = map[string]any{}
	}
	c.Extra[name] = value
	return &c
}

// WithDetail returns a copy with another sentence for the client.
func (e *Error) WithDetail(detail string) *Error {
	c := *e
	c.Detail = detail
	return &c
}

// WithRetryAfter returns a copy that tells when a retry may succeed.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Because returns a copy with a cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// As returns the fault in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// ErrValidation is the fault of every input whose shape is JSON but whose values are not acceptable (422).
var ErrValidation = New(Invalid, "validation_failed", "The request has invalid values; see errors.")

// ErrNotFound is the fault of everything that does not exist, or that the caller may not know of (404).
var ErrNotFound = New(NotFound, "not_found", "There is no such resource.")

// ErrPrecondition is the fault of a conditional request whose If-Match names an older version (412).
var ErrPrecondition = New(PreconditionFailed, "precondition_failed",
	"The resource has changed since you read it; read it again and repeat the change on what it is now.")

// Validation collects the faults of one input.
type Validation struct{ fields []Field }

// Add records one fault.
func (v *Validation) Add(pointer, code, detail string) {
	v.fields = append(v.fields, Field{Pointer: pointer, Code: code, Detail: detail})
}

// Err returns ErrValidation with all recorded faults, or nil when there are none.
func (v *Validation) Err() error {
	if len(v.fields) == 0 {
		return nil
	}
	c := *ErrValidation
	c.Fields = v.fields
	return &c
}

// InvalidField returns ErrValidation with one fault.
func InvalidField(pointer, code, detail string) error {
	var v Validation
	v.Add(pointer, code, detail)
	return v.Err()
}

// Package id makes and parses the identifiers of rows: UUID version 7 (RFC 9562, section 5.7).
package id

import "github.com/google/uuid"

// ID is a UUID. Its zero value is no identifier.
type ID = uuid.UUID

// Nil is no identifier.
var Nil = uuid.Nil

// New returns a fresh UUIDv7: it grows with time and is never recycled.
func New() ID {
	return uuid.Must(uuid.NewV7())
}

// Parse reads the canonical form only: 36 characters, lower or upper case hexadecimal, four hyphens.
// Other spellings that uuid.Parse takes (urn:, braces, no hyphens) are refused, so that one row has one address; and so
// is the nil UUID, which names nothing: a filter by it must not become no filter.
func Parse(s string) (ID, bool) {
	if len(s) != 36 {
		return Nil, false
	}
	u, err := uuid.Parse(s)
	return u, err == nil && u != Nil
}

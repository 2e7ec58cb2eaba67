// Package page is how lists are walked: limits, sort orders, and keyset cursors that only this service can make.
package page

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// ErrInvalidCursor is the fault of every cursor that was not made by this service for this caller, route, filter and
// sort order: altered, from another list, from an older version of the format, or no cursor at all (400).
var ErrInvalidCursor = fault.New(fault.Malformed, "invalid_cursor",
	"The cursor does not belong to this list; begin again without one.")

const (
	version   = 1
	purpose   = "cursor"
	maxKeys   = 8
	maxCursor = 4096 // characters of the text form; far above any key that a row sorts by
)

// Sealer encrypts and authenticates under keys that it holds; aad is authenticated and not stored.
// The service's key ring is one.
type Sealer interface {
	Seal(purpose string, aad, plaintext []byte) []byte
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Codec makes and reads cursors. They are encrypted, since the key of a row can tell what its body does not
// (the address that a list is sorted by), and bound to where they were given out.
type Codec struct{ sealer Sealer }

// NewCodec returns a codec that seals with s.
func NewCodec(s Sealer) Codec { return Codec{sealer: s} }

// Binding names the list that a cursor belongs to: the caller, the route, the sort order, each filter with its value.
// Parts are length-prefixed, so that no two lists of parts give one binding.
func Binding(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p) + binary.MaxVarintLen16
	}
	b := make([]byte, 0, n)
	for _, p := range parts {
		b = appendString(b, p)
	}
	return string(b)
}

// Encode returns the cursor behind the row with these sort keys (at most eight).
func (c Codec) Encode(binding string, keys ...string) string {
	plain := []byte{version}
	for _, k := range keys {
		plain = appendString(plain, k)
	}
	return base64.RawURLEncoding.EncodeToString(c.sealer.Seal(purpose, []byte(binding), plain))
}

// Decode returns the keys that Encode was given with the same binding, or ErrInvalidCursor.
func (c Codec) Decode(binding, text string) ([]string, error) {
	if text == "" || len(text) > maxCursor {
		return nil, ErrInvalidCursor
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// The decoder skips line breaks; one cursor has one spelling.
	if err != nil || base64.RawURLEncoding.EncodedLen(len(sealed)) != len(text) {
		return nil, ErrInvalidCursor
	}
	plain, err := c.sealer.Open(purpose, []byte(binding), sealed)
	if err != nil {
		return nil, ErrInvalidCursor
	}
	keys, ok := parse(plain)
	if !ok {
		return nil, ErrInvalidCursor
	}
	return keys, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// parse reads what Encode sealed. It trusts nothing, although only our own seal gets here: another version may have
// written it.
func parse(plain []byte) ([]string, bool) {
	if len(plain) == 0 || plain[0] != version {
		return nil, false
	}
	keys := []string{}
	for rest := plain[1:]; len(rest) > 0; {
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w) || len(keys) == maxKeys { //nolint:gosec // w is at most len(rest)
			return nil, false
		}
		end := w + int(n) //nolint:gosec // n is at most the length of a slice
		keys = append(keys, string(rest[w:end]))
		rest = rest[end:]
	}
	return keys, true
}

// Package patch is RFC 7396 (JSON Merge Patch): absent leaves, null clears, objects merge, anything else replaces.
package patch

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Field is one member of a patch: absent (not Set), null (Set and Null) or a value.
type Field[T any] struct {
	Set, Null bool
	Value     T
}

// To returns a field that sets value.
func To[T any](value T) Field[T] { return Field[T]{Set: true, Value: value} }

// Of returns a field that sets what value points to, and leaves when that is nil.
func Of[T any](value *T) (f Field[T]) {
	if value != nil {
		f = To(*value)
	}
	return f
}

// Pointer returns the new value, or nil when the field is null or absent.
func (f Field[T]) Pointer() *T {
	if !f.Set || f.Null {
		return nil
	}
	return &f.Value
}

// Apply changes *current as the field says and reports whether it is Set.
func (f Field[T]) Apply(current **T) bool {
	if f.Set {
		*current = f.Pointer()
	}
	return f.Set
}

// UnmarshalJSON is called only for members that are there.
func (f *Field[T]) UnmarshalJSON(data []byte) error {
	*f = Field[T]{Set: true}
	if bytes.Equal(data, []byte("null")) {
		f.Null = true
		return nil
	}
	return json.Unmarshal(data, &f.Value)
}

// The bounds of a free-form object such as a user's metadata.
const (
	MaxObjectBytes = 16 << 10
	MaxObjectDepth = 8
)

// TooLargeError says which bound a merged object breaks.
type TooLargeError struct{ Bound string }

func (e *TooLargeError) Error() string { return "the object exceeds " + e.Bound }

// Merge applies a merge patch to an object, deeply. The result is at most 16 KiB and 8 levels deep, else a
// *TooLargeError is returned; numbers count as jsonb gives them back, without an exponent. An empty target is an empty
// object; a null or empty patch clears. Values are moved as they are written: a number keeps all its digits.
func Merge(target, patch jsontext.Value) (jsontext.Value, error) {
	merged, err := merge(target, patch)
	if err != nil {
		return nil, err
	}
	if merged.Kind() != '{' {
		merged = jsontext.Value("{}")
	}
	if plainSize(merged) > MaxObjectBytes {
		return nil, &TooLargeError{"16 KiB"}
	}
	if depth(merged) > MaxObjectDepth {
		return nil, &TooLargeError{"8 levels"}
	}
	return merged, nil
}

func merge(target, patch jsontext.Value) (jsontext.Value, error) {
	if patch.Kind() != '{' {
		out := patch.Clone()
		if len(out) == 0 {
			return out, nil
		}
		if err := out.Compact(); err != nil {
			return nil, fmt.Errorf("read merge patch: %w", err)
		}
		return out, nil
	}
	members, changes := map[string]jsontext.Value{}, map[string]jsontext.Value{}
	if target.Kind() == '{' {
		if err := json.Unmarshal(target, &members); err != nil {
			return nil, fmt.Errorf("read target of merge: %w", err)
		}
	}
	if err := json.Unmarshal(patch, &changes); err != nil {
		return nil, fmt.Errorf("read merge patch: %w", err)
	}
	for name, change := range changes {
		if change.Kind() == 'n' {
			delete(members, name)
			continue
		}
		merged, err := merge(members[name], change)
		if err != nil {
			return nil, err
		}
		members[name] = merged
	}
	out, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write merged object: %w", err)
	}
	return out, nil
}

// plainSize returns how many bytes a well-formed value has when its numbers are written without an exponent, at least.
// PostgreSQL writes jsonb so: five bytes become three hundred, and an exponent that it cannot write it refuses.
func plainSize(v jsontext.Value) int {
	size, dec := len(v), jsontext.NewDecoder(bytes.NewReader(v))
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return size
		}
		if tok.Kind() == '0' {
			size += plainGrowth(tok.String())
		}
	}
}

// plainGrowth returns by how many bytes a number grows without its exponent; 0 for one that has none.
func plainGrowth(number string) int {
	i := strings.IndexAny(number, "eE")
	if i < 0 {
		return 0
	}
	exponent, err := strconv.Atoi(number[i+1:])
	if err != nil || exponent > MaxObjectBytes || exponent < -MaxObjectBytes {
		return MaxObjectBytes
	}
	whole, fraction, _ := strings.Cut(number[:i], ".")
	plain := max(len(whole)+exponent, 1) + max(len(fraction)-exponent, 0)
	return max(plain-len(number), 0)
}

// depth returns how many levels of objects and arrays a well-formed value has.
func depth(v jsontext.Value) int {
	deepest, dec := 0, jsontext.NewDecoder(bytes.NewReader(v))
	for {
		if _, err := dec.ReadToken(); err != nil {
			return deepest
		}
		deepest = max(deepest, dec.StackDepth())
	}
}

// Package patch is RFC 7396 (JSON Merge Patch): absent leaves, null clears, objects merge, anything else replaces.
package patch

import (
	"bytes"
	"fmt"

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
// *TooLargeError is returned. An empty target is an empty object; a null or empty patch clears.
func Merge(target, patch jsontext.Value) (jsontext.Value, error) {
	var t, p any
	if len(target) > 0 {
		if err := json.Unmarshal(target, &t); err != nil {
			return nil, fmt.Errorf("read target of merge: %w", err)
		}
	}
	if len(patch) > 0 {
		if err := json.Unmarshal(patch, &p); err != nil {
			return nil, fmt.Errorf("read merge patch: %w", err)
		}
	}
	merged, ok := merge(t, p).(map[string]any)
	if !ok {
		merged = map[string]any{}
	}
	if depth(merged) > MaxObjectDepth {
		return nil, &TooLargeError{"8 levels"}
	}
	out, err := json.Marshal(merged, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("write merged object: %w", err)
	}
	if len(out) > MaxObjectBytes {
		return nil, &TooLargeError{"16 KiB"}
	}
	return out, nil
}

func merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, value := range p {
		if value == nil {
			delete(t, name)
			continue
		}
		t[name] = merge(t[name], value)
	}
	return t
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			deepest = max(deepest, depth(member))
		}
	case []any:
		for _, item := range v {
			deepest = max(deepest, depth(item))
		}
	default:
		return 0
	}
	return deepest + 1
}

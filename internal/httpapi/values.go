package httpapi

import (
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/patch"
)

// opt is a member of a merge patch: absent, null or a value.
type opt[T any] struct{ patch.Field[T] }

// Schema implements huma.SchemaProvider: the value's, or null.
func (opt[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, reflect.TypeFor[T]())
	s.Nullable = s.Ref == ""
	return &s
}

// convert turns a member of a merge patch into the service's type.
func convert[A, B any](o opt[A], to func(A) B) patch.Field[B] {
	out := patch.Field[B]{Set: o.Set, Null: o.Null}
	if p := o.Pointer(); p != nil {
		out.Value = to(*p)
	}
	return out
}

// object is a free-form JSON object.
type object jsontext.Value

// MarshalJSON writes {} for nothing.
func (o object) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// UnmarshalJSON keeps the text. A null is an absent member, as it is for every other optional field.
func (o *object) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*o = nil
		return nil
	}
	*o = append((*o)[:0], b...)
	return nil
}

// Schema implements huma.SchemaProvider.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "Free-form; at most 16 KiB and 8 levels."}
}

const timeLayout = "2006-01-02T15:04:05.000Z"

// timestamp is a time as the contract writes it: RFC 3339, UTC, milliseconds.
type timestamp time.Time

// MarshalJSON implements json.Marshaler.
func (t timestamp) MarshalJSON() ([]byte, error) {
	return t.append(make([]byte, 0, len(timeLayout)+2)), nil
}

// UnmarshalJSON implements json.Unmarshaler, for answers that were kept.
func (t *timestamp) UnmarshalJSON(b []byte) error { return (*time.Time)(t).UnmarshalJSON(b) }

func (t timestamp) append(b []byte) []byte {
	b = append(b, '"')
	b = time.Time(t).UTC().AppendFormat(b, timeLayout)
	return append(b, '"')
}

// Schema implements huma.SchemaProvider.
func (timestamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

func stamp(t *time.Time) *timestamp { return (*timestamp)(t) }

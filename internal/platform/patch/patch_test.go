package patch_test

import (
	stdjson "encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/patch"
)

// The examples of RFC 7396, appendix A, as far as both sides are objects, and what is ours.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":1}`, `null`, `{}`},
		{`{"a":1}`, ``, `{}`},
		{``, `{"a": [ 1, {"b": null} ]}`, `{"a":[1,{"b":null}]}`},
		{`{"id": 9007199254740993}`, `{"n":1.10,"big":12345678901234567890}`, `{"big":12345678901234567890,"id":9007199254740993,"n":1.10}`},
	} {
		got, err := patch.Merge(jsontext.Value(c.target), jsontext.Value(c.patch))
		require.NoError(t, err)
		require.Equal(t, c.want, string(got), "%s + %s", c.target, c.patch)
	}
}

func TestMergeIsBounded(t *testing.T) {
	t.Parallel()
	nested := func(levels int) jsontext.Value {
		return jsontext.Value(strings.Repeat(`{"a":`, levels) + `1` + strings.Repeat(`}`, levels))
	}
	text := func(size int) jsontext.Value { return jsontext.Value(`{"a":"` + strings.Repeat("x", size-8) + `"}`) }
	for _, fits := range []jsontext.Value{nested(8), text(16 << 10), jsontext.Value(`{"a":[[[[[[[1]]]]]]]}`)} {
		_, err := patch.Merge(nil, fits)
		require.NoError(t, err)
	}
	for _, exceeds := range []jsontext.Value{nested(9), text(16<<10 + 1), jsontext.Value(`{"a":[[[[[[[[1]]]]]]]]}`)} {
		_, err := patch.Merge(nil, exceeds)
		var tooLarge *patch.TooLargeError
		require.ErrorAs(t, err, &tooLarge)
	}
	_, err := patch.Merge(jsontext.Value(`{"b":1}`), text(16<<10)) // together
	require.Error(t, err)
	_, err = patch.Merge(nil, jsontext.Value(`{"a":`))
	require.Error(t, err)
}

// jsonb writes numbers without an exponent and refuses what is longer than it can write.
func TestMergeBoundsNumbersAsTheyComeBack(t *testing.T) {
	t.Parallel()
	list := func(number string, n int) jsontext.Value {
		return jsontext.Value(`{"a":[` + strings.TrimSuffix(strings.Repeat(number+",", n), ",") + `]}`)
	}
	for _, fits := range []jsontext.Value{list("1e300", 50), list("-1.5E-300", 50), list("1e2", 3200), list("0e0", 1), list("12.5e1", 2000)} {
		_, err := patch.Merge(nil, fits)
		require.NoError(t, err)
	}
	for _, number := range []string{"1e300", "1E+300", "-1.5e-300", "123.456e297"} {
		_, err := patch.Merge(nil, list(number, 60))
		var tooLarge *patch.TooLargeError
		require.ErrorAs(t, err, &tooLarge, number)
	}
	for _, number := range []string{"1e-16384", "0e20000", "0e-99999", "0e99999999999999999999", "1e-99999999999999999999"} {
		_, err := patch.Merge(nil, list(number, 1))
		require.Error(t, err, number)
	}
}

// Merge is the RFC's own pseudo code, for any two objects; and doing it twice changes nothing.
func TestMergeIsTheStandards(t *testing.T) {
	t.Parallel()
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Map(rapid.IntRange(0, 3), func(n int) any { return float64(n) }))
		if depth == 0 {
			return leaf
		}
		object := rapid.Map(rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), value(depth-1), 0, 3),
			func(m map[string]any) any { return m })
		array := rapid.Map(rapid.SliceOfN(value(depth-1), 0, 2), func(s []any) any { return append([]any{}, s...) })
		return rapid.OneOf(leaf, object, object, array)
	}
	object := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), value(3), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		target, change := encode(object.Draw(t, "target")), encode(object.Draw(t, "patch"))
		got, err := patch.Merge(target, change)
		if err != nil {
			t.Fatal(err)
		}
		require.JSONEq(t, string(encode(standard(decode(target), decode(change)))), string(got))
		again, err := patch.Merge(got, change)
		if err != nil {
			t.Fatal(err)
		}
		require.Equal(t, string(got), string(again))
	})
}

func standard(target, change any) any {
	p, ok := change.(map[string]any)
	if !ok {
		return change
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, v := range p {
		if v == nil {
			delete(t, name)
		} else {
			t[name] = standard(t[name], v)
		}
	}
	return t
}

func encode(v any) jsontext.Value {
	b, err := stdjson.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func decode(b []byte) (v any) {
	if err := stdjson.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	return v
}

func TestField(t *testing.T) {
	t.Parallel()
	var in struct {
		Absent patch.Field[string] `json:"absent"`
		Null   patch.Field[string] `json:"null"`
		Value  patch.Field[string] `json:"value"`
	}
	require.NoError(t, stdjson.Unmarshal([]byte(`{"null":null,"value":"x"}`), &in))
	require.Equal(t, patch.Field[string]{}, in.Absent)
	require.Equal(t, patch.To("x"), in.Value)
	old := "old"
	current := &old
	require.False(t, in.Absent.Apply(&current))
	require.Equal(t, &old, current)
	require.True(t, in.Value.Apply(&current))
	require.Equal(t, "x", *current)
	require.Equal(t, "old", old)
	require.Equal(t, patch.To("old"), patch.Of(&old))
	require.Equal(t, patch.Field[string]{}, patch.Of[string](nil))
	require.True(t, in.Null.Set && in.Null.Null)
	require.True(t, in.Null.Apply(&current))
	require.Nil(t, current)
}

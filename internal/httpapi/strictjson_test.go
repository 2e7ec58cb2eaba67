package httpapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// HTTP-01, HTTP-02: what is no strict JSON is 400, what is JSON with a value that no field takes is 422.
func TestHTTP01_CheckJSON(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"duplicate key":    `{"a":1,"a":2}`,
		"nested duplicate": `{"a":{"b":1,"b":2}}`,
		"trailing data":    `{} x`,
		"two documents":    `{}{}`,
		"byte order mark":  "\xef\xbb\xbf{}",
		"comment":          `{/* */}`,
		"NaN":              `{"a":NaN}`,
		"invalid UTF-8":    "{\"a\":\"\xff\"}",
		"lone surrogate":   `{"a":"\ud800"}`,
		"raw control":      "{\"a\":\"\x01\"}",
		"raw NUL":          "{\"a\":\"\x00\"}",
		"too deep":         strings.Repeat("[", 33) + strings.Repeat("]", 33),
		"very deep":        strings.Repeat("[", 10_000),
		"cut off":          `{"a":`,
		"single quotes":    `{'a':1}`,
		"leading zero":     `{"a":01}`,
		"blank":            ` `,
	} {
		_, err := checkJSON([]byte(body))
		require.ErrorIs(t, err, errMalformed, name)
	}
	for body, want := range map[string]string{
		`{"a":"\u0000"}`:                        "/a control_character",
		`{"a":"x\ny"}`:                          "/a control_character",
		`{"a":"\u007f"}`:                        "/a control_character",
		`{"a":"\u0085"}`:                        "/a control_character",
		`{"a":"\uffff"}`:                        "/a noncharacter",
		`{"a":"\ufdd0"}`:                        "/a noncharacter",
		`{"a":["x","\u0001"]}`:                  "/a/1 control_character",
		`{"a/b":{"c~d":"\u0001"}}`:              "/a~1b/c~0d control_character",
		`{"\u0001":1}`:                          "/\x01 control_character",
		`{"n":1e400}`:                           "/n out_of_range",
		`{"bio":"\u0000"}`:                      "/bio control_character",
		`{"bio":"a\r"}`:                         "/bio control_character",
		`{"bio":"a\n\tb"}`:                      "",
		`{"reason":"a\nb"}`:                     "",
		`{"metadata":{"x":{"y":"a\nb"}}}`:       "",
		`{"metadata":{"x":"\u0001"}}`:           "/metadata/x control_character",
		`{"a":"\u202e \ud83d\ude00 \u00e9 ok"}`: "",
		`"text"`:                                "",
		`[` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `]`: "",
	} {
		faults, err := checkJSON([]byte(body))
		require.NoError(t, err, body)
		if want == "" {
			require.Empty(t, faults, body)
			continue
		}
		require.Len(t, faults, 1, body)
		require.Equal(t, want, faults[0].Pointer+" "+faults[0].Code, body)
	}
}

// Whatever checkJSON lets pass is JSON for everybody else too, and is decoded without an error.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,2,{"b":null}]}`, `"x"`, `{"a":1e999}`, "{\"a\":\"\xff\"}", `{"a":"\ud83d\ude00"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		faults, err := checkJSON(body)
		if err != nil {
			return
		}
		require.True(t, json.Valid(body))
		if len(faults) == 0 {
			var v any
			require.NoError(t, unmarshalJSON(body, &v))
		}
	})
}

func TestInputField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ location, message, pointer, code string }{
		{"body.role", "unexpected property", "/role", "unknown_field"},
		{"body", "expected required property email to be present", "/email", "required"},
		{"body.address", "expected required property city to be present", "/address/city", "required"},
		{"body.items[3].name", "expected string", "/items/3/name", "invalid_type"},
		{"query.limit", "expected number <= 200", "query/limit", "out_of_range"},
		{"body.kind", `expected value to be one of "human, service"`, "/kind", "not_allowed"},
		{"body", "something new", "", "invalid"},
	} {
		f := inputField(c.location, c.message)
		require.Equal(t, c.pointer, f.Pointer, c.message)
		require.Equal(t, c.code, f.Code, c.message)
		require.NotEmpty(t, f.Detail)
	}
}

func TestConditional(t *testing.T) {
	t.Parallel()
	three, none := int64(3), int64(-1)
	for given, want := range map[string]*int64{
		"": nil, "*": nil, `"3"`: &three, `"1", "3"`: &three, `"1", *`: nil,
		`3`: &none, `W/"3"`: &none, `"x"`: &none, `"03"`: &none, `"3`: &none,
	} {
		require.Equal(t, want, (&Conditional{IfMatch: given}).version(), given)
	}
}

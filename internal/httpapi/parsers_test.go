package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// FuzzReadCredential: whatever the headers hold, at most one credential comes out, as it was sent.
func FuzzReadCredential(f *testing.F) {
	for _, bearer := range []string{
		"", "Bearer x", "bearer x", "BEARER  x", "Bearer", "Bearer ", "Basic eDp5", "Bearer\tx", "Bearerx", "Bearer x y", " Bearer x", "ums_live_x", "Bearer \x00", "Bearer é",
	} {
		f.Add(bearer, "", 1, 0)
		f.Add(bearer, "x", 1, 1)
		f.Add(bearer, bearer, 0, 1)
		f.Add(bearer, "x", 2, 0)
	}
	f.Fuzz(func(t *testing.T, bearer, key string, bearers, keys int) {
		h := http.Header{}
		bearers, keys = bearers&3, keys&3
		for range bearers {
			h["Authorization"] = append(h["Authorization"], bearer)
		}
		for range keys {
			h["X-Api-Key"] = append(h["X-Api-Key"], key)
		}
		credential, isKey, err := readCredential(h)
		switch {
		case bearers+keys > 1:
			if err == nil || credential != "" {
				t.Fatalf("two credentials gave %q", credential)
			}
		case err != nil:
			t.Fatal(err)
		case keys == 1:
			if !isKey || credential != key {
				t.Fatalf("the key %q was read as %q", key, credential)
			}
		case credential != "":
			if isKey || len(bearer) < len("Bearer x") || !strings.EqualFold(bearer[:7], "Bearer ") || !strings.HasSuffix(bearer, credential) {
				t.Fatalf("%q was read as %q", bearer, credential)
			}
		}
	})
}

// FuzzFormJSON: a form becomes JSON of exactly the parameters that the route has, each a string that was sent.
func FuzzFormJSON(f *testing.F) {
	for _, body := range []string{"", "token=x", "token=x&token=y", "token=%zz", "token=%ff", "a=b;c=d", "&&&", "=", "token", "token=%00&client_id=x", "%74oken=x", "token=%22%7D", "token=+%2B"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		out, err := formJSON([]byte(body), []string{"token", "token_type_hint"})
		if err != nil {
			return
		}
		if _, err := checkJSON(out); err != nil {
			t.Fatalf("%q became malformed JSON: %s", body, out)
		}
		var object map[string]string
		if err := json.Unmarshal(out, &object); err != nil {
			t.Fatal(err)
		}
		for name := range object {
			if name != "token" && name != "token_type_hint" {
				t.Fatalf("%q brought %q in", body, name)
			}
		}
	})
}

// FuzzIfMatch: only the one spelling of a version that the service itself sends is one.
func FuzzIfMatch(f *testing.F) {
	for _, header := range []string{"", "*", `"1"`, `W/"1"`, `"01"`, `"1", "2"`, `"-1"`, `"+1"`, `"9223372036854775807"`, `"9223372036854775808"`, `"`, `""`, `"1`, `1`, `"1""2"`, `"x", *`} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		v := (&Conditional{IfMatch: header}).version()
		if v != nil && *v != -1 && !strings.Contains(header, strconv.Quote(strconv.FormatInt(*v, 10))) {
			t.Fatalf("%q was read as version %d", header, *v)
		}
	})
}

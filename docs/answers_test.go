package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// differs says in which way an answer on a page is not what came, or nothing. What is never the same twice (ids, times,
// tokens, codes, versions of curl) is compared by kind; … stands for anything.
func differs(lang, shown, came string) error {
	if lang != "json" {
		return differentLines(strings.Split(shown, "\n"), strings.Split(strings.TrimSpace(strings.ReplaceAll(came, "\r", "")), "\n"))
	}
	want, err := documents(shown)
	if err != nil {
		return fmt.Errorf("the page's answer is not JSON: %w", err)
	}
	got, err := documents(came)
	if err != nil {
		return fmt.Errorf("what came is not JSON: %w", err)
	}
	if len(want) != len(got) {
		return fmt.Errorf("the page shows %d documents, %d came", len(want), len(got))
	}
	for i := range want {
		if err := different("", want[i], got[i]); err != nil {
			return err
		}
	}
	return nil
}

func documents(text string) (all []any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}

func different(at string, want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: the page shows an object, %v came", at, got)
		}
		if names, there := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)); !slices.Equal(names, there) {
			return fmt.Errorf("%s: the page shows the members %v, %v came", at, names, there)
		}
		for name := range want {
			if err := different(at+"/"+name, want[name], got[name]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		got, ok := got.([]any)
		if !ok {
			return fmt.Errorf("%s: the page shows an array, %v came", at, got)
		}
		if n := len(want); n > 0 && want[n-1] == "…" && len(got) >= n-1 {
			want, got = want[:n-1], got[:n-1]
		}
		if len(want) != len(got) {
			return fmt.Errorf("%s: the page shows %d elements, %d came", at, len(want), len(got))
		}
		for i := range want {
			if err := different(fmt.Sprintf("%s/%d", at, i), want[i], got[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		if strings.HasSuffix(at, "/last4") { // of a key: four letters of a checksum
			return nil
		}
		if got, ok := got.(string); ok && alike(want, got) {
			return nil
		}
	case float64:
		// Seconds since 1970, and seconds that something lives, of which one may have gone by.
		if got, ok := got.(float64); ok && (want == got || want > 1e9 && got > 1e9 || want >= 300 && math.Abs(want-got) <= 60) {
			return nil
		}
	default:
		if want == got {
			return nil
		}
	}
	return fmt.Errorf("%s: the page shows %v, %v came", at, want, got)
}

func differentLines(want, got []string) error {
	for i := 0; len(want) > 0; i++ {
		if strings.TrimSpace(want[0]) == "…" {
			if want = want[1:]; len(want) == 0 {
				return nil
			}
			for len(got) > 0 && !alike(want[0], got[0]) {
				got = got[1:]
			}
		}
		if len(got) == 0 {
			return fmt.Errorf("the page shows a line more: %s", want[0])
		}
		if !alike(want[0], got[0]) {
			return fmt.Errorf("the page shows\n  %s\nand what came is\n  %s", want[0], got[0])
		}
		want, got = want[1:], got[1:]
	}
	if len(got) > 0 {
		return fmt.Errorf("the page does not show the line: %s", got[0])
	}
	return nil
}

var kinds = []struct {
	pattern *regexp.Regexp
	kind    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "<id>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?)?`), "<time>"},
	{regexp.MustCompile(`(127\.0\.0\.1|localhost):\d+`), "<host>"},
	{regexp.MustCompile(`curl/[0-9.]+`), "<curl>"},
	{regexp.MustCompile(`\bums_(live|test)_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}\b`), "ums_${1}_<key>"},
	{regexp.MustCompile(`[A-Za-z0-9_-]{40,}(\.[A-Za-z0-9_-]{20,})*`), "<token>"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "<hex>"},
	{regexp.MustCompile(`"(iat|exp|auth_time)":\d+`), "<seconds>"},
	{regexp.MustCompile(`\b\d{8}\b`), "<code>"},
	{regexp.MustCompile(`\s+`), " "},
}

// alike compares two texts of one line.
func alike(shown, came string) bool {
	shown, came = masked.ReplaceAllString(shown, "ums_${1}_<masked>"), masked.ReplaceAllString(came, "ums_${1}_<masked>")
	shown = begun.ReplaceAllString(shown, "${1}…")
	kind := func(s string) string {
		for _, k := range kinds {
			s = k.pattern.ReplaceAllString(s, k.kind)
		}
		return s
	}
	shown, came = strings.TrimSpace(shown), strings.TrimSpace(came)
	var pattern strings.Builder
	for i, part := range strings.Split(shown, "…") {
		if i > 0 {
			pattern.WriteString(".*")
		}
		pattern.WriteString(regexp.QuoteMeta(kind(part)))
	}
	return regexp.MustCompile("^" + pattern.String() + "$").MatchString(kind(came))
}

// masked is a key as the service shows it to those who know it.
var masked = regexp.MustCompile(`\bums_(live|test)_[0-9A-Za-z]{4}…[0-9A-Za-z]{4}\b`)

// begun is what stands directly before a cut: the beginning of an id or a token. Of a key its kind is kept.
var begun = regexp.MustCompile(`(ums_(?:live|test)_)?[A-Za-z0-9_.-]*…`)

func TestAnswersAreCompared(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lang, shown, came string }{
		{"json", `{"id":"01a2062d-e8da-7cf2-a66e-4072f15281fb","n":1}`, `{"n":1, "id":"01a20631-32b5-7f27-a4f5-4ea12e7e1334"}`},
		{"json", `{"at":"2026-11-23T02:13:22.940Z","iat":1795691137}`, `{"at":"2027-01-01T00:00:00.000Z","iat":1895691137}`},
		{"json", `{"key":"ums_live_k3…"}`, `{"key":"ums_live_abc"}`},
		{"json", `{"data":[{"a":1},"…"]}`, `{"data":[{"a":1},{"a":2},{"a":3}]}`},
		{"text", "HTTP/1.1 204 No Content", "HTTP/1.1 204 No Content\r\n"},
		{"text", "first\n…\nlast", "first\na\nb\nlast"},
		{"text", "2026-11-23T02:15:31.454Z  user   role.create", "2026-11-24T02:15:31.454Z\tuser\trole.create"},
	} {
		require.NoError(t, differs(c.lang, c.shown, c.came), c.shown)
	}
	for _, c := range []struct{ lang, shown, came string }{
		{"json", `{"a":1}`, `{"a":2}`},
		{"json", `{"a":1}`, `{"a":1,"b":2}`},
		{"json", `{"a":null}`, `{"a":"2026-11-23T02:13:22.940Z"}`},
		{"json", `{"code":"not_found"}`, `{"code":"permission_denied"}`},
		{"json", `{"id":"01a2062d-e8da-7cf2-a66e-4072f15281fb"}`, `{"id":"grace"}`},
		{"json", `{"data":[1]}`, `{"data":[1,1]}`},
		{"json", `{"key":"ums_live_k3…"}`, `{"key":"sk_live_abc"}`},
		{"json", `{}`, `{} {}`},
		{"text", "HTTP/1.1 204 No Content", "HTTP/1.1 200 OK"},
		{"text", "first\n…\nlast", "first\na"},
		{"text", "one", "one\ntwo"},
	} {
		require.Error(t, differs(c.lang, c.shown, c.came), c.shown)
	}
}

package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/httpapi"
)

// sender sends bodies to every route that takes one, to things that exist, as an administrator.
type sender struct {
	c, nobody *apptest.Client
	targets   *strings.Replacer
}

func newSender(t *testing.T, name string) sender {
	t.Helper()
	s := common(t)
	root := s.Admin(t)
	_, c := s.Person(t, root, name+"@input.test", "admin")
	id, _ := s.Person(t, root, name+"-target@input.test")
	return sender{c: c, nobody: s.Client, targets: strings.NewReplacer(
		"/users/{id}", "/users/"+id, "{user_id}", id, "{role_id}", adminRole, "{name}", "no:such",
		"/roles/{id}", "/roles/"+root.POST(t, "/roles", doc{"name": name}).Want(t, 201).String(t, "id"),
		"/api-keys/{id}", "/api-keys/"+c.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "id"),
		"/auth/sessions/{id}", "/auth/sessions/"+unknownID, "/audit-events/{id}", "/audit-events/"+unknownID,
	)}
}

func (s sender) send(t *testing.T, r *httpapi.Route, body any) *apptest.Answer {
	t.Helper()
	c := s.c
	if r.Path == "/auth/logout" { // with a credential it may succeed
		c = s.nobody
	}
	return c.Do(t, r.Method, s.targets.Replace(r.Path), body)
}

// body is the schema of the JSON that a route takes, nil when it takes none.
func body(t *testing.T, r *httpapi.Route) *openapi3.Schema {
	t.Helper()
	op := operation(t, r)
	if op.RequestBody == nil {
		return nil
	}
	media := op.RequestBody.Value.Content["application/json"]
	if media == nil {
		return nil
	}
	return media.Schema.Value
}

// HTTP-01: the same strict parse on every route that takes a body.
func TestHTTP01_OneStrictParseOnEveryRoute(t *testing.T) {
	t.Parallel()
	s := newSender(t, "http01")
	malformed := []string{
		`{"a":1,"a":2}`, `{"a":{"b":1,"b":1}}`, `{"a":1} x`, `{"a":1}{"a":1}`, "\xef\xbb\xbf{}", `{"a":1/*x*/}`, "{}//", `{"a":NaN}`,
		`{"a":Infinity}`, `{'a':1}`, `{"a":1,}`, `{"a":01}`, "{\"a\":\"\xff\"}", "{\"a\xc0\x80\":1}", `{"a":"\ud800"}`, "{\"a\":\"\x01\"}",
		"{\"a\":\"x\ny\"}", `{"a":`, `{`, ` `, `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
		`{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`,
	}
	unfit := []string{`[]`, `"x"`, `1`, `{"a":1e400}`, `{"a":-1e400}`, `{"":1}`}
	n := 0
	for _, r := range surface(t) {
		if body(t, r) == nil {
			continue
		}
		n++
		for _, text := range malformed {
			a := s.send(t, r, text)
			require.Equal(t, []any{400, "malformed_request"}, []any{a.Status, a.Code(t)}, "%s %s: %.40q: %s", r.Method, r.Path, text, a.Body)
		}
		for _, text := range unfit {
			a := s.send(t, r, text)
			require.Equal(t, []any{422, "validation_failed"}, []any{a.Status, a.Code(t)}, "%s %s: %.40q: %s", r.Method, r.Path, text, a.Body)
		}
	}
	require.Greater(t, n, 20)
}

// REG-08: what is no field, in any route, in any spelling, is refused by its place.
func TestREG08_NothingIsTakenThatIsNoField(t *testing.T) {
	t.Parallel()
	s := newSender(t, "reg08")
	for _, r := range surface(t) {
		schema := body(t, r)
		if schema == nil {
			continue
		}
		wrong, want := doc{}, []string{}
		add := func(name string) {
			if schema.Properties[name] == nil {
				wrong[name] = "x"
				want = append(want, "/"+name)
			}
		}
		for name := range schema.Properties {
			add(strings.ToUpper(name))
			add(strings.ToUpper(name[:1]) + name[1:])
			add(name + " ")
		}
		for _, name := range []string{
			"email_verified", "status", "role", "roles", "mfa_enabled", "password_hash", "created_at", "id", "tenant", "org", "kind",
			"auth_epoch", "version", "system", "$schema", "__proto__", "redirect_to", "return_to",
		} {
			add(name)
		}
		got := pointers(t, s.send(t, r, wrong).Want(t, 422, "validation_failed"))
		require.Subset(t, got, want, "%s %s", r.Method, r.Path)
	}
}

// field is a place for a text in a body.
type field struct {
	path     []string
	schema   *openapi3.Schema
	freeform bool
}

func (f field) pointer() string { return "/" + strings.Join(f.path, "/") }

// holding is a body with nothing but this value in this place.
func (f field) holding(value any) any {
	for _, name := range slices.Backward(f.path) {
		if name == "0" {
			value = []any{value}
			continue
		}
		value = doc{name: value}
	}
	return value
}

// texts finds every place for a text below a schema.
func texts(schema *openapi3.Schema, path ...string) []field {
	path = slices.Clip(path)
	switch {
	case schema.Type.Includes("string"):
		return []field{{path: path, schema: schema}}
	case schema.Type.Includes("array"):
		return texts(schema.Items.Value, append(path, "0")...)
	case schema.Type.Includes("object"):
		var all []field
		for name, p := range schema.Properties {
			all = append(all, texts(p.Value, append(path, name)...)...)
		}
		switch more := schema.AdditionalProperties; {
		case more.Schema != nil:
			all = append(all, texts(more.Schema.Value, append(path, "x")...)...)
		case more.Has != nil && *more.Has:
			all = append(all, field{path: append(path, "x"), schema: &openapi3.Schema{}, freeform: true})
		}
		return all
	}
	return nil
}

// bounded says whether the contract itself limits the text.
func (f field) bounded() bool {
	return f.schema.MaxLength != nil || f.schema.Pattern != "" || f.schema.Format != "" || len(f.schema.Enum) > 0
}

// HTTP-02: no text that a database or a mail cannot hold gets past the edge, in any place for one that the contract has.
func TestHTTP02_EveryTextOfEveryBody(t *testing.T) {
	t.Parallel()
	s := newSender(t, "http02")
	n := 0
	for _, r := range surface(t) {
		schema := body(t, r)
		if schema == nil {
			continue
		}
		for _, f := range texts(schema) {
			n++
			where := r.Method + " " + r.Path + " " + f.pointer()
			lines := f.freeform || slices.Contains([]string{"bio", "description", "reason"}, f.path[len(f.path)-1])
			for _, bad := range []string{"a\x00b", "a\uffffb", "a\ufdd0b", "a\U0010fffe", "a\x1b[31mb", "a\u0085b", "a\rb"} {
				a := s.send(t, r, f.holding(bad)).Want(t, 422, "validation_failed")
				require.Contains(t, pointers(t, a), f.pointer(), "%s: %q", where, bad)
				require.NotContains(t, string(a.Body), "31mb", "a rejected value is not echoed")
			}
			if !lines {
				require.Contains(t, pointers(t, s.send(t, r, f.holding("a\nb")).Want(t, 422)), f.pointer(), where)
			}
			raw, err := json.Marshal(f.holding("PLACE"))
			require.NoError(t, err)
			s.send(t, r, bytes.Replace(raw, []byte("PLACE"), []byte("a\x00b"), 1)).Want(t, 400, "malformed_request")
			a := s.send(t, r, f.holding(strings.Repeat("x", 64<<10)))
			require.True(t, a.Status >= 400 && a.Status < 429 || r.Path == "/auth/logout", "%s: %d %s", where, a.Status, a.Body)
			if f.bounded() {
				require.Contains(t, pointers(t, a.Want(t, 422)), f.pointer(), where)
			}
			for _, odd := range []any{1, true, doc{}, []any{}, []any{[]any{}}, -1e300} {
				require.Less(t, s.send(t, r, f.holding(odd)).Status, 500, where)
			}
		}
	}
	require.Greater(t, n, 70)

	// A name is a text too, and a database holds no NUL in it.
	for _, name := range []string{"metadata", "app_metadata"} {
		s.send(t, route(t, "PATCH /users/{id}"), `{"`+name+`":{"a\u0000b":1}}`).Want(t, 422, "validation_failed")
		s.send(t, route(t, "PATCH /users/{id}"), doc{name: doc{"x": strings.Repeat("x", 16<<10)}}).Want(t, 422, "validation_failed")
		s.send(t, route(t, "PATCH /users/{id}"), `{"`+name+`":{"n":123456789012345678901234567890.5,"e":1e308}}`).Want(t, 200)
	}
}

func route(t *testing.T, name string) *httpapi.Route {
	t.Helper()
	all := surface(t)
	i := slices.IndexFunc(all, func(r *httpapi.Route) bool { return r.Method+" "+r.Path == name })
	require.GreaterOrEqual(t, i, 0, name)
	return all[i]
}

var hostile = []string{
	"", " ", "x", "-1", "0", "99999999999999999999", "1e3", "1.0", "true", "null", "NaN", "'", "' OR 1=1 --", "%", "_", `\`, "$1", "{}", "[]",
	"\x00", "\xff\xfe", "\uffff", "\u202e", "a\r\nb", "2026-01-01", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z",
	"-2026-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99", "2026-01-01T00:00:60Z", "294277-01-01T00:00:00Z", "01990000-0000-7000-8000-00000000000g",
	"{01990000-0000-7000-8000-000000000000}", "urn:uuid:01990000-0000-7000-8000-000000000000", "01990000000070008000000000000000",
	"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "../../etc/passwd", "created_at;DROP TABLE users",
	"active,pending", "ACTIVE", "127.0.0.1/8", "::ffff:1.2.3.4%eth0", strings.Repeat("9", 4000), strings.Repeat("ä", 2000),
}

// HTTP-06, HTTP-09, AZ-10: whatever stands in a query or a path is answered, and never by a fault of ours.
func TestHTTP06_HostileQueriesAndPaths(t *testing.T) {
	t.Parallel()
	s := newSender(t, "http06")
	for _, r := range surface(t) {
		path := s.targets.Replace(r.Path)
		if r.Path == "/users/me" || r.Path == "/auth/sessions" {
			continue // nothing in them to fill in, and one deletes
		}
		for _, p := range operation(t, r).Parameters {
			if p.Value.In == "header" {
				continue
			}
			for _, value := range hostile {
				target := path + "?" + url.QueryEscape(p.Value.Name) + "=" + url.QueryEscape(value)
				if p.Value.In == "path" {
					target = strings.Replace(r.Path, "{"+p.Value.Name+"}", url.PathEscape(value), 1)
					target = unknown.Replace(target)
				}
				var body any
				if r.Method != http.MethodGet && r.Method != http.MethodDelete {
					body = doc{}
				}
				a := s.c.Do(t, r.Method, target, body)
				require.Less(t, a.Status, 500, "%s %s: %s", r.Method, target, a.Body)
				if a.Status >= 400 {
					checkProblem(t, a)
				}
			}
		}
	}
	// Dates and times in bodies as well.
	for _, value := range hostile {
		if !strings.Contains(value, "\xff") {
			require.Less(t, s.send(t, route(t, "PATCH /profiles/{user_id}"), doc{"birth_date": value}).Status, 500, value)
			require.Less(t, s.send(t, route(t, "POST /api-keys"), newKey(doc{"expires_at": value})).Status, 500, value)
			require.Less(t, s.send(t, route(t, "PUT /users/{id}/roles/{role_id}"), doc{"expires_at": value}).Status, 500, value)
		}
	}
}

// HTTP-06: a thousand Authorization headers that are none.
func TestHTTP06_FuzzedCredentials(t *testing.T) {
	t.Parallel()
	s := common(t)
	random := rand.New(rand.NewPCG(6, 6)) // the same thousand in every run
	pieces := []string{
		"Bearer", "bearer", "Basic", "Digest", " ", "  ", "\t", ".", "..", "=", "==", ",", ";", `"`, "\\", "%00", "null", "undefined", "eyJ", "eyJhbGciOiJub25lIn0",
		"ums_live_", "ums_test_", "ums_", "-", "_", "é", "\xff", "\x7f", "\x01", "{}", "[]", "e30", "AAAA", strings.Repeat("A", 300),
	}
	for range 1000 {
		var b strings.Builder
		for range 1 + random.IntN(8) {
			if random.IntN(4) == 0 {
				b.WriteByte(byte(random.IntN(256)))
			} else {
				b.WriteString(pieces[random.IntN(len(pieces))])
			}
		}
		value := strings.NewReplacer("\r", "", "\n", "").Replace(b.String())
		header := []string{"Authorization", "X-API-Key"}[random.IntN(2)]
		res := wire(t, s, "GET /api/v1/users/me HTTP/1.1\r\nHost: localhost\r\n"+header+": "+value+"\r\nConnection: close\r\n\r\n")
		require.Contains(t, []int{400, 401}, res.StatusCode, "%s: %q", header, value)
	}
	for _, cookie := range []string{"__Host-ums_refresh=x", "\"", ";;;=", strings.Repeat("a=b;", 500)} {
		s.With("Cookie", cookie).GET(t, "/users/me").Want(t, 401, "unauthenticated")
	}
	s.GET(t, "/livez").Want(t, 200)
}

// HTTP-09: a term is text, whatever it looks like: it finds who has it in his name, and its wildcards find nobody else.
func TestHTTP09_TermsAreText(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	names := []string{"100% sure", "under_score", `back\slash`, "quo'te --", `dou"ble`, "semi;colon", "$1 ?", "{a,b}", "[x-y]", "Ünïcode", "a^b|c", "plain"}
	for i, name := range names {
		id, c := s.Person(t, root, fmt.Sprintf("http09-%d@input.test", i))
		root.PATCH(t, "/users/"+id, doc{"display_name": name}).Want(t, 200)
		c.PATCH(t, "/profiles/me", doc{"nickname": name, "visibility": "public"}).Want(t, 200)
	}
	for _, name := range names {
		for _, path := range []string{"/users", "/profiles"} {
			found := root.GET(t, path+"?search="+url.QueryEscape(strings.ToUpper(name))).Want(t, 200).Get(t, "data").([]any)
			require.Len(t, found, 1, "%s %s", path, name)
		}
	}
	for term, want := range map[string]int{"%": 1, "_": 1, `\`: 1, "%%": 0, "'": 1, "100_": 0, "und%score": 0, `\%`: 0, strings.Repeat("x", 200): 0} {
		for _, path := range []string{"/users", "/profiles"} {
			require.Len(t, root.GET(t, path+"?search="+url.QueryEscape(term)).Want(t, 200).Get(t, "data"), want, "%s %s", path, term)
		}
	}
	for _, path := range []string{"/users", "/profiles"} {
		root.GET(t, path+"?search="+strings.Repeat("x", 10_000)).Want(t, 422, "validation_failed")
	}
	require.NotContains(t, s.Log.String(), "SQLSTATE")
}

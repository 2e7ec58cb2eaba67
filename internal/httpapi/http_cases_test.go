package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/httpapi/problem"
)

// inside is what no answer may show of the machine: statements, stacks, drivers, tables, files, addresses.
var inside = regexp.MustCompile(`(?i)select |insert |sqlstate|pgx|postgres|goroutine|\.go:|panic|runtime|stack|credential_limits|audit_events|/tmp|/home|argon2|127\.0\.0\.1|::1`)

// checkProblem holds an answer against RFC 9457 and the catalogue: HTTP-05.
func checkProblem(t *testing.T, a *apptest.Answer) {
	t.Helper()
	require.Equal(t, problem.ContentType, a.Header.Get("Content-Type"), "%s", a.Body)
	p := a.JSON(t)
	for _, e := range problem.Catalogue() {
		if e.Code != p["code"] {
			continue
		}
		require.Equal(t, []any{e.Title, float64(e.Status)}, []any{p["title"], p["status"]})
		require.Equal(t, e.Status, a.Status)
		require.True(t, strings.HasSuffix(p["type"].(string), "/problems/"+e.Code), p["type"])
		require.Equal(t, a.Header.Get("X-Request-Id"), p["request_id"])
		require.NotEmpty(t, p["detail"])
		require.NotRegexp(t, inside, string(a.Body))
		require.Equal(t, a.Status == 401, a.Header.Get("WWW-Authenticate") != "")
		require.Equal(t, a.Status == 429 || a.Status == 503 || e.Code == "idempotency_in_progress", a.Header.Get("Retry-After") != "")
		return
	}
	t.Fatalf("code %v is not in the catalogue", p["code"])
}

// wire sends bytes over a connection of their own, and returns the answer with its body read.
func wire(t *testing.T, s *apptest.Service, request string) *http.Response {
	t.Helper()
	return answerOn(t, dial(t, s, request))
}

func dial(t *testing.T, s *apptest.Service, request string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.Base(), "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second))) // less than the service waits for a body
	_, _ = io.WriteString(conn, request)                                 // the server may answer and close before it has read all
	return conn
}

func answerOn(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	res.Body = io.NopCloser(strings.NewReader(string(text)))
	_ = conn.Close()
	return res
}

// HTTP-03: what is not a JSON body of a bearable size in UTF-8 is refused before it is read.
func TestHTTP03_BodiesOfOtherKinds(t *testing.T) {
	t.Parallel()
	s := common(t)
	login := doc{"email": "nobody@http03.test", "password": "x"}
	for _, media := range []string{
		"text/plain", "", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/json; charset=utf-16",
		"application/json; charset=utf-8; charset=utf-16", "application/jsonx", "application/merge-patch+json", "json", "*/*", "application/*", "\"", "application/json, text/plain",
	} {
		checkProblem(t, s.With("Content-Type", media).POST(t, "/auth/login", login).Want(t, 415, "unsupported_media_type"))
	}
	for _, media := range []string{"application/json; charset=UTF-8", "Application/JSON", "application/json;charset=\"utf-8\""} {
		s.With("Content-Type", media).POST(t, "/auth/login", login).Want(t, 401)
	}
	for _, coding := range []string{"gzip", "deflate", "br", "gzip, gzip"} {
		s.With("Content-Encoding", coding).POST(t, "/auth/login", login).Want(t, 415, "unsupported_media_type")
	}
	s.POST(t, "/auth/login", strings.Repeat(" ", 1<<20-64)+`{"email":"a@b.test","password":"x"}`).Want(t, 401)
	for _, size := range []int{1<<20 + 1, 10 << 20} {
		checkProblem(t, s.POST(t, "/auth/login", strings.Repeat(" ", size)).Want(t, 413, "payload_too_large"))
	}

	head := "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
	res := wire(t, s, head+"Transfer-Encoding: chunked\r\n\r\n"+strings.Repeat(chunk, 20)) // and it would go on
	require.Equal(t, 401, wire(t, s, strings.Replace(head, "auth/login", "users", 1)+"Transfer-Encoding: chunked\r\n\r\n"+chunk).StatusCode)
	require.Equal(t, 413, res.StatusCode)
	require.True(t, res.Close)
	res = wire(t, s, head+"Content-Length: 99999999999\r\n\r\n{")
	require.Equal(t, 413, res.StatusCode)
	require.True(t, res.Close, "what follows on the connection is the rest of the body")

	// The body ends before its length says so.
	conn := dial(t, s, head+"Content-Length: 100\r\n\r\n{\"email\":")
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	require.NoError(t, tcp.CloseWrite())
	require.Equal(t, 400, answerOn(t, conn).StatusCode)
	for _, framing := range []string{
		"Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: -1\r\n", "Content-Length: +5\r\n", "Content-Length: 5, 5\r\n",
		"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: \x0bchunked\r\n",
	} {
		require.Contains(t, []int{400, 501}, wire(t, s, head+framing+"\r\n{}   ").StatusCode, framing)
	}
	// With both, the chunks count and the length does not (RFC 9112, section 6.3): what follows them is no body.
	res = wire(t, s, head+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	require.Contains(t, []int{400, 422}, res.StatusCode)
	require.True(t, res.Close)
	s.GET(t, "/livez").Want(t, 200)
}

// HTTP-05: a problem of every class, over the wire.
func TestHTTP05_EveryClassOfRefusalIsAProblem(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	for _, a := range []*apptest.Answer{
		root.POST(t, "/roles", "{").Want(t, 400), s.GET(t, "/users").Want(t, 401), root.With("X-API-Key", "x").GET(t, "/users").Want(t, 400),
		root.GET(t, "/nothing").Want(t, 404), root.GET(t, "/api/v2/users").Want(t, 404), root.GET(t, "/users/").Want(t, 404), root.GET(t, "//users").Want(t, 404),
		root.GET(t, "/users/../users").Want(t, 404), root.GET(t, "/users/%2e%2e/users").Want(t, 404), root.GET(t, "/users%2fme").Want(t, 404),
		root.DELETE(t, "/roles").Want(t, 405), root.POST(t, "/roles", doc{"name": "admin"}).Want(t, 409),
		root.With("Content-Type", "text/plain").POST(t, "/roles", "{}").Want(t, 415), root.GET(t, "/users?x=y").Want(t, 422),
		root.With("If-Match", `"0"`).PATCH(t, "/users/me", doc{}).Want(t, 412), root.POST(t, "/roles", strings.Repeat(" ", 2<<20)).Want(t, 413),
		root.GET(t, "/problems/no_such_code").Want(t, 404), root.GET(t, "/").Want(t, 404),
	} {
		checkProblem(t, a)
	}
	for _, e := range problem.Catalogue() {
		a := s.GET(t, "/problems/"+e.Code).Want(t, 200)
		require.Contains(t, string(a.Body), e.Code)
		require.NotContains(t, a.Header.Get("Cache-Control"), "no-store")
	}
}

func TestHTTP07_HeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_PUBLIC_URL=https://id.example.com", "UMS_CORS_ORIGINS=https://app.example.com", "UMS_ALLOWED_HOSTS=id.example.com,127.0.0.1"))
	root := s.Admin(t)
	ours, theirs := root.With("Origin", "https://app.example.com"), root.With("Origin", "https://evil.example.com")
	for path, status := range map[string]int{"/users/me": 200, "/users/" + unknownID: 404, "/nothing": 404, "/users?x=y": 422} {
		a := ours.GET(t, path).Want(t, status)
		require.Equal(t, "https://app.example.com", a.Header.Get("Access-Control-Allow-Origin"), "on errors as well")
		for _, name := range strings.Fields("ETag Link Location Retry-After RateLimit RateLimit-Policy X-Request-Id Idempotency-Replayed") {
			require.Regexp(t, `(^|, )`+name+`(,|$)`, a.Header.Get("Access-Control-Expose-Headers"))
		}
		require.Contains(t, a.Header.Values("Vary"), "Origin")
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
		require.Contains(t, a.Header.Get("Strict-Transport-Security"), "max-age=31536000")
		require.Empty(t, a.Header.Get("Server"))
		a = theirs.GET(t, path).Want(t, status)
		require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
		require.Contains(t, a.Header.Values("Vary"), "Origin")
	}
	for _, origin := range []string{"null", "http://app.example.com", "https://app.example.com.evil.test", "https://APP.example.com", "http://localhost:3000"} {
		a := root.With("Origin", origin).GET(t, "/users/me").Want(t, 200)
		require.NotEqual(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
		if origin != "http://localhost:3000" { // this is development
			require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), origin)
		}
	}
	preflight := s.With("Origin", "https://app.example.com").With("Access-Control-Request-Method", "PATCH").Do(t, "OPTIONS", "/users/me", nil).Want(t, 204)
	require.Contains(t, preflight.Header.Get("Access-Control-Allow-Methods"), "PATCH")
	require.Contains(t, preflight.Header.Get("Access-Control-Allow-Headers"), "If-Match")

	for host, status := range map[string]int{"id.example.com": 200, "ID.example.com:443": 200, "evil.test": 421, "id.example.com.evil.test": 421, "id.example.com:80@evil.test": 421} {
		res := wire(t, s, "GET /api/v1/auth/config HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		require.Contains(t, []int{status, map[bool]int{true: 400, false: status}[status == 421]}, res.StatusCode, host)
	}
	res := wire(t, s, "GET https://evil.test/api/v1/auth/config HTTP/1.1\r\nHost: id.example.com\r\nConnection: close\r\n\r\n")
	require.Equal(t, 421, res.StatusCode, "a request line in absolute form names the host")
	res = wire(t, s, "GET /livez HTTP/1.1\r\nHost: 10.0.0.7\r\nConnection: close\r\n\r\n")
	require.Equal(t, 200, res.StatusCode, "a probe may use any")
	for _, method := range []string{"TRACE", "CONNECT", "PROPFIND", "GETT"} {
		res := wire(t, s, method+" /api/v1/users/me HTTP/1.1\r\nHost: id.example.com\r\nConnection: close\r\n\r\n")
		require.Equal(t, 405, res.StatusCode, method)
		require.NotEmpty(t, res.Header.Get("Allow"), method)
	}
}

// HEAD is GET without the body (RFC 9110, section 9.3.2), OPTIONS names the methods.
func TestHTTP07_HeadAndOptions(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	for _, path := range []string{"/users/me", "/roles/" + adminRole, "/audit-events?limit=2", "/auth/config", "/livez", "/readyz", "/openapi.json", "/problems/not_found", "/.well-known/jwks.json"} {
		get, head := root.GET(t, path).Want(t, 200), root.Do(t, "HEAD", path, nil).Want(t, 200)
		require.Empty(t, head.Body, path)
		for _, name := range []string{"Content-Type", "ETag", "Cache-Control"} {
			require.Equal(t, get.Header.Get(name), head.Header.Get(name), path)
		}
	}
	s.Do(t, "HEAD", "/users/me", nil).Want(t, 401)
	root.Do(t, "HEAD", "/users/"+unknownID, nil).Want(t, 404)
	a := root.Do(t, "HEAD", "/auth/login", nil).Want(t, 405)
	require.Equal(t, "POST", a.Header.Get("Allow"))
	for _, probe := range []string{"/livez", "/readyz"} {
		res := wire(t, s, "POST "+probe+" HTTP/1.1\r\nHost: id.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		require.Equal(t, "405 GET, HEAD", fmt.Sprint(res.StatusCode, " ", res.Header.Get("Allow")))
	}
	require.Equal(t, "GET, HEAD, PATCH, DELETE", root.POST(t, "/users/me", doc{}).Want(t, 405).Header.Get("Allow"))
}

func TestRequestIDIsTakenOrMade(t *testing.T) {
	t.Parallel()
	s := common(t)
	for _, good := range []string{"abcd1234", "A-b-C-d-1", strings.Repeat("a", 64)} {
		require.Equal(t, good, s.With("X-Request-Id", good).GET(t, "/auth/config").Header.Get("X-Request-Id"))
	}
	for _, bad := range []string{"short", strings.Repeat("a", 65), "abcd 1234", "abcd_1234", "abcd1234;", "äbcd12345"} {
		id := s.With("X-Request-Id", bad).GET(t, "/nothing").Header.Get("X-Request-Id")
		require.Regexp(t, `^[A-Za-z0-9-]{8,64}$`, id)
		require.NotEqual(t, bad, id)
	}
}

// The contract's order of refusals: of two faults in one request the first is answered.
func TestOrderOfRefusals(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	_, plain := s.Person(t, root, "plain@order.test")
	writer := root.POST(t, "/roles", doc{"name": "order-writer", "permissions": []string{"users:write"}}).Want(t, 201)
	_, helper := s.Person(t, root, "writer@order.test", "order-writer")
	boss, bosses := s.Person(t, root, "boss@order.test", "admin")
	rated := bosses.POST(t, "/api-keys", newKey(doc{"rate_limit": doc{"limit": 1, "window_seconds": 86400}})).Want(t, 201).String(t, "key")
	s.Bearer(rated).GET(t, "/users/me").Want(t, 200)
	text, stale := func(c *apptest.Client) *apptest.Client { return c.With("Content-Type", "text/plain") }, func(c *apptest.Client) *apptest.Client { return c.With("If-Match", `"0"`) }
	two := func(c *apptest.Client) *apptest.Client { return c.With("X-API-Key", "x") }
	big, role := strings.Repeat(" ", 2<<20), "/roles/"+writer.String(t, "id")
	for _, c := range []struct {
		name string
		a    *apptest.Answer
		code string
	}{
		{"405 before 415", text(root).PUT(t, "/users", "x"), "method_not_allowed"},
		{"415 before 413", text(root).POST(t, "/users", big), "unsupported_media_type"},
		{"413 before 400 of credentials", two(root).POST(t, "/users", big), "payload_too_large"},
		{"400 of credentials before 401", two(s.Bearer("x")).POST(t, "/users", "{"), "multiple_credentials"},
		{"400 of credentials on public routes", two(s.Bearer("x")).POST(t, "/auth/login", "{"), "multiple_credentials"},
		{"a bad credential does not count on public routes", s.Bearer("x").POST(t, "/auth/login", doc{}), "validation_failed"},
		{"401 before 429", s.Bearer(rated+"x").GET(t, "/users"), "invalid_api_key"},
		{"429 before 403", s.Bearer(rated).GET(t, "/users"), "rate_limited"},
		{"429 before 403 of the kind", s.Bearer(rated).GET(t, "/auth/sessions"), "rate_limited"},
		{"403 by policy before 400", plain.POST(t, "/users", "{"), "permission_denied"},
		{"403 by policy before 422", plain.GET(t, "/users?x=y"), "permission_denied"},
		{"403 by policy before 404", plain.GET(t, "/users/x"), "permission_denied"},
		{"400 before 422", root.POST(t, "/users?x=y", "{"), "malformed_request"},
		{"422 by shape before 404", root.PATCH(t, "/users/"+unknownID, doc{"x": 1}), "validation_failed"},
		{"422 of the query before 404", root.GET(t, "/users/"+unknownID+"?x=y"), "validation_failed"},
		{"404 before 412", stale(root).PATCH(t, "/users/"+unknownID, doc{}), "not_found"},
		{"404 before 403 by target", helper.PATCH(t, "/users/"+unknownID, doc{}), "not_found"},
		{"403 by target before 412", stale(helper).PATCH(t, "/users/"+boss, doc{"email": "plain@order.test"}), "privilege_escalation"},
		{"403 by target before 409", helper.PATCH(t, "/users/"+boss, doc{"email": "plain@order.test"}), "privilege_escalation"},
		{"412 before 409", stale(root).PATCH(t, "/users/"+boss, doc{"email": "plain@order.test"}), "precondition_failed"},
		{"412 before 409 of a role", stale(root).DELETE(t, "/roles/"+adminRole), "precondition_failed"},
		{"412 before 422 that needs data", stale(root).PATCH(t, role, doc{"permissions": []string{"no:such"}}), "precondition_failed"},
		{"409 before 422 that needs data", root.POST(t, "/roles", doc{"name": "admin", "permissions": []string{"no:such"}}), "already_exists"},
		{"409 of a system role before 422 that needs data", root.PATCH(t, "/roles/"+adminRole, doc{"permissions": []string{"no:such"}}), "system_role"},
		{"409 of an address before 422 that needs data", root.POST(t, "/users", doc{"email": "plain@order.test", "roles": []string{"no-such"}}), "email_taken"},
	} {
		require.Equal(t, c.code, c.a.Code(t), "%s: %s", c.name, c.a.Body)
	}
}

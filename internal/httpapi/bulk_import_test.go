package httpapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

const importedHash = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG3kZ0NWVHc0E"

// finished waits until the jobs have worked an import.
func finished(t *testing.T, c *apptest.Client, location string) (last *apptest.Answer) {
	t.Helper()
	require.Eventually(t, func() bool {
		last = c.GET(t, strings.TrimPrefix(location, "/api/v1")).Want(t, 200)
		return last.String(t, "status") == "done"
	}, 20*time.Second, 20*time.Millisecond)
	return last
}

// An import is answered when it has been received; jobs work it, and what was not taken is told line by line.
func TestImportOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	body := `{"email": "ada@example.org", "email_verified": true, "password_hash": "` + importedHash + `", "roles": ["admin"], "created_at": "2020-01-01T00:00:00Z"}
{"email": "bob@example.org", "secret": "of bob"}
{"email": "cy@example.org"}`
	for len(body) < 2<<20 { // more than any other body may have
		body += "\n" + `{"kind": "service", "display_name": "` + strings.Repeat("n", 121) + `", "app_metadata": {"k": "` + strings.Repeat("x", 30000) + `"}}`
	}
	begin := asLines(root).With("Idempotency-Key", "import-1")
	first := begin.POST(t, "/users/import", body).Want(t, 202)
	location := first.Header.Get("Location")
	require.Equal(t, "/api/v1/users/import/"+first.String(t, "id"), location)
	last := finished(t, root, location)
	require.EqualValues(t, 2, last.Get(t, "created"))
	require.Equal(t, last.Get(t, "total"), last.Get(t, "processed"))
	require.Equal(t, []any{"admin", "user"}, root.GET(t, "/users?email=ada@example.org").Want(t, 200).Get(t, "data.0.roles"))
	require.Equal(t, "pending", root.GET(t, "/users?email=cy@example.org").Want(t, 200).String(t, "data.0.status"))

	errors := root.GET(t, strings.TrimPrefix(location, "/api/v1")+"/errors").Want(t, 200)
	require.Equal(t, "application/x-ndjson", errors.Header.Get("Content-Type"))
	var e struct {
		Line   int
		Code   string
		Errors []map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(strings.SplitN(string(errors.Body), "\n", 2)[0]), &e))
	require.Equal(t, 2, e.Line)
	require.Equal(t, "unknown_field", e.Errors[0]["code"])
	require.NotContains(t, string(errors.Body), "of bob")
	require.EqualValues(t, last.Get(t, "failed"), strings.Count(string(errors.Body), "\n"))

	// The same again is the first answer; other lines or another mode under the same key are refused.
	again := begin.POST(t, "/users/import", body).Want(t, 202)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Equal(t, location, again.Header.Get("Location"))
	require.JSONEq(t, string(first.Body), string(again.Body))
	begin.POST(t, "/users/import?dry_run=true", body).Want(t, 422, "idempotency_key_reused")
	begin.POST(t, "/users/import", `{"email": "dan@example.org"}`).Want(t, 422, "idempotency_key_reused")
	require.Len(t, root.GET(t, "/audit-events?action=user.import&outcome=success").Want(t, 200).Get(t, "data"), 1)

	tried := asLines(root).POST(t, "/users/import?dry_run=true&on_conflict=update", `{"email": "dan@example.org"}`).Want(t, 202)
	require.EqualValues(t, 1, finished(t, root, tried.Header.Get("Location")).Get(t, "created"))
	require.Empty(t, root.GET(t, "/users?email=dan@example.org").Want(t, 200).Get(t, "data"))

	for query, lines := range map[string]string{"?on_conflict=replace": `{}`, "?force=true": `{}`} {
		asLines(root).POST(t, "/users/import"+query, lines).Want(t, 422, "validation_failed")
	}
	asLines(root).POST(t, "/users/import", "\n").Want(t, 422, "validation_failed")
	root.POST(t, "/users/import", doc{}).Want(t, http.StatusUnsupportedMediaType, "unsupported_media_type")
	root.GET(t, "/users/import/00000000-0000-4000-8000-000000000000").Want(t, 404, "not_found")
	root.GET(t, "/users/import/00000000-0000-4000-8000-000000000000/errors").Want(t, 404, "not_found")
	_, eve := s.Person(t, root, "eve@example.com")
	asLines(eve).POST(t, "/users/import", body).Want(t, http.StatusForbidden, "permission_denied")
	eve.GET(t, strings.TrimPrefix(location, "/api/v1")).Want(t, http.StatusForbidden, "permission_denied")
}

// lineErrors are the codes of the lines that an import did not take, by line.
func lineErrors(t *testing.T, c *apptest.Client, location string) map[int]string {
	t.Helper()
	codes := map[int]string{}
	text := string(c.GET(t, strings.TrimPrefix(location, "/api/v1")+"/errors").Want(t, 200).Body)
	for line := range strings.Lines(text) {
		var e struct {
			Line int
			Code string
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		codes[e.Line] = e.Code
	}
	return codes
}

// A key imports as far as its scopes go: profiles by their permission, and roles, which need a session, never.
func TestImportByAPIKey(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	key := func(scopes ...string) *apptest.Client {
		return s.Bearer(root.POST(t, "/api-keys", newKey(doc{"scopes": scopes})).Want(t, 201).String(t, "key"))
	}
	lines := func(name string) string {
		return fmt.Sprintf(`{"email": "%[1]s@key.test", "email_verified": true}
{"email": "%[1]s-2@key.test", "roles": ["admin"]}
{"email": "%[1]s-3@key.test", "profile": {"given_name": "Ada"}}`, name)
	}
	for _, c := range []struct {
		name   string
		scopes []string
		errors map[int]string
	}{
		{"few", []string{"users:import"}, map[int]string{2: "session_required", 3: "permission_denied"}},
		{"more", []string{"users:import", "profiles:write"}, map[int]string{2: "session_required"}},
		{"all", []string{"*"}, map[int]string{2: "session_required"}},
	} {
		by := key(c.scopes...)
		a := asLines(by).POST(t, "/users/import", lines(c.name)).Want(t, 202)
		done := finished(t, by, a.Header.Get("Location"))
		require.Equal(t, c.errors, lineErrors(t, by, a.Header.Get("Location")), c.name)
		require.EqualValues(t, 3-len(c.errors), done.Get(t, "created"))
		made := root.GET(t, "/audit-events?action=user.create&actor_id="+by.GET(t, "/api-keys/current").Want(t, 200).String(t, "id")).Want(t, 200)
		require.Len(t, made.Get(t, "data"), 3-len(c.errors))
		require.Equal(t, "api_key", made.String(t, "data.0.actor.type"))
	}
	asLines(key("users:read")).POST(t, "/users/import", lines("none")).Want(t, 403, "permission_denied")
}

// An upload that stalls is refused, its connection ends, and nothing of it stays.
func TestStalledUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Stall(2*time.Second))
	token := s.POST(t, "/auth/login", doc{"email": apptest.AdminEmail, "password": apptest.AdminPassword}).Want(t, 200).String(t, "access_token")
	body := strings.Repeat(`{"email": "ada@stall.test"}`+"\n", 1100) // of which the first thousand are staged
	uploads := map[string]net.Conn{}
	for length, body := range map[string]string{
		"Content-Length: 4000000": body, "Transfer-Encoding: chunked": fmt.Sprintf("%x\r\n%s\r\n", len(body), body),
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.Base(), "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "POST /api/v1/users/import HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"+
			"Idempotency-Key: stall\r\nContent-Type: application/x-ndjson\r\n%s\r\n\r\n%s", token, length, body)
		require.NoError(t, err)
		uploads[length] = conn
	}
	for length, conn := range uploads {
		in := bufio.NewReader(conn)
		res, err := http.ReadResponse(in, nil)
		require.NoError(t, err, length)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, length)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Contains(t, string(text), "malformed_request")
		_, err = in.ReadByte()
		require.ErrorIs(t, err, io.EOF, "the connection is over")
	}
	require.Zero(t, count(t, s, `SELECT (SELECT count(*) FROM imports) + (SELECT count(*) FROM import_lines) + (SELECT count(*) FROM idempotency_keys)`))
	asLines(s.Bearer(token)).With("Idempotency-Key", "stall").POST(t, "/users/import", `{"email": "ada@stall.test"}`).Want(t, 202)
}

package httpapi_test

import (
	"encoding/json"
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

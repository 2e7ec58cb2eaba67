package httpapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// The export is the list, whatever the number of batches, by the same filters, without secrets, and is recorded.
func TestUserExportIsTheList(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	_, ada := s.Person(t, root, "ada@example.com")
	execute(t, s, `INSERT INTO users (id, kind, email, email_norm, display_name, status, created_at)
		SELECT gen_random_uuid(), CASE WHEN n % 7 = 0 THEN 'service' ELSE 'human' END,
			CASE WHEN n % 7 <> 0 THEN 'u' || n || '@example.org' END, CASE WHEN n % 7 <> 0 THEN 'u' || n || '@example.org' END,
			E'Number \n" ' || n, 'active', timestamptz '2026-01-01' + make_interval(secs => n / 3) FROM generate_series(1, 1203) n`)
	exported := func(query string) (users []any) {
		a := root.GET(t, "/users/export"+query).Want(t, 200)
		require.Equal(t, "application/x-ndjson", a.Header.Get("Content-Type"))
		require.Equal(t, `attachment; filename="users.ndjson"`, a.Header.Get("Content-Disposition"))
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.NotContains(t, string(a.Body), "argon2")
		require.NotContains(t, string(a.Body), "password")
		for line := range strings.Lines(string(a.Body)) {
			var u any
			require.NoError(t, json.Unmarshal([]byte(line), &u))
			users = append(users, u)
		}
		return users
	}
	for _, filter := range []string{"", "&kind=service", "&status=active&created_before=2026-01-01T00:05:00Z", "&search=number", "&role=admin", "&sort=created_at"} {
		var listed []any
		for next := "/users?limit=200" + filter; ; {
			a := root.GET(t, next).Want(t, 200)
			listed = append(listed, a.Get(t, "data").([]any)...)
			cursor := a.String(t, "next_cursor")
			if cursor == "" {
				break
			}
			next = "/users?limit=200" + filter + "&cursor=" + cursor
		}
		require.NotEmpty(t, listed)
		require.Equal(t, listed, exported("?"+strings.TrimPrefix(filter, "&")), filter)
	}
	require.Empty(t, exported("?email=nobody@example.com"))
	events := root.GET(t, "/audit-events?action=user.bulk_export").Want(t, 200).Get(t, "data").([]any)
	require.Len(t, events, 7)

	for query, code := range map[string]string{
		"sort=email": "validation_failed", "limit=1": "validation_failed", "cursor=x": "validation_failed", "include=total": "validation_failed",
		"email=x": "validation_failed", "search=ab": "unsupported_filter", "kind=human&status=active&role=admin": "unsupported_filter",
	} {
		root.GET(t, "/users/export?"+query).Want(t, http.StatusUnprocessableEntity, code)
	}
	require.Len(t, root.GET(t, "/audit-events?action=user.bulk_export").Want(t, 200).Get(t, "data"), 7, "a refused one exports nothing")
	head := root.Do(t, http.MethodHead, "/users/export", nil)
	require.Equal(t, 200, head.Status)
	require.Empty(t, head.Body)
	require.Equal(t, "users:export", ada.GET(t, "/users/export").Want(t, http.StatusForbidden, "permission_denied").String(t, "required"))

	// users:export is a right of its own: users:read does not export, and an exporter need not be able to read.
	root.POST(t, "/roles", doc{"name": "exporter", "permissions": []string{"users:export"}}).Want(t, 201)
	root.POST(t, "/roles", doc{"name": "reader", "permissions": []string{"users:read"}}).Want(t, 201)
	_, exporter := s.Person(t, root, "exporter@example.com", "exporter")
	_, reader := s.Person(t, root, "reader@example.com", "reader")
	exporter.GET(t, "/users/export?email=ada@example.com").Want(t, 200)
	reader.GET(t, "/users/export").Want(t, http.StatusForbidden, "permission_denied")
}

package httpapi_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// AUD-02 over HTTP: each step of a key's life is one event, and a refusal is one too.
func TestAUD02OverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	user, by := s.Person(t, root, "ada@example.com")
	key := by.With("X-Request-Id", "request-of-ada").With("User-Agent", "cli/1").
		POST(t, "/api-keys", newKey()).Want(t, http.StatusCreated)
	path := "/api-keys/" + key.String(t, "id")
	by.PATCH(t, path, fields{"name": "deploy"}).Want(t, http.StatusOK)
	by.PATCH(t, path, fields{"name": "deploy"}).Want(t, http.StatusOK) // changes nothing
	by.PATCH(t, path, fields{"scopes": []string{"*"}}).Want(t, http.StatusForbidden)
	by.DELETE(t, path).Want(t, http.StatusNoContent)
	by.DELETE(t, path).Want(t, http.StatusNoContent)

	events := root.GET(t, "/audit-events?sort=time&target_id="+key.String(t, "id")).Want(t, http.StatusOK)
	var got [][2]string
	for _, e := range events.Get(t, "data").([]any) {
		e := e.(map[string]any)
		got = append(got, [2]string{e["action"].(string), e["outcome"].(string)})
	}
	require.Equal(t, [][2]string{
		{"api_key.create", "success"}, {"api_key.update", "success"}, {"api_key.update", "denied"}, {"api_key.revoke", "success"},
	}, got)
	require.Equal(t, "user", events.String(t, "data.0.actor.type"))
	require.Equal(t, user, events.String(t, "data.0.actor.id"))
	require.Equal(t, "ada@example.com", events.String(t, "data.0.actor.label"))
	require.Equal(t, "api_key", events.String(t, "data.0.target.type"))
	require.Equal(t, "request-of-ada", events.String(t, "data.0.request_id"))
	require.Equal(t, "cli/1", events.String(t, "data.0.user_agent"))
	require.Equal(t, "127.0.0.1", events.String(t, "data.0.ip"))
	require.Equal(t, map[string]any{"name": map[string]any{"from": "ci", "to": "deploy"}}, events.Get(t, "data.1.changes"))
	require.Equal(t, "privilege_escalation", events.String(t, "data.2.reason"))
	require.NotContains(t, string(events.Body), key.String(t, "key")[len("ums_live_")+22:])

	single := root.GET(t, "/audit-events/"+events.String(t, "data.1.id")).Want(t, http.StatusOK)
	require.Equal(t, events.Get(t, "data.1"), any(single.JSON(t)))
	require.Equal(t, http.StatusNotModified,
		root.With("If-None-Match", single.Header.Get("ETag")).GET(t, "/audit-events/"+events.String(t, "data.1.id")).Status)
}

func TestAuditListOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	_, by := s.Person(t, root, "ada@example.com")
	require.Equal(t, "audit:read", by.GET(t, "/audit-events").Want(t, http.StatusForbidden, "permission_denied").String(t, "required"))
	by.GET(t, "/audit-events/nonsense").Want(t, http.StatusForbidden) // alike for every id
	root.GET(t, "/audit-events/nonsense").Want(t, http.StatusNotFound, "not_found")
	require.NotEmpty(t, root.GET(t, "/audit-events?action=audit_event.list&outcome=denied").Want(t, http.StatusOK).String(t, "data.0.id"))

	all := root.GET(t, "/audit-events?limit=200").Want(t, http.StatusOK).Get(t, "data").([]any)
	require.Greater(t, len(all), 3)
	var walked []any
	next := "/audit-events?limit=2"
	for {
		a := root.GET(t, next).Want(t, http.StatusOK)
		walked = append(walked, a.Get(t, "data").([]any)...)
		cursor := a.String(t, "next_cursor")
		if cursor == "" {
			require.Empty(t, a.Header.Get("Link"))
			break
		}
		next = "/audit-events?limit=2&cursor=" + url.QueryEscape(cursor)
		require.Contains(t, a.Header.Get("Link"), `rel="next"`)
		by.GET(t, next).Want(t, http.StatusForbidden)
		root.GET(t, next+"&outcome=denied").Want(t, http.StatusBadRequest, "invalid_cursor")
		root.GET(t, next+"&sort=time").Want(t, http.StatusBadRequest, "invalid_cursor")
		root.GET(t, "/api-keys?cursor="+url.QueryEscape(cursor)).Want(t, http.StatusBadRequest, "invalid_cursor")
	}
	require.Equal(t, all, walked[len(walked)-len(all):], "what was there at the beginning comes once, in order")

	for _, query := range []string{"ip=x", "ip=fe80::1%25eth0", "from=yesterday", "actor_id=me", "target_id=1", "outcome=maybe", "sort=action", "color=red"} {
		root.GET(t, "/audit-events?"+query).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	}
	require.Empty(t, root.GET(t, "/audit-events?to=2020-01-01T00:00:00Z").Want(t, http.StatusOK).Get(t, "data"))
	require.NotEmpty(t, root.GET(t, "/audit-events?ip=127.0.0.1&from=2020-01-01T00:00:00Z").Want(t, http.StatusOK).Get(t, "data"))
}

package httpapi_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// AUD-05: what people wrote into names and headers can harm no one who opens an export: a line an event, nothing that a
// spreadsheet runs or a terminal obeys.
func TestAUD05_ExportsAreHarmless(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	for i, name := range []string{"=cmd|' /C calc'!A0", "+1", "-1", "@sum(A1)", " =1+1", "＝1", "quoted \"; x", "plain, with a comma"} {
		root.With("User-Agent", "=agent \u202e"+strings.Repeat("x", 600)).
			POST(t, "/users", doc{"kind": "service", "display_name": name, "external_id": string(rune('a' + i))}).Want(t, 201)
	}
	root.GET(t, "/users?limit=1").Want(t, 200)
	id, _ := s.Person(t, root, "ada@example.com")
	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "first\nsecond\tthird"}).Want(t, 200)

	a := root.GET(t, "/audit-events/export?format=csv").Want(t, 200)
	require.Equal(t, "text/csv; charset=utf-8", a.Header.Get("Content-Type"))
	require.Equal(t, `attachment; filename="audit-events.csv"`, a.Header.Get("Content-Disposition"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	rows, err := csv.NewReader(bytes.NewReader(a.Body)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, strings.Count(string(a.Body), "\n"), "one line an event")
	require.Equal(t, "id,time,action,outcome,actor_type,actor_id,actor_label,target_type,target_id,target_label,changes,reason,ip,user_agent,request_id",
		strings.Join(rows[0], ","))
	labels := map[string]bool{}
	for _, row := range rows[1:] {
		for _, cell := range row {
			require.NotContains(t, "=+-@＝\t\r\n ", string([]rune(cell + "x")[0]), cell)
			require.NotContains(t, cell, "\u202e")
		}
		labels[row[9]] = true
		if row[2] == "user.suspend" {
			require.Equal(t, `first\u000asecond\u0009third`, row[11])
		}
	}
	require.True(t, labels["'=cmd|' /C calc'!A0"] && labels["' =1+1"] && labels["'＝1"] && labels["quoted \"; x"] && labels["plain, with a comma"], labels)
}

// The export is what the list shows, whatever the number of batches, by the same filters, and is recorded.
func TestExportIsTheList(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	execute(t, s, `INSERT INTO audit_events (id, time, action, outcome, actor_type)
		SELECT gen_random_uuid(), now() - make_interval(secs => n / 3), 'test.fill', 'success', 'system' FROM generate_series(1, 1203) n`)
	var listed []any
	for next := "/audit-events?limit=200&action=test.fill"; ; {
		a := root.GET(t, next).Want(t, 200)
		listed = append(listed, a.Get(t, "data").([]any)...)
		cursor := a.String(t, "next_cursor")
		if cursor == "" {
			break
		}
		next = "/audit-events?limit=200&action=test.fill&cursor=" + cursor
	}
	require.Len(t, listed, 1203)
	exported := func(query string) (events []any) {
		a := root.GET(t, "/audit-events/export"+query).Want(t, 200)
		require.Equal(t, "application/x-ndjson", a.Header.Get("Content-Type"))
		for line := range strings.Lines(string(a.Body)) {
			var e any
			require.NoError(t, json.Unmarshal([]byte(line), &e))
			events = append(events, e)
		}
		return events
	}
	require.Equal(t, listed, exported("?action=test.fill"))
	ascending := exported("?action=test.fill&sort=time")
	require.Len(t, ascending, 1203)
	require.Equal(t, listed[0], ascending[len(ascending)-1])
	require.Empty(t, exported("?action=no.such"))
	require.Len(t, root.GET(t, "/audit-events?action=audit_event.export").Get(t, "data"), 3)

	head := root.Do(t, http.MethodHead, "/audit-events/export", nil)
	require.Equal(t, 200, head.Status)
	require.Empty(t, head.Body)
	for _, query := range []string{"format=xml", "ip=x", "limit=1", "cursor=x", "actor_id=me"} {
		root.GET(t, "/audit-events/export?"+query).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	}
	_, ada := s.Person(t, root, "ada@example.com")
	require.Equal(t, "audit:read", ada.GET(t, "/audit-events/export").Want(t, http.StatusForbidden, "permission_denied").String(t, "required"))
}

// One's own events: what one did, what was done to one and by whom, but of others nothing that is theirs.
func TestOwnEventsTellNothingOfOthers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t).With("User-Agent", "secret agent of root")
	rootID := root.GET(t, "/users/me").String(t, "id")
	id, ada := s.Person(t, root, "ada@example.com", "admin")
	eve, _ := s.Person(t, root, "eve@example.com")
	ada = ada.With("User-Agent", "agent of ada")
	ada.PATCH(t, "/users/me", doc{"display_name": "Ada"}).Want(t, 200)
	key := ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"me:write"}})).Want(t, 201)
	s.Bearer(key.String(t, "key")).PATCH(t, "/users/me", doc{"display_name": "A."}).Want(t, 200)
	root.PATCH(t, "/users/"+id, doc{"external_id": "crm-1"}).Want(t, 200)
	ada.PATCH(t, "/users/"+eve, doc{"external_id": "of eve"}).Want(t, 200)
	ada.POST(t, "/users/"+eve+"/suspend", doc{"reason": "eve was loud"}).Want(t, 200)
	ada.POST(t, "/roles", doc{"name": "mine"}).Want(t, 201)
	s.With("User-Agent", "agent of a stranger").POST(t, "/auth/login", doc{"email": "ada@example.com", "password": "not the password"}).Want(t, 401)
	root.POST(t, "/users/"+eve+"/reactivate", nil).Want(t, 200) // none of ada's business

	whole := ada.GET(t, "/users/me/audit-events?limit=200").Want(t, 200)
	for _, theirs := range []string{"eve@example.com", "of eve", "eve was loud", "admin@example.com", "secret agent", "of a stranger", "127.0.0.1:"} {
		require.NotContains(t, string(whole.Body), theirs)
	}
	seen := map[string]map[string]any{}
	var walked []any
	for _, e := range whole.Get(t, "data").([]any) {
		e := e.(map[string]any)
		seen[e["action"].(string)+" "+e["actor"].(map[string]any)["type"].(string)] = e
	}
	require.Equal(t, rootID, seen["user.create user"]["actor"].(map[string]any)["id"])
	require.Nil(t, seen["user.create user"]["ip"])
	require.Equal(t, "ada@example.com", seen["user.create user"]["target"].(map[string]any)["label"])
	require.NotEmpty(t, seen["user.create user"]["changes"])
	require.Equal(t, "127.0.0.1", seen["user.update api_key"]["ip"])
	require.Equal(t, "agent of ada", seen["api_key.create user"]["user_agent"])
	require.Equal(t, eve, seen["user.suspend user"]["target"].(map[string]any)["id"])
	require.Empty(t, seen["user.suspend user"]["changes"])
	require.Equal(t, "mine", seen["role.create user"]["target"].(map[string]any)["label"])
	require.Nil(t, seen["auth.login anonymous"]["ip"])
	require.NotContains(t, seen, "user.reactivate user")
	require.NotContains(t, seen, "auth.login system")

	for next := "/users/me/audit-events?limit=3&sort=time"; ; {
		a := ada.GET(t, next).Want(t, 200)
		walked = append(walked, a.Get(t, "data").([]any)...)
		cursor := a.String(t, "next_cursor")
		if cursor == "" {
			break
		}
		next = "/users/me/audit-events?limit=3&sort=time&cursor=" + cursor
		root.GET(t, next).Want(t, 400, "invalid_cursor")
		ada.GET(t, next+"&to=2031-01-01T00:00:00Z").Want(t, 400, "invalid_cursor")
	}
	all := whole.Get(t, "data").([]any)
	require.Len(t, walked, len(all))
	for i := range all {
		require.Equal(t, all[i], walked[len(walked)-1-i])
	}
	require.Empty(t, ada.GET(t, "/users/me/audit-events?to=2020-01-01T00:00:00Z").Want(t, 200).Get(t, "data"))
	require.NotEmpty(t, ada.GET(t, "/users/me/audit-events?from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z").Want(t, 200).Get(t, "data"))
	s.Bearer(key.String(t, "key")).GET(t, "/users/me/audit-events").Want(t, 403, "session_required")
}

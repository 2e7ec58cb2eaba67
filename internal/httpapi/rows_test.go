package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/httpapi"
)

// conflicts are the routes that can answer 409 apart from repeats in flight, by the contract's rules for each resource.
// Whatever else can occur follows from what the contract says of a route: see mustOccur.
var conflicts = strings.Split(strings.TrimSpace(`
POST /auth/email/change/confirm
POST /auth/email/change/undo
POST /auth/passkeys/registration
DELETE /auth/passkeys/{id}
DELETE /users/me
POST /users
PATCH /users/{id}
DELETE /users/{id}
POST /users/{id}/suspend
POST /users/{id}/invite
PUT /users/{id}/roles/{role_id}
DELETE /users/{id}/roles/{role_id}
POST /roles
PATCH /roles/{id}
DELETE /roles/{id}
POST /permissions
DELETE /permissions/{name}
POST /api-keys/{id}/rotate`), "\n")

// mustOccur lists the statuses that a route can answer with, so that each must have its row.
func mustOccur(t *testing.T, r *httpapi.Route) []int {
	t.Helper()
	op := operation(t, r)
	must := []int{r.Status, 400, 422} // everywhere: two credentials, an unknown query parameter
	if op.Security != nil && len(*op.Security) > 0 && !slices.ContainsFunc(*op.Security, anonymous) {
		must = append(must, 401, 403)
	}
	if strings.Contains(r.Path, "{") {
		must = append(must, 404)
	}
	if op.Parameters.GetByInAndName("header", "If-Match") != nil {
		must = append(must, 412)
	}
	if op.Responses.Value("304") != nil {
		must = append(must, 304)
	}
	if slices.Contains(conflicts, r.Method+" "+r.Path) {
		must = append(must, 409)
	}
	return must
}

// anonymous is the alternative of no credential at all.
func anonymous(r openapi3.SecurityRequirement) bool { return len(r) == 0 }

// everywhere adds the refusals that every route has, in the form of a request that would otherwise succeed.
func (w *world) everywhere(r *httpapi.Route, success row) []row {
	refuse := func(by *apptest.Client, status int, code string) row {
		if takesForm(success.route) {
			by = asForm(by)
		}
		if takesPicture(success.route) {
			by = asPicture(by)
		}
		if takesLines(success.route) {
			by = asLines(by)
		}
		return row{route: success.route, by: by, path: success.path, body: success.body, status: status, code: code}
	}
	two := w.root.With("X-API-Key", "x")
	strange := refuse(success.by, 422, "validation_failed")
	strange.path = strange.url() + map[bool]string{true: "&", false: "?"}[strings.Contains(strange.url(), "?")] + "color=red"
	rows := []row{refuse(two, 400, "multiple_credentials"), strange}
	if success.body != nil && !takesLines(success.route) { // a malformed line is one of many
		malformed := refuse(success.by, 400, "malformed_request")
		malformed.body = `{"a":1,"a":1}`
		if takesForm(success.route) {
			malformed.body = "a=1&a=1"
		}
		if takesPicture(success.route) {
			malformed.body = ""
		}
		rows = append(rows, malformed)
	}
	rule := slices.IndexFunc(w.matrix(), func(m rule) bool { return m.route() == success.route })
	switch m := w.matrix()[rule]; {
	case m.who == "public":
		return rows
	case m.who == "caller":
		rows = append(rows, refuse(w.elsewhere, 403, "ip_denied"))
	case len(m.keys) == 0:
		rows = append(rows, refuse(w.full, 403, "session_required"))
	default:
		rows = append(rows, refuse(w.denied, 403, "permission_denied"))
	}
	return append(rows, refuse(w.s.Client, 401, "unauthenticated"))
}

func (w *world) matrix() []rule {
	var all []rule
	for line := range strings.Lines(strings.TrimSpace(matrix)) {
		all = append(all, parseRule(line))
	}
	return all
}

// run makes the request of a row under an id of its own, checks the answer and what every answer has, and returns it.
func (r row) run(t *testing.T, requestID string) *apptest.Answer {
	t.Helper()
	a := r.by.With("X-Request-Id", requestID).Do(t, r.method(), r.url(), r.payload())
	require.Equal(t, r.status, a.Status, "%s: %s", r.route, a.Body)
	require.Equal(t, r.code, a.Code(t), "%s: %s", r.route, a.Body)
	require.Equal(t, requestID, a.Header.Get("X-Request-Id"))
	require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
	require.Empty(t, a.Header.Get("Server"))
	require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
	cache := "no-store"
	if r.route == "GET /auth/config" && r.success() {
		cache = "public, max-age=300"
	}
	require.Equal(t, cache, a.Header.Get("Cache-Control"), r.route)
	switch {
	case r.status >= 400:
		checkProblem(t, a)
	case r.status == http.StatusCreated:
		require.True(t, strings.HasPrefix(a.Header.Get("Location"), "/api/v1/"), r.route)
	case r.status == http.StatusNoContent:
		require.Empty(t, a.Body)
	}
	return a
}

// Rule 17 of the house: the contract is tested against the running program, and no row is missing.
func TestContractHasARowForEveryAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := map[string][]int{}
	n := 0
	run := func(r row) *apptest.Answer {
		n++
		seen[r.route] = append(seen[r.route], r.status)
		return r.run(t, fmt.Sprintf("row-%08d", n))
	}
	successes := map[string]row{}
	for _, r := range w.success {
		successes[r.route] = r
	}
	for _, r := range surface(t) {
		success, ok := successes[r.Method+" "+r.Path]
		require.True(t, ok, "%s %s has no row of success", r.Method, r.Path)
		for _, refusal := range w.everywhere(r, success) {
			run(refusal)
		}
	}
	for _, r := range w.refusals {
		run(r)
	}
	for _, r := range w.success {
		a := run(r)
		if tag := a.Header.Get("ETag"); tag != "" && r.method() == http.MethodGet {
			unmodified := r
			unmodified.by, unmodified.status = r.by.With("If-None-Match", tag), http.StatusNotModified
			require.Empty(t, run(unmodified).Body)
		}
	}
	for _, r := range surface(t) {
		route := r.Method + " " + r.Path
		for _, status := range mustOccur(t, r) {
			require.Contains(t, seen[route], status, "%s can answer %d: give it a row", route, status)
		}
		delete(seen, route)
	}
	require.Empty(t, seen, "rows of no route")
}

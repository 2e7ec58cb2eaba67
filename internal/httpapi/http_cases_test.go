package httpapi_test

import (
	"regexp"
	"strings"
	"testing"

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

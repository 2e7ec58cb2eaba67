package operations_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi/operations"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Build{Version: "v1.2.3", Revision: "abc"})
	m.Route("GET", "/api/v1/users/me").Observe(200, time.Millisecond)
	h := operations.Handler(m.Registry)
	serve := func(method, path string) *httptest.ResponseRecorder {
		rw := httptest.NewRecorder()
		h.ServeHTTP(rw, httptest.NewRequest(method, path, nil))
		return rw
	}
	body := serve(http.MethodGet, "/metrics").Body.String()
	require.Contains(t, body, `ums_http_requests_total{method="GET",route="/api/v1/users/me",status="200"} 1`)
	require.Contains(t, body, `version="v1.2.3"`)
	require.Contains(t, body, "go_goroutines")
	require.Contains(t, serve(http.MethodGet, "/debug/pprof/goroutine?debug=1").Body.String(), "goroutine profile")
	require.Equal(t, 404, serve(http.MethodGet, "/api/v1/users/me").Code)
	require.Equal(t, 405, serve(http.MethodPost, "/metrics").Code)
}

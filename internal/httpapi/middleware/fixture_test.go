package middleware_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// edge is what the middlewares of one test share.
type edge struct {
	clock    *clock.Fake
	out      *output
	sink     *telemetry.Sink
	log      *slog.Logger
	metrics  *telemetry.Metrics
	problems *problem.Writer
}

func newEdge() *edge {
	out := &output{}
	sink := telemetry.NewSink(out)
	log := telemetry.NewLogger(telemetry.Config{Format: telemetry.JSON}, sink, false)
	return &edge{
		clock: clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), out: out, sink: sink, log: log,
		metrics: telemetry.NewMetrics(telemetry.Build{}),
		problems: problem.New(problem.Config{
			PublicURL: "http://localhost:8080", Log: log, Note: middleware.Note,
			Unavailable: func(error) *fault.Error { return nil },
		}),
	}
}

// lines returns the log lines so far.
func (e *edge) lines(t *testing.T) []map[string]any {
	t.Helper()
	e.sink.Flush()
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	var lines []map[string]any
	for text := range strings.Lines(e.out.b.String()) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line), text)
		lines = append(lines, line)
	}
	return lines
}

func (e *edge) accessLog() func(http.Handler) http.Handler {
	return middleware.AccessLog(middleware.AccessLogConfig{Clock: e.clock, Metrics: e.metrics, Log: e.log, Sink: e.sink})
}

// chain puts the middlewares around h, the first one outermost, behind RequestID.
func (e *edge) chain(h http.HandlerFunc, mws ...func(http.Handler) http.Handler) http.Handler {
	var out http.Handler = h
	for i := len(mws) - 1; i >= 0; i-- {
		out = mws[i](out)
	}
	return middleware.RequestID(e.clock)(out)
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }

func get(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rw := httptest.NewRecorder()
	h.ServeHTTP(rw, r)
	return rw
}

func code(t *testing.T, rw *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, problem.ContentType, rw.Header().Get("Content-Type"))
	var doc struct {
		Code      string `json:"code"`
		RequestID string `json:"request_id"`
		Status    int    `json:"status"`
	}
	require.NoError(t, json.Unmarshal(rw.Body.Bytes(), &doc))
	require.Equal(t, rw.Code, doc.Status)
	require.Equal(t, rw.Header().Get("X-Request-Id"), doc.RequestID)
	require.NotEmpty(t, doc.RequestID)
	return doc.Code
}

package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
)

func TestRequestIDIsTakenOrMade(t *testing.T) {
	t.Parallel()
	e := newEdge()
	var seen string
	h := e.chain(func(_ http.ResponseWriter, r *http.Request) { seen = middleware.RecordFrom(r.Context()).RequestID })
	for text, taken := range map[string]bool{
		"abc-1234": true, strings.Repeat("Z", 64): true, "01900000-0000-7000-8000-000000000000": true,
		"": false, "short": false, strings.Repeat("z", 65): false, "with space 1": false, "under_score": false,
		"line\nbreak1": false, "ümlaut-123": false, "quote\"1234": false,
	} {
		r := get("/")
		r.Header["X-Request-Id"] = []string{text}
		rw := serve(h, r)
		got := rw.Header().Get("X-Request-Id")
		require.Equal(t, seen, got)
		if taken {
			require.Equal(t, text, got)
			continue
		}
		made, ok := id.Parse(got)
		require.True(t, ok, text)
		require.EqualValues(t, 7, made.Version())
	}
	r := get("/")
	r.Header["X-Request-Id"] = []string{"abc-1234", "def-5678"}
	require.NotEqual(t, "abc-1234", serve(h, r).Header().Get("X-Request-Id"), "two are none")
}

func TestTraceparent(t *testing.T) {
	t.Parallel()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	e := newEdge()
	var seen string
	h := e.chain(func(_ http.ResponseWriter, r *http.Request) { seen = middleware.RecordFrom(r.Context()).TraceID })
	for text, want := range map[string]string{
		"00-" + trace + "-" + parent + "-01":                             trace,
		"01-" + trace + "-" + parent + "-01-later":                       trace,
		"00-" + trace + "-" + parent + "-01-later":                       "",
		"01-" + trace + "-" + parent + "-01later":                        "",
		"ff-" + trace + "-" + parent + "-01":                             "",
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01":            "",
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01":           "",
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01":            "",
		"00-" + trace + "-" + parent:                                     "",
		"00-" + trace + "-" + parent + "-0g":                             "",
		"garbage":                                                        "",
		strings.Repeat("-", 55):                                          "",
		"00_" + trace + "_" + parent + "_01":                             "",
		"00-" + trace[:31] + "\n-" + parent + "-01":                      "",
		"00-" + trace + "-" + parent + "-01" + strings.Repeat("0", 1000): "",
	} {
		r := get("/")
		r.Header.Set("Traceparent", text)
		serve(h, r)
		require.Equal(t, want, seen, text)
	}
}

func FuzzRequestHeaders(f *testing.F) {
	e := newEdge()
	h := e.chain(ok, e.accessLog(), middleware.ClientIP(middleware.Prefixes{}))
	f.Add("abc-1234", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "GET", "/")
	f.Fuzz(func(t *testing.T, requestID, traceparent, method, path string) {
		r := get("/")
		r.Method, r.URL.Path = method, path
		r.Header["X-Request-Id"] = []string{requestID}
		r.Header["Traceparent"] = []string{traceparent}
		rw := serve(h, r)
		require.Regexp(t, `^[A-Za-z0-9-]{8,64}$`, rw.Header().Get("X-Request-Id"))
		require.NotEmpty(t, e.lines(t), "every line is JSON")
		e.out.b.Reset()
	})
}

func TestRecordOutsideARequest(t *testing.T) {
	t.Parallel()
	require.NotNil(t, middleware.RecordFrom(context.Background()))
	require.Empty(t, middleware.Note(context.Background(), "x"))
}

func TestContextOfTheRequestIsKept(t *testing.T) {
	t.Parallel()
	e := newEdge()
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	h := e.chain(func(_ http.ResponseWriter, r *http.Request) {
		child, stop := context.WithTimeout(r.Context(), time.Hour)
		defer stop()
		require.Equal(t, "v", child.Value(key{}))
		require.NotEmpty(t, middleware.RecordFrom(child).RequestID)
		cancel()
		<-child.Done()
	})
	serve(h, get("/").WithContext(ctx))
}

func TestAccessLine(t *testing.T) {
	t.Parallel()
	e := newEdge()
	user, key := id.New(), id.New()
	h := e.chain(func(w http.ResponseWriter, r *http.Request) {
		rec := middleware.RecordFrom(r.Context())
		rec.UserID, rec.KeyID, rec.Route = user, key, "/api/v1/users/{id}"
		e.clock.Advance(1234567 * time.Nanosecond)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("12345"))
	}, e.accessLog(), middleware.ClientIP(nil))
	r := get("/api/v1/users/" + id.New().String() + "?token=secret")
	r.Header.Set("X-Request-Id", "abc-12345")
	r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	r.Header.Set("Authorization", "Bearer secret")
	serve(h, r)
	require.Equal(t, []map[string]any{{
		"time": "2026-01-02T03:04:05.001Z", "level": "INFO", "msg": "request", "request_id": "abc-12345", "method": "GET",
		"route": "/api/v1/users/{id}", "status": 201.0, "bytes": 5.0, "duration_ms": 1.234, "ip": "192.0.2.1",
		"user_id": user.String(), "key_id": key.String(), "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
	}}, e.lines(t))
	require.InDelta(t, 1, testutil.ToFloat64(requests(t, e, "/api/v1/users/{id}", "201")), 0)
}

func TestAccessLineOfTheRouter(t *testing.T) {
	t.Parallel()
	e := newEdge()
	router := chi.NewRouter()
	router.Use(middleware.RequestID(e.clock), e.accessLog())
	router.NotFound(func(w http.ResponseWriter, r *http.Request) { e.problems.Write(w, r, fault.ErrNotFound) })
	router.Route("/api/v1", func(r chi.Router) { r.Get("/users/{id}", ok) })
	serve(router, get("/api/v1/users/7"))
	serve(router, get("/api/v1/nothing"))
	serve(router, get("/api/v1/ums_live_0123456789012345678901_0123456789012345678901234567890123456789012abcdef/x"))
	lines := e.lines(t)
	require.Equal(t, "/api/v1/users/{id}", lines[0]["route"])
	require.NotContains(t, lines[0], "path")
	require.Equal(t, "/api/v1/nothing", lines[1]["path"])
	require.Equal(t, "not_found", lines[1]["code"])
	require.NotContains(t, lines[1], "route")
	require.Equal(t, "/api/v1/…/x", lines[2]["path"], "what could be a key is not logged")
}

func TestAUD05_AccessLineCannotBeForged(t *testing.T) {
	t.Parallel()
	e := newEdge()
	h := e.chain(ok, e.accessLog())
	r := get("/")
	r.Method = "GE\x1b[2JT\nlevel=ERROR" + strings.Repeat("A", 1<<20)
	r.URL.Path = "/a\r\n{\"msg\":\"x\"}\x1b[31m\u202e\u2028\"\\" + strings.Repeat("/b", 1<<19)
	serve(h, r)
	lines := e.lines(t)
	require.Len(t, lines, 1)
	text := e.out.b.String()
	require.Less(t, len(text), 2000)
	require.NotContains(t, text, "\x1b")
	require.NotContains(t, text, "\u202e")
	require.Contains(t, lines[0]["path"], `\u001b[31m\u202e\u2028"\`)
}

func TestAccessLogLevelAndText(t *testing.T) {
	t.Parallel()
	e := newEdge()
	cfg := middleware.AccessLogConfig{Clock: e.clock, Metrics: e.metrics, Log: e.log}
	h := e.chain(ok, middleware.AccessLog(cfg))
	serve(h, get("/x"))
	lines := e.lines(t)
	require.Equal(t, "request", lines[0]["msg"])
	require.Equal(t, "/x", lines[0]["path"])
	require.EqualValues(t, 2, lines[0]["bytes"])
}

func TestPanicIsA500(t *testing.T) {
	t.Parallel()
	e := newEdge()
	h := e.chain(func(http.ResponseWriter, *http.Request) { panic("password=hunter2") },
		e.accessLog(), middleware.Recover(e.log, e.problems, e.metrics.Panics))
	rw := serve(h, get("/"))
	require.Equal(t, 500, rw.Code)
	require.Equal(t, "internal_error", code(t, rw))
	require.NotContains(t, rw.Body.String(), "hunter2")
	lines := e.lines(t)
	require.Equal(t, "handler panicked", lines[0]["msg"])
	require.Contains(t, lines[0]["stack"], "record_test.go")
	last := lines[len(lines)-1]
	require.Equal(t, "request", last["msg"], "the error line stands before the request's")
	require.EqualValues(t, 500, last["status"])
	require.InDelta(t, 1, testutil.ToFloat64(e.metrics.Panics), 0)
	require.InDelta(t, 0, testutil.ToFloat64(e.metrics.InFlight), 0)
}

func TestPanicAfterTheAnswerBeganCutsIt(t *testing.T) {
	t.Parallel()
	e := newEdge()
	recovery := middleware.Recover(e.log, e.problems, e.metrics.Panics)
	late := e.chain(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("half"))
		panic("late")
	}, e.accessLog(), recovery)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { serve(late, get("/")) })
	abort := e.chain(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, e.accessLog(), recovery)
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { serve(abort, get("/")) })
	lines := e.lines(t)
	require.Len(t, lines, 3, "one panic line, two request lines")
	require.Equal(t, "aborted", lines[1]["code"])
	require.Equal(t, "aborted", lines[2]["code"])
}

func TestWriterCanFlushAndUnwrap(t *testing.T) {
	t.Parallel()
	e := newEdge()
	rw := serve(e.chain(func(w http.ResponseWriter, r *http.Request) {
		f, ok := w.(http.Flusher)
		require.True(t, ok)
		f.Flush()
		require.Equal(t, 200, middleware.RecordFrom(r.Context()).Status())
		require.NoError(t, http.NewResponseController(w).Flush())
	}), get("/"))
	require.True(t, rw.Flushed)
}

func TestInformationalAnswersAreNotTheStatus(t *testing.T) {
	t.Parallel()
	e := newEdge()
	server := httptest.NewServer(e.chain(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("12345"))
	}, e.accessLog()))
	answer, err := server.Client().Get(server.URL) // the test's own server
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	server.Close() // waits for the handler
	line := e.lines(t)[0]
	require.EqualValues(t, 201, line["status"])
	require.EqualValues(t, 5, line["bytes"])
}

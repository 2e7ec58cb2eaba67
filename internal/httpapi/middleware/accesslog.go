package middleware

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

// AccessLogConfig is what AccessLog needs.
type AccessLogConfig struct {
	Clock   clock.Clock
	Metrics *telemetry.Metrics
	Log     *slog.Logger
	// Sink takes JSON lines; nil has them written by Log, which is slower and follows its format.
	Sink *telemetry.Sink
}

// AccessLog writes one line a request at level info, and counts it. The line holds the route's pattern; the path stands
// in only when no route matched, cut and without what could be a secret. Query, headers and bodies are never logged.
func AccessLog(cfg AccessLogConfig) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cfg.Metrics.InFlight.Inc()
			aborted := true
			defer func() { // also when the handler panics to cut the answer off
				cfg.Metrics.InFlight.Dec()
				cfg.end(r, aborted)
			}()
			next.ServeHTTP(w, r)
			aborted = false
		})
	}
}

func (cfg *AccessLogConfig) end(r *http.Request, aborted bool) {
	rec := RecordFrom(r.Context())
	if aborted {
		rec.Code = "aborted"
	}
	took := cfg.Clock.Now().Sub(rec.Start)
	if rec.Route == "" {
		rec.Route = routePattern(r)
	}
	status := rec.status
	if status == 0 && !aborted { // a handler that writes nothing answers 200
		status = http.StatusOK
	}
	cfg.Metrics.Route(r.Method, rec.Route).Observe(status, took)
	if !cfg.Log.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	if cfg.Sink == nil {
		cfg.text(r, rec, status, took)
		return
	}
	var buf [640]byte
	cfg.Sink.Append(appendLine(buf[:0], r, rec, status, took))
}

// routePattern returns the router's pattern, or "" when none matched: what is left of a mounted router then ends in *.
func routePattern(r *http.Request) string {
	route := chi.RouteContext(r.Context())
	if route == nil {
		return ""
	}
	if pattern := route.RoutePattern(); !strings.HasSuffix(pattern, "*") {
		return pattern
	}
	return ""
}

func (cfg *AccessLogConfig) text(r *http.Request, rec *Record, status int, took time.Duration) {
	attrs := make([]slog.Attr, 0, 12)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	add("method", clip(r.Method, 16))
	add("route", rec.Route)
	if rec.Route == "" {
		add("path", safePath(r.URL.Path))
	}
	attrs = append(attrs, slog.Int("status", status), slog.Int64("bytes", rec.bytes), slog.Duration("duration", took))
	add("code", rec.Code)
	if rec.ClientIP.IsValid() {
		add("ip", rec.ClientIP.String())
	}
	for _, who := range rec.who() {
		if who.id != id.Nil {
			add(who.name, who.id.String())
		}
	}
	add("request_id", rec.RequestID)
	add("trace_id", rec.TraceID)
	cfg.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}

type namedID struct {
	name string
	id   id.ID
}

func (r *Record) who() [3]namedID {
	return [3]namedID{{"user_id", r.UserID}, {"key_id", r.KeyID}, {"session_id", r.SessionID}}
}

// appendLine writes the line by hand: slog would cost a tenth of a small request.
func appendLine(b []byte, r *http.Request, rec *Record, status int, took time.Duration) []byte {
	b = append(b, `{"time":"`...)
	b = rec.Start.Add(took).UTC().AppendFormat(b, telemetry.TimeLayout)
	b = append(b, `","level":"INFO","msg":"request"`...)
	b = appendText(b, "request_id", rec.RequestID)
	b = appendText(b, "method", clip(r.Method, 16))
	if rec.Route != "" {
		b = appendText(b, "route", rec.Route)
	} else {
		b = appendText(b, "path", safePath(r.URL.Path))
	}
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, rec.bytes, 10)
	b = append(b, `,"duration_ms":`...)
	b = strconv.AppendFloat(b, float64(took.Microseconds())/1000, 'f', -1, 64)
	if rec.ClientIP.IsValid() {
		b = append(b, `,"ip":"`...)
		b = rec.ClientIP.AppendTo(b)
		b = append(b, '"')
	}
	for _, who := range rec.who() {
		if who.id != id.Nil {
			b = appendText(b, who.name, who.id.String())
		}
	}
	b = appendText(b, "code", rec.Code)
	b = appendText(b, "trace_id", rec.TraceID)
	return append(b, '}', '\n')
}

// appendText appends a member, unless it is empty. Nearly every value is plain; for the rest Escape deals with control
// characters, which leaves quotes and backslashes to JSON: the reader sees hostile characters as \u escapes.
func appendText(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '"')
	if plain(value) {
		b = append(b, value...)
		return append(b, '"')
	}
	value = telemetry.Escape(value)
	for i := range len(value) {
		if c := value[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, value[i])
	}
	return append(b, '"')
}

// plain holds for printable ASCII that JSON takes as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// The longest path that is logged, and the longest part of one: a token or a key is longer, and does not belong here.
const (
	maxPath    = 256
	maxSegment = 40
)

// safePath returns a path that no route knows, without what could be a credential that somebody put into it.
func safePath(path string) string {
	path = clip(path, maxPath)
	if len(path) <= maxSegment {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if len(s) > maxSegment {
			segments[i] = "…"
		}
	}
	return strings.Join(segments, "/")
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

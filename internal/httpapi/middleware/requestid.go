package middleware

import (
	"net/http"
	"strings"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
)

// RequestID begins the record of a request: its id, taken from X-Request-Id when that has the form [A-Za-z0-9-]{8,64}
// and made otherwise, and its trace id. The request id is sent back. It must be the outermost of all.
func RequestID(c clock.Clock) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x := &exchange{Context: r.Context()}
			x.Start = c.Now()
			x.RequestID = requestID(r.Header)
			x.TraceID = traceID(r.Header)
			x.routing.RoutePatterns = x.patterns[:0]
			x.writer = writer{ResponseWriter: w, record: &x.Record}
			w.Header()["X-Request-Id"] = []string{x.RequestID}
			next.ServeHTTP(&x.writer, r.WithContext(x))
		})
	}
}

func requestID(h http.Header) string {
	if values := h["X-Request-Id"]; len(values) == 1 && validRequestID(values[0]) {
		return values[0]
	}
	return id.New().String()
}

func validRequestID(s string) bool {
	if len(s) < 8 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return true
}

// traceID returns the trace-id of a valid traceparent (W3C Trace Context, section 3.2), else "". Later versions may
// append fields, which are ignored.
func traceID(h http.Header) string {
	values := h["Traceparent"]
	if len(values) != 1 {
		return ""
	}
	s := values[0] // 00-<32 hex>-<16 hex>-<2 hex>
	const size = 55
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	if !lowerHex(version) || !lowerHex(trace) || !lowerHex(parent) || !lowerHex(flags) {
		return ""
	}
	if version == "ff" || version == "00" && len(s) != size || len(s) > size && s[size] != '-' {
		return ""
	}
	if strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	return trace
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

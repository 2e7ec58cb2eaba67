// Package middleware is what happens to every request before its handler, and after: plain func(http.Handler)
// http.Handler constructors, a file each. They are listed in their order in the server.
package middleware

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/user-management-service/ums/internal/platform/id"
)

// Record is what is known of one request, filled on the way down and written once, as one log line, on the way out.
// It belongs to the goroutine of the request: whatever works on after the answer copies what it needs.
type Record struct {
	Start     time.Time
	RequestID string
	TraceID   string     // 32 hexadecimal digits, from traceparent; empty when there was none
	ClientIP  netip.Addr // never invalid behind ClientIP: an unknown peer is 0.0.0.0
	Route     string     // the pattern that matched, as the router has it; never the path
	Code      string     // of the problem that was answered

	UserID    id.ID // whom the request acts as
	KeyID     id.ID // the API key that it came with
	SessionID id.ID

	status int
	bytes  int64
}

// Status returns the status that was sent, 0 before that.
func (r *Record) Status() int { return r.status }

// Bytes returns how much of the body was sent.
func (r *Record) Bytes() int64 { return r.bytes }

// RecordFrom returns the record of the request that ctx belongs to. Outside a request it returns an empty one, so
// that callers need not ask; what is written into that is lost.
func RecordFrom(ctx context.Context) *Record {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		return r
	}
	return &Record{}
}

// Note puts a problem's code into the record and returns the request's id; problem.Writer calls it.
func Note(ctx context.Context, code string) string {
	r := RecordFrom(ctx)
	r.Code = code
	return r.RequestID
}

type recordKey struct{}

// exchange is everything that one request needs of us, in one allocation: its record, the context that carries it,
// and the response writer that fills it. It is not pooled: a handler's goroutine may keep the context.
type exchange struct {
	context.Context //nolint:containedctx // it is a context
	Record
	writer   writer
	routing  chi.Context // the router takes it for its own, and makes none
	patterns [1]string   // of routing: there is one router
}

// Value implements context.Context.
func (x *exchange) Value(key any) any {
	switch key {
	case recordKey{}:
		return &x.Record
	case chi.RouteCtxKey:
		return &x.routing
	}
	return x.Context.Value(key)
}

// writer notes status and size. Unwrap lets http.ResponseController reach deadlines and flushing.
type writer struct {
	http.ResponseWriter
	record *Record
}

// Unwrap returns the writer below.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter. Informational answers are not the answer.
func (w *writer) WriteHeader(status int) {
	if w.record.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.record.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	if w.record.status == 0 {
		w.record.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.record.bytes += int64(n)
	return n, err
}

// Flush implements http.Flusher, which streaming handlers look for.
func (w *writer) Flush() {
	if w.record.status == 0 {
		w.record.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a writer that cannot flush writes through
}

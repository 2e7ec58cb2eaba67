package middleware

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/user-management-service/ums/internal/httpapi/problem"
)

// Recover turns a panic into a 500 and a log line with the stack. When the answer has begun, the connection is cut
// instead, so that nobody takes half an answer for a whole one. http.ErrAbortHandler passes: it asks for just that.
func Recover(log *slog.Logger, problems *problem.Writer, panics prometheus.Counter) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if v == http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares the value itself too
					panic(v)
				}
				panics.Inc()
				rec := RecordFrom(r.Context())
				log.ErrorContext(r.Context(), "handler panicked", "request_id", rec.RequestID,
					"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				if rec.status != 0 {
					panic(http.ErrAbortHandler)
				}
				problems.Write(w, r, problem.ErrInternal)
			}()
			next.ServeHTTP(w, r)
		})
	}
}

package middleware

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// ErrOverloaded is the fault of a request that came when the service had enough to do (503).
var ErrOverloaded = fault.New(fault.Unavailable, "overloaded",
	"The service is busy; try again shortly.").WithRetryAfter(time.Second)

// Shed lets at most limit requests of one class be in flight and refuses the rest at once: a queue would only make all
// of them late. Each call makes a class of its own; probes stand before it and are never shed.
func Shed(limit int64, problems *problem.Writer, refused prometheus.Counter) func(http.Handler) http.Handler {
	var inFlight atomic.Int64
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer inFlight.Add(-1)
			if inFlight.Add(1) > limit {
				refused.Inc()
				problems.Write(w, r, ErrOverloaded)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

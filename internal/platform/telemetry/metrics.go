package telemetry

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is the service's registry, apart from the process-wide one, and the metrics that the service fills itself.
// Labels are route patterns, statuses and names of policies: a closed set, never an address, an id or a path.
type Metrics struct {
	Registry *prometheus.Registry

	InFlight              prometheus.Gauge       // requests between their first and last byte
	Panics                prometheus.Counter     // handlers that panicked
	RateLimited           *prometheus.CounterVec // policy: answers 429
	RateLimitErrors       prometheus.Counter     // requests let through because the limiter could not answer
	Shed                  *prometheus.CounterVec // class: answers 503 because too much was in flight
	UnreadableCredentials *prometheus.CounterVec // kind: access_token, api_key, …: garbage, which is not audited
	JobsFinished          *prometheus.CounterVec // kind, outcome
	JobDuration           *prometheus.HistogramVec

	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	routes   sync.Map // routeKey → *Route
}

// Build says what runs.
type Build struct{ Version, Revision string }

// NewMetrics returns a registry of its own with the service's, the process's and the Go runtime's metrics.
func NewMetrics(build Build) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		InFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ums_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
		Panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ums_http_panics_total", Help: "Requests whose handler panicked.",
		}),
		RateLimited: counter("ums_rate_limited_total", "Requests refused by a rate limit, by policy.", "policy"),
		RateLimitErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ums_rate_limit_errors_total", Help: "Requests let through because the limiter could not answer.",
		}),
		Shed: counter("ums_http_shed_total", "Requests refused because too many were in flight, by class.", "class"),
		UnreadableCredentials: counter("ums_unreadable_credentials_total",
			"Credentials whose form alone was wrong, by kind.", "kind"),
		JobsFinished: counter("ums_jobs_finished_total", "Background jobs, by kind and outcome of the attempt.", "kind", "outcome"),
		JobDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ums_job_duration_seconds", Help: "Time that an attempt at a background job took.",
			Buckets: []float64{.005, .01, .05, .1, .5, 1, 5, 10, 30, 60},
		}, []string{"kind"}),
		requests: counter("ums_http_requests_total", "Requests, by method, route pattern and status.", "method", "route", "status"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ums_http_request_duration_seconds", Help: "Time to answer, by method and route pattern.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ums_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "go": runtime.Version()},
	})
	info.Set(1)
	m.Registry.MustRegister(
		m.InFlight, m.Panics, m.RateLimited, m.RateLimitErrors, m.Shed, m.UnreadableCredentials,
		m.JobsFinished, m.JobDuration, m.requests, m.latency, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Route is the metrics of one method and route pattern, resolved once, so that counting a request takes no lock.
type Route struct {
	requests *prometheus.CounterVec
	latency  prometheus.Observer
	statuses [600]atomic.Pointer[prometheus.Counter]
}

type routeKey struct{ method, pattern string }

// Route returns the metrics of a route; an empty pattern is "unmatched". Patterns must come from the route table.
func (m *Metrics) Route(method, pattern string) *Route {
	key := routeKey{knownMethod(method), pattern}
	if pattern == "" {
		key.pattern = "unmatched"
	}
	if r, ok := m.routes.Load(key); ok {
		return r.(*Route) //nolint:forcetypeassert // the map holds nothing else
	}
	r, _ := m.routes.LoadOrStore(key, &Route{
		requests: m.requests.MustCurryWith(prometheus.Labels{"method": key.method, "route": key.pattern}),
		latency:  m.latency.WithLabelValues(key.method, key.pattern),
	})
	return r.(*Route) //nolint:forcetypeassert // the map holds nothing else
}

// Observe counts one answer.
func (r *Route) Observe(status int, took time.Duration) {
	r.latency.Observe(took.Seconds())
	if status < 100 || status >= len(r.statuses) {
		r.requests.WithLabelValues("other").Inc()
		return
	}
	counter := r.statuses[status].Load()
	if counter == nil {
		c := r.requests.WithLabelValues(strconv.Itoa(status))
		counter = &c
		r.statuses[status].Store(counter)
	}
	(*counter).Inc()
}

// knownMethod keeps methods of a client's invention out of the labels. The names are net/http's, which this layer
// does not import.
func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}

package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PoolStats is the state of a connection pool: gauges first, then counts since the start.
type PoolStats struct {
	Acquired, Idle, Constructing, Max int

	Acquires, EmptyAcquires, CanceledAcquires int64
	AcquireTime                               time.Duration
}

// WatchPool has the pool's state read at each scrape.
func (m *Metrics) WatchPool(read func() PoolStats) {
	m.Registry.MustRegister(&snapshot[PoolStats]{read: read, series: []series[PoolStats]{
		gauge("ums_db_connections_acquired", "Connections in use.", func(s PoolStats) float64 { return float64(s.Acquired) }),
		gauge("ums_db_connections_idle", "Connections that wait for work.", func(s PoolStats) float64 { return float64(s.Idle) }),
		gauge("ums_db_connections_constructing", "Connections that are being opened.", func(s PoolStats) float64 { return float64(s.Constructing) }),
		gauge("ums_db_connections_max", "Connections at most.", func(s PoolStats) float64 { return float64(s.Max) }),
		count("ums_db_acquires_total", "Connections taken from the pool.", func(s PoolStats) float64 { return float64(s.Acquires) }),
		count("ums_db_acquires_empty_total", "Acquires that had to wait.", func(s PoolStats) float64 { return float64(s.EmptyAcquires) }),
		count("ums_db_acquires_canceled_total", "Acquires that gave up.", func(s PoolStats) float64 { return float64(s.CanceledAcquires) }),
		count("ums_db_acquire_seconds_total", "Time spent acquiring.", func(s PoolStats) float64 { return s.AcquireTime.Seconds() }),
	}})
}

// HashingStats is the state of the password hashing queue.
type HashingStats struct {
	Slots, Busy, Waiting int
	Refused              int64 // since the start
}

// WatchHashing has the hashing queue's state read at each scrape.
func (m *Metrics) WatchHashing(read func() HashingStats) {
	m.Registry.MustRegister(&snapshot[HashingStats]{read: read, series: []series[HashingStats]{
		gauge("ums_hashing_slots", "Password hashes that may be computed at once.", func(s HashingStats) float64 { return float64(s.Slots) }),
		gauge("ums_hashing_busy", "Password hashes being computed.", func(s HashingStats) float64 { return float64(s.Busy) }),
		gauge("ums_hashing_waiting", "Callers that wait for a slot.", func(s HashingStats) float64 { return float64(s.Waiting) }),
		count("ums_hashing_refused_total", "Callers refused because the queue was full.", func(s HashingStats) float64 { return float64(s.Refused) }),
	}})
}

// LimiterStats is the state of the rate limits that replicas share.
type LimiterStats struct {
	Up                bool
	Losses, Fallbacks int64 // since the start
}

// WatchLimiter has the shared limiter's state read at each scrape. Without Redis nobody calls it, and the series are absent.
func (m *Metrics) WatchLimiter(read func() LimiterStats) {
	m.Registry.MustRegister(&snapshot[LimiterStats]{read: read, series: []series[LimiterStats]{
		gauge("ums_rate_limit_redis_up", "1 while Redis answers, 0 while this replica counts alone.", func(s LimiterStats) float64 {
			if s.Up {
				return 1
			}
			return 0
		}),
		count("ums_rate_limit_redis_losses_total", "Times that Redis stopped answering.", func(s LimiterStats) float64 { return float64(s.Losses) }),
		count("ums_rate_limit_fallbacks_total", "Decisions that this replica made alone because Redis did not answer.", func(s LimiterStats) float64 { return float64(s.Fallbacks) }),
	}})
}

// snapshot is a collector that reads one consistent state for all of its series.
type snapshot[T any] struct {
	read   func() T
	series []series[T]
}

type series[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

func gauge[T any](name, help string, value func(T) float64) series[T] {
	return series[T]{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value}
}

func count[T any](name, help string, value func(T) float64) series[T] {
	return series[T]{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, value}
}

// Describe implements prometheus.Collector.
func (s *snapshot[T]) Describe(out chan<- *prometheus.Desc) {
	for _, x := range s.series {
		out <- x.desc
	}
}

// Collect implements prometheus.Collector.
func (s *snapshot[T]) Collect(out chan<- prometheus.Metric) {
	state := s.read()
	for _, x := range s.series {
		out <- prometheus.MustNewConstMetric(x.desc, x.kind, x.value(state))
	}
}

package app

import (
	"time"

	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

// What the packages count, in the terms of the metrics: neither side knows the other.

func (a *App) observeJob(kind, outcome string, took time.Duration) {
	a.metrics.JobsFinished.WithLabelValues(kind, outcome).Inc()
	a.metrics.JobDuration.WithLabelValues(kind).Observe(took.Seconds())
}

func (a *App) poolStats() telemetry.PoolStats {
	s := a.pool.Stat()
	return telemetry.PoolStats{
		Acquired: int(s.AcquiredConns()), Idle: int(s.IdleConns()), Constructing: int(s.ConstructingConns()), Max: int(s.MaxConns()),
		Acquires: s.AcquireCount(), EmptyAcquires: s.EmptyAcquireCount(), CanceledAcquires: s.CanceledAcquireCount(), AcquireTime: s.AcquireDuration(),
	}
}

func (a *App) limiterStats() telemetry.LimiterStats {
	s := a.limiter.Stats()
	return telemetry.LimiterStats{Up: s.Up, Losses: s.Losses, Fallbacks: s.Fallbacks}
}

func hashingStats(h *password.Hasher) func() telemetry.HashingStats {
	return func() telemetry.HashingStats {
		s := h.Stats()
		return telemetry.HashingStats{Slots: s.Slots, Busy: s.InFlight, Waiting: s.Queued, Refused: int64(s.Rejected)} //nolint:gosec // a count
	}
}

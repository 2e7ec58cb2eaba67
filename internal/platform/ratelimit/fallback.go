package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// probeInterval is how often a lost Redis is asked whether it is back.
const probeInterval = time.Second

// Shared is a Limiter whose counts all replicas share in Redis. While Redis does not answer, each replica counts by
// itself in memory, from nothing: no request fails, and only those that were under way when it was lost have waited for
// it. Run finds out when it is back.
type Shared struct {
	server *server
	local  *Memory
	log    *slog.Logger
	// epoch is even while Redis answers and odd while it does not. A call that began in an earlier epoch changes nothing.
	epoch atomic.Uint64
	lost  chan struct{}

	losses, fallbacks atomic.Int64
}

var _ Limiter = (*Shared)(nil)

// NewShared counts in the Redis that c names, and in local while that is away. It does not connect yet. Its owner keeps
// Run going and calls Close.
func NewShared(c Config, local *Memory, log *slog.Logger) (*Shared, error) {
	s, err := newServer(c)
	if err != nil {
		return nil, err
	}
	return &Shared{server: s, local: local, log: log, lost: make(chan struct{}, 1)}, nil
}

// Close gives the connections up.
func (s *Shared) Close() error { return s.server.client.Close() }

// Allow implements Limiter. It fails for an invalid rate or cost only.
func (s *Shared) Allow(ctx context.Context, policy string, rate Rate, key string, cost int) (Result, error) {
	if rate.Off() {
		return Result{Allowed: true}, nil
	}
	if err := rate.Validate(); err != nil {
		return Result{}, fmt.Errorf("limit %s: %w", policy, err)
	}
	if cost < 0 {
		return Result{}, fmt.Errorf("limit %s: negative cost %d", policy, cost)
	}
	if epoch := s.epoch.Load(); epoch%2 == 0 {
		r, err := s.server.allow(ctx, policy, rate, key, cost)
		if err == nil {
			return r, nil
		}
		s.lose(ctx, epoch, err)
	}
	s.fallbacks.Add(1)
	return s.local.Allow(ctx, policy, rate, key, cost)
}

func (s *Shared) lose(ctx context.Context, epoch uint64, err error) {
	if !s.epoch.CompareAndSwap(epoch, epoch+1) {
		return // another call was the first to see it, or it is back already
	}
	s.losses.Add(1)
	s.log.WarnContext(ctx, "redis does not answer: rate limits are counted by each replica alone", "error", err)
	select {
	case s.lost <- struct{}{}:
	default:
	}
}

// Run asks a lost Redis each second whether it is back, until ctx ends. It begins by asking once, so that a wrong
// address is told at the start and not by the first request.
func (s *Shared) Run(ctx context.Context) {
	if epoch := s.epoch.Load(); epoch%2 == 0 {
		if err := s.probe(ctx); err != nil && ctx.Err() == nil {
			s.lose(ctx, epoch, err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.lost:
		}
		if !s.await(ctx) {
			return
		}
		s.epoch.Add(1)
		s.log.InfoContext(ctx, "redis answers again: rate limits are shared")
	}
}

// await returns true when Redis is back, false when ctx has ended.
func (s *Shared) await(ctx context.Context) bool {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if s.probe(ctx) == nil {
				return true
			}
		}
	}
}

// probe does what a request does: a server that is full or read-only answers a PING as well.
func (s *Shared) probe(ctx context.Context) error {
	_, err := s.server.allow(ctx, "probe", Rate{Limit: 1000, Window: time.Second}, "probe", 1)
	return err
}

// Stats is the state of Redis and what has become of requests.
type Stats struct {
	Up        bool  // Redis answered last
	Losses    int64 // since the start: times that it stopped answering
	Fallbacks int64 // since the start: decisions made in this process's memory
}

// Stats returns the state now.
func (s *Shared) Stats() Stats {
	return Stats{Up: s.epoch.Load()%2 == 0, Losses: s.losses.Load(), Fallbacks: s.fallbacks.Load()}
}

package ratelimit

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Facts is what Redis says of itself.
type Facts struct {
	Version string
	Policy  string        // what it does when it is full: maxmemory-policy
	Bounded bool          // it has a maxmemory
	Took    time.Duration // one decision
}

// Inspect decides once, as a request would, and asks Redis about itself. The error holds no password.
func Inspect(ctx context.Context, c Config) (f Facts, err error) {
	s, err := newServer(c)
	if err != nil {
		return f, err
	}
	defer func() { _ = s.client.Close() }()
	if _, err := s.allow(ctx, "probe", Rate{Limit: 1000, Window: time.Second}, "probe", 1); err != nil { // connects
		return f, err
	}
	began := time.Now()
	if _, err := s.allow(ctx, "probe", Rate{Limit: 1000, Window: time.Second}, "probe", 1); err != nil {
		return f, err
	}
	f.Took = time.Since(began)
	for _, section := range []string{"server", "memory"} {
		text, err := s.client.Info(ctx, section).Result()
		if err != nil {
			return f, fmt.Errorf("ask redis about itself: %w", err)
		}
		for line := range strings.Lines(text) {
			switch name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name {
			case "redis_version":
				f.Version = value
			case "maxmemory_policy":
				f.Policy = value
			case "maxmemory":
				f.Bounded = value != "0"
			}
		}
	}
	return f, nil
}

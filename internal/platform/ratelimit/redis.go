package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// answerTime is how long a request waits for Redis at most, the connection included. It is far below what a request may
// take, and far above what a healthy server needs.
const answerTime = 500 * time.Millisecond

// Config says where the limits are counted.
type Config struct {
	RedisURL secret.Text `env:"UMS_REDIS_URL"` // redis://, rediss:// or unix://; empty: in memory, each replica for itself
}

// options reads the address. No error says what was given, since it may hold a password.
func (c Config) options() (*redis.Options, error) {
	wrong := errors.New("UMS_REDIS_URL is no address: write it like redis://user:password@host:6379/0, rediss:// for TLS")
	u, err := url.Parse(c.RedisURL.Reveal())
	if err != nil || u.Host == "" && u.Scheme != "unix" {
		return nil, wrong
	}
	o, err := redis.ParseURL(c.RedisURL.Reveal())
	if err != nil {
		return nil, wrong
	}
	// The deadline is each call's; a failure is not repeated but answered from memory.
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = answerTime, answerTime, answerTime, answerTime
	o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries = true, -1, 1
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

//go:embed gcra.lua
var gcra string

// server counts in Redis, in one round trip and by the server's clock, so that replicas whose clocks differ agree.
type server struct {
	client *redis.Client
	script *redis.Script
	now    func() time.Time // nil: the server's clock
}

var quiet sync.Once

func newServer(c Config) (*server, error) {
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	// The client's own log goes to standard error, past ours, and tells nothing that the errors do not.
	quiet.Do(logging.Disable)
	return &server{client: redis.NewClient(o), script: redis.NewScript(gcra)}, nil
}

// allow is Memory.Allow for a valid rate that is not off. The two give the same results at the same time.
func (s *server) allow(ctx context.Context, policy string, rate Rate, key string, cost int) (Result, error) {
	// A client that goes away is no fault of the server's.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	interval, full := rate.times()
	price := interval * time.Duration(min(cost, rate.Limit+1)) // beyond the limit is beyond it by any much
	args := []any{int64(price), int64(full)}
	if s.now != nil {
		now := s.now()
		args = append(args, now.Unix(), now.Nanosecond())
	}
	got, err := s.script.Run(ctx, s.client, []string{"ums:limit:" + policy + ":" + rate.String() + ":" + key}, args...).Int64Slice()
	if err != nil {
		return Result{}, fmt.Errorf("limit %s: %w", policy, err)
	}
	if len(got) != 2 || got[1] < 0 || got[1] > int64(full) {
		return Result{}, fmt.Errorf("limit %s: redis answered nonsense", policy)
	}
	return rate.result(got[0] == 1, time.Duration(got[1]), cost), nil
}

package middleware

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

// ErrRateLimited is the fault of a request beyond a limit (429); the member policy names the limit.
var ErrRateLimited = fault.New(fault.Limited, "rate_limited", "Too many requests; wait as long as Retry-After says.")

// The general limits' policies, as they are named in headers, problems and metrics.
const (
	PolicyAddress = "address"
	PolicyCaller  = "caller"
)

// RateLimitConfig is what is limited.
type RateLimitConfig struct {
	Address ratelimit.Rate `env:"UMS_RATE_LIMIT_ADDRESS" envDefault:"600/1m"`
	Caller  ratelimit.Rate `env:"UMS_RATE_LIMIT_CALLER" envDefault:"1200/1m"`
}

// RateLimitDeps is what RateLimits works with.
type RateLimitDeps struct {
	Limiter  ratelimit.Limiter
	Problems *problem.Writer
	Metrics  *telemetry.Metrics
	Log      *slog.Logger
	// Refused is told of the first refusal of a key in each window of a policy, for the audit trail; may be nil.
	Refused func(ctx context.Context, policy string)
}

// RateLimits holds the general limits. They fail open: when the limiter cannot answer, requests pass and a metric says
// so. The limits on guessing credentials are elsewhere, and fail closed.
type RateLimits struct {
	cfg         RateLimitConfig
	deps        RateLimitDeps
	address     []string     // the RateLimit-Policy of every answer that has only this one
	both        []string     // and of those that have the caller's, too
	lastWarning atomic.Int64 // unix seconds
}

// NewRateLimits returns the general limits.
func NewRateLimits(cfg RateLimitConfig, deps RateLimitDeps) *RateLimits {
	address := appendPolicy(nil, PolicyAddress, cfg.Address)
	both := appendPolicy(append(address, ", "...), PolicyCaller, cfg.Caller)
	return &RateLimits{cfg: cfg, deps: deps, address: []string{string(address)}, both: []string{string(both)}}
}

// ByAddress limits requests by the client's network, before anything costly is done for them.
func (l *RateLimits) ByAddress(next http.Handler) http.Handler {
	if l.cfg.Address.Off() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		network := ratelimit.Network(RecordFrom(r.Context()).ClientIP).String()
		if err := l.take(w, r, PolicyAddress, l.cfg.Address, network); err != nil {
			l.deps.Problems.Write(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Caller takes one request from what the caller has, and returns ErrRateLimited when nothing was left. A rate of its
// own, such as an API key's, replaces the general one, and holds also when that is off.
func (l *RateLimits) Caller(w http.ResponseWriter, r *http.Request, key string, override *ratelimit.Rate) error {
	rate := l.cfg.Caller
	if override != nil {
		rate = *override
	}
	if rate.Off() {
		return nil
	}
	return l.take(w, r, PolicyCaller, rate, key)
}

// Count takes one request from what a caller has by a rate of its own, for somebody else who asks whether it may go on.
// It is the very allowance that Caller takes from. False means that the limiter cannot answer, and the request passes.
func (l *RateLimits) Count(ctx context.Context, key string, own ratelimit.Rate) (ratelimit.Result, bool) {
	state, err := l.deps.Limiter.Allow(ctx, PolicyCaller, own, key, 1)
	if err != nil {
		l.deps.Metrics.RateLimitErrors.Inc()
		l.warn(ctx, err)
		return ratelimit.Result{Allowed: true}, false
	}
	if !state.Allowed {
		l.deps.Metrics.RateLimited.WithLabelValues(PolicyCaller).Inc()
	}
	return state, true
}

// Class is a kind of routes: what they may be asked together is a part of a general limit, so that it grows with that and
// is off with it. The zero Class has all of both.
type Class struct {
	Name  string // of the policy
	Of    string // PolicyAddress or PolicyCaller
	Part  int    // one in so many
	Least int    // requests in a window that are left of a small limit, as far as it has them itself
}

// Rate is the part of a general limit.
func (c Class) Rate(general ratelimit.Rate) ratelimit.Rate {
	if c.Part == 0 || general.Off() {
		return ratelimit.Rate{}
	}
	general.Limit = max(general.Limit/c.Part, min(c.Least, general.Limit))
	return general
}

// AddressClass takes one request from what the client's network has in a class of the limit by address.
func (l *RateLimits) AddressClass(w http.ResponseWriter, r *http.Request, c Class) error {
	rate := c.Rate(l.cfg.Address)
	if c.Of != PolicyAddress || rate.Off() {
		return nil
	}
	return l.take(w, r, c.Name, rate, ratelimit.Network(RecordFrom(r.Context()).ClientIP).String())
}

// CallerClass takes one request from what the caller has in a class of the limit by caller. It is not for those with a rate
// of their own, which is all that limits them.
func (l *RateLimits) CallerClass(w http.ResponseWriter, r *http.Request, c Class, key string) error {
	rate := c.Rate(l.cfg.Caller)
	if c.Of != PolicyCaller || rate.Off() {
		return nil
	}
	return l.take(w, r, c.Name, rate, key)
}

func (l *RateLimits) take(w http.ResponseWriter, r *http.Request, policy string, rate ratelimit.Rate, key string) error {
	ctx := r.Context()
	state, err := l.deps.Limiter.Allow(ctx, policy, rate, key, 1)
	if err != nil {
		l.deps.Metrics.RateLimitErrors.Inc()
		l.warn(ctx, err)
		return nil
	}
	l.announce(w.Header(), policy, rate, state)
	if state.Allowed {
		return nil
	}
	l.deps.Metrics.RateLimited.WithLabelValues(policy).Inc()
	if l.deps.Refused != nil {
		once := ratelimit.Rate{Limit: 1, Window: rate.Window}
		if first, err := l.deps.Limiter.Allow(ctx, policy+" noted", once, key, 1); err == nil && first.Allowed {
			l.deps.Refused(ctx, policy)
		}
	}
	return ErrRateLimited.With("policy", policy).WithRetryAfter(state.RetryAfter)
}

// warn logs at most one line a second: an unreachable limiter fails at every request.
func (l *RateLimits) warn(ctx context.Context, err error) {
	now := time.Now().Unix()
	if last := l.lastWarning.Load(); now != last && l.lastWarning.CompareAndSwap(last, now) {
		l.deps.Log.WarnContext(ctx, "rate limiter cannot answer, requests pass", "error", err)
	}
}

// announce adds a policy to RateLimit-Policy and its state to RateLimit (draft-ietf-httpapi-ratelimit-headers,
// structured lists): "address";q=600;w=60 and "address";r=599;t=1.
func (l *RateLimits) announce(h http.Header, policy string, rate ratelimit.Rate, state ratelimit.Result) {
	var buf [128]byte
	before := h["Ratelimit-Policy"]
	switch {
	case policy == PolicyAddress && len(before) == 0:
		h["Ratelimit-Policy"] = l.address
	case policy == PolicyCaller && rate == l.cfg.Caller && len(before) == 1 && before[0] == l.address[0]:
		h["Ratelimit-Policy"] = l.both
	default:
		h["Ratelimit-Policy"] = []string{string(appendPolicy(appendList(buf[:0], before), policy, rate))}
	}
	b := appendList(buf[:0], h["Ratelimit"])
	b = append(b, '"')
	b = append(b, policy...)
	b = append(b, `";r=`...)
	b = strconv.AppendInt(b, int64(state.Remaining), 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, seconds(state.Reset), 10)
	h["Ratelimit"] = []string{string(b)}
}

func appendPolicy(b []byte, policy string, rate ratelimit.Rate) []byte {
	b = append(b, '"')
	b = append(b, policy...)
	b = append(b, `";q=`...)
	b = strconv.AppendInt(b, int64(rate.Limit), 10)
	b = append(b, ";w="...)
	return strconv.AppendInt(b, seconds(rate.Window), 10)
}

// appendList appends what a header says already, ready for another element.
func appendList(b []byte, before []string) []byte {
	for _, value := range before {
		b = append(b, value...)
		b = append(b, ", "...)
	}
	return b
}

// seconds rounds up, so that nobody comes back too early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

package ratelimit

import (
	"context"
	"net/netip"
	"time"
)

// Limiter counts requests. Implementations are safe for concurrent use.
type Limiter interface {
	// Allow takes cost from what key has left under policy, and says whether there was enough; a refusal takes
	// nothing. Cost 0 looks without taking. Policies, keys and rates do not mix: another rate for the same key starts
	// afresh. An error means that the store could not answer, or that the rate is invalid.
	Allow(ctx context.Context, policy string, rate Rate, key string, cost int) (Result, error)
}

// Result is the state of one key after a call.
type Result struct {
	Allowed    bool
	Limit      int           // the rate's limit; 0 when the rate is off
	Remaining  int           // what could be taken at once now
	Reset      time.Duration // until everything is there again
	RetryAfter time.Duration // until the refused cost would be allowed; 0 when allowed
}

// times returns how long it takes until one request is there again, and until all are.
func (r Rate) times() (interval, full time.Duration) {
	interval = r.Window / time.Duration(r.Limit)
	return interval, interval * time.Duration(r.Limit)
}

// result is what follows from the time until everything is there again, after a call that asked for cost.
func (r Rate) result(allowed bool, left time.Duration, cost int) Result {
	interval, full := r.times()
	state := Result{Allowed: allowed, Limit: r.Limit, Remaining: int((full - left) / interval), Reset: left}
	switch {
	case cost > r.Limit:
		state.Allowed, state.RetryAfter = false, r.Window // never; the window is the honest long answer
	case cost == 0 && state.Remaining == 0: // a look says what taking one would get
		state.Allowed, state.RetryAfter = false, left+interval-full
	case !allowed:
		state.RetryAfter = left + interval*time.Duration(cost) - full
	}
	return state
}

// Network returns the unit in which addresses are limited: a whole IPv6 /64, since one subscriber holds at least that
// many, and a single IPv4 address, also when it comes as an IPv4-mapped IPv6 one. An invalid address gives the zero
// Prefix, which is a key like any other: such callers share one allowance.
func Network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

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

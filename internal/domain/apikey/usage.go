package apikey

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const (
	usageInterval = 5 * time.Second
	// maxPending bounds the secrets that are remembered between two writes; what comes beyond waits for its next use.
	maxPending = 10_000
	// maxUserAgent is in bytes; what is behind it says nothing.
	maxUserAgent = 512
	flushTimeout = 5 * time.Second
)

// Usage records when keys were last used, and from where: in memory at each call, in the database every five seconds.
type Usage struct {
	db    postgres.DB
	clock clock.Clock
	log   *slog.Logger

	mu      sync.Mutex
	pending map[string]use // by public id
}

type use struct {
	key       id.ID
	at        time.Time
	ip        netip.Addr
	userAgent string
}

// NewUsage returns a recorder that writes nothing until Run is called.
func NewUsage(db postgres.DB, c clock.Clock, log *slog.Logger) *Usage {
	return &Usage{db: db, clock: c, log: log, pending: map[string]use{}}
}

// Used notes that a key was accepted by the secret with this public id. It never blocks on the database, and keeps a
// reference to userAgent until the next write.
func (u *Usage) Used(key id.ID, publicID string, ip netip.Addr, userAgent string) {
	now := u.clock.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.pending[publicID]; known || len(u.pending) < maxPending {
		u.pending[publicID] = use{key, now, ip, userAgent}
	}
}

// Run writes what Used noted until ctx ends, and then once more. Close the pool after it has returned.
func (u *Usage) Run(ctx context.Context) {
	tick := time.NewTicker(usageInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			u.flush(context.WithoutCancel(ctx))
			return
		}
		u.flush(ctx)
	}
}

// flush writes and forgets what is pending. What cannot be written is lost: it is a statistic, and keeping it through
// an outage would only make the first moments after one harder.
func (u *Usage) flush(ctx context.Context) {
	u.mu.Lock()
	pending := u.pending
	u.pending = map[string]use{}
	u.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	now := u.clock.Now()
	var b usageBatch
	for public, use := range pending {
		b.publicIDs = append(b.publicIDs, public)
		b.keys = append(b.keys, use.key)
		b.agesMS = append(b.agesMS, max(0, now.Sub(use.at).Milliseconds()))
		b.ips = append(b.ips, ipText(use.ip))
		agent := use.userAgent
		if len(agent) > maxUserAgent {
			agent = agent[:maxUserAgent]
		}
		b.userAgents = append(b.userAgents, strings.ReplaceAll(strings.ToValidUTF8(agent, "\uFFFD"), "\x00", "\uFFFD"))
	}
	if err := writeUsage(ctx, u.db, b); err != nil {
		u.log.WarnContext(ctx, "the last use of some API keys was not recorded", "keys", len(b.keys), "error", err)
	}
}

func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

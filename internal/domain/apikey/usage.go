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
	// fullBatch is how many tallies are written before their time; maxPending is how many are held at most, about 20 MB,
	// while the database is away. What comes beyond is not counted, and the log says how much.
	fullBatch  = 8192
	maxPending = 65536
	// maxNames bounds the reasons and permissions of one tally; a key that uses more in five seconds has the rest uncounted.
	maxNames = 64
	// maxUserAgent is in bytes; what is behind it says nothing.
	maxUserAgent = 512
	flushTimeout = 5 * time.Second
)

// Outcome is what became of one use of a key.
type Outcome string

// The outcomes.
const (
	Allowed Outcome = "allowed"
	Denied  Outcome = "denied"
	Limited Outcome = "limited"
)

// Use is one request with a key whose secret was proven.
type Use struct {
	Key       id.ID
	PublicID  string // of the secret
	Outcome   Outcome
	Reason    string // "" when allowed
	Accepted  bool   // the key was good, whatever it was good for: this is its last use
	IP        netip.Addr
	UserAgent string
}

// Usage counts what keys do, and notes when, from where and by what each secret was last used: in memory at each call, in
// the database every five seconds and once more at the end. A process that is killed loses at most that interval.
type Usage struct {
	db    postgres.DB
	clock clock.Clock
	log   *slog.Logger
	full  chan struct{}

	mu        sync.Mutex
	pending   map[tallyKey]*tally
	uncounted int
}

// tallyKey is a secret on a day, in days since the epoch (UTC).
type tallyKey struct {
	publicID string
	day      int64
}

// tally is what one secret did between two writes.
type tally struct {
	key       id.ID
	at        time.Time // of the newest request
	accepted  bool
	ip        netip.Addr // of the newest accepted one, as is userAgent
	userAgent string

	allowed     int64
	refused     []count // by outcome and reason
	permissions []count
}

type count struct {
	kind, name string
	n          int64
}

const permissionKind = "permission"

// NewUsage returns a recorder that writes nothing until Run is called.
func NewUsage(db postgres.DB, c clock.Clock, log *slog.Logger) *Usage {
	return &Usage{db: db, clock: c, log: log, full: make(chan struct{}, 1), pending: map[tallyKey]*tally{}}
}

// Record counts a use, with the permissions that it needed and had. It never waits for the database, and keeps
// references to the texts until the next write. A nil Usage counts nothing.
func (u *Usage) Record(use Use, permissions ...string) {
	if u == nil {
		return
	}
	now := u.clock.Now()
	key := tallyKey{use.PublicID, now.Unix() / 86400}
	u.mu.Lock()
	defer u.mu.Unlock()
	t := u.pending[key]
	if t == nil {
		if t = u.newTally(key, use.Key); t == nil {
			return
		}
	}
	t.at = now
	if use.Accepted {
		t.accepted, t.ip, t.userAgent = true, use.IP, use.UserAgent
	}
	if use.Outcome != Allowed {
		t.refused = u.add(t.refused, string(use.Outcome), use.Reason, 1)
		return
	}
	t.allowed++
	for _, p := range permissions {
		t.permissions = u.add(t.permissions, permissionKind, p, 1)
	}
}

// newTally makes room for another secret, nil when there is none. The caller holds the lock.
func (u *Usage) newTally(key tallyKey, of id.ID) *tally {
	if len(u.pending) >= maxPending {
		u.uncounted++
		return nil
	}
	t := &tally{key: of}
	u.pending[key] = t
	if len(u.pending) >= fullBatch {
		select {
		case u.full <- struct{}{}:
		default: // a write is due already
		}
	}
	return t
}

func (u *Usage) add(counts []count, kind, name string, n int64) []count {
	for i := range counts {
		if counts[i].name == name && counts[i].kind == kind {
			counts[i].n += n
			return counts
		}
	}
	if len(counts) >= maxNames {
		u.uncounted++
		return counts
	}
	return append(counts, count{kind, name, n})
}

// Run writes what was recorded until ctx ends, and then once more. Close the pool after it has returned.
func (u *Usage) Run(ctx context.Context) {
	tick := time.NewTicker(usageInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-u.full:
		case <-ctx.Done():
			u.flush(context.WithoutCancel(ctx))
			return
		}
		u.flush(ctx)
	}
}

// flush writes what is pending, a batch a statement. What could not be written is pending again, so an outage loses
// nothing that fits; a connection that broke in the commit may count a batch twice.
func (u *Usage) flush(ctx context.Context) {
	u.mu.Lock()
	pending, uncounted := u.pending, u.uncounted
	u.pending, u.uncounted = make(map[tallyKey]*tally, min(len(pending), fullBatch)), 0
	u.mu.Unlock()
	if uncounted > 0 {
		u.log.WarnContext(ctx, "some uses of API keys were not counted", "uses", uncounted)
	}
	batch := make(map[tallyKey]*tally, min(len(pending), fullBatch))
	for key, t := range pending {
		batch[key] = t
		if delete(pending, key); len(batch) == fullBatch || len(pending) == 0 {
			if !u.write(ctx, batch) {
				u.restore(batch)
				u.restore(pending)
				return
			}
			clear(batch)
		}
	}
}

func (u *Usage) write(ctx context.Context, batch map[tallyKey]*tally) bool {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	now := u.clock.Now()
	var b usageBatch
	for key, t := range batch {
		b.add(key.publicID, t, max(0, now.Sub(t.at).Milliseconds()))
	}
	if err := writeUsage(ctx, u.db, b); err != nil {
		u.log.WarnContext(ctx, "the use of some API keys could not be written yet", "keys", len(batch), "error", err)
		return false
	}
	return true
}

// restore puts back what could not be written, below what came since.
func (u *Usage) restore(batch map[tallyKey]*tally) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, old := range batch {
		t := u.pending[key]
		if t == nil {
			if len(u.pending) >= maxPending {
				u.uncounted++
				continue
			}
			u.pending[key] = old
			continue
		}
		t.allowed += old.allowed
		if !t.accepted {
			t.accepted, t.ip, t.userAgent = old.accepted, old.ip, old.userAgent
		}
		for _, c := range old.refused {
			t.refused = u.add(t.refused, c.kind, c.name, c.n)
		}
		for _, c := range old.permissions {
			t.permissions = u.add(t.permissions, c.kind, c.name, c.n)
		}
	}
}

// stored returns a user agent as the database takes it.
func stored(agent string) string {
	if len(agent) > maxUserAgent {
		agent = agent[:maxUserAgent]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(agent, "\uFFFD"), "\x00", "\uFFFD")
}

func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

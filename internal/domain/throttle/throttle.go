// Package throttle limits guesses at credentials and mails that strangers can trigger. The counters are rows in
// PostgreSQL, so that replicas share them; an attempt is counted before it is checked, so that parallel guesses cannot
// outrun it; and when the database does not answer, nothing is tried at all.
package throttle

import (
	"context"
	"net/netip"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

// The limits that are not configuration.
const (
	networkFactor   = 10                  // a network has ten times what one account has from it
	accountFailures = 100                 // consecutive ones, from anywhere (NIST SP 800-63B-4, section 3.2.2)
	accountMemory   = 90 * 24 * time.Hour // after so long without a failure the count of an account starts again
	signInMemory    = 90 * 24 * time.Hour // so long a network where the account signed in stays its own
	mailsAnHour     = 3
	mailsADay       = 10
	nothingEnds     = -1        // for giveBack: no row of failures is so short
	lockedRetry     = time.Hour // a locked account is not opened by time; this keeps clients from hammering
)

// ErrLimited is the refusal of an attempt that is one too many; it does not tell whether the account exists.
var ErrLimited = fault.New(fault.Limited, "rate_limited",
	"There were too many attempts; wait before the next one.").With("policy", "login")

// Config is the configuration of the limits.
type Config struct {
	// Login is how many failed attempts one network has at one account; off switches all three counters off.
	Login ratelimit.Rate `env:"UMS_RATE_LIMIT_LOGIN" envDefault:"10/15m"`
}

// Attempt is a guess at a credential: of which account, from where.
type Attempt struct {
	EmailNorm string     // of the account; an address without an account counts alike
	IP        netip.Addr // the guesser's; IPv6 counts by /64
	// Proven is set where the guesser also holds something that was mailed to the account: strangers can then neither
	// keep him out nor does he count towards keeping others out.
	Proven bool
}

// Refusal is an attempt that must not be checked.
type Refusal struct {
	Err   error // ErrLimited with the time to wait
	First bool  // of its window: the one that is worth recording
}

// Limits counts attempts and mails.
type Limits struct {
	db   postgres.DB
	ring *keyring.Ring
	cfg  Config
}

// New counts in db, under keys that only ring can make: no address stands in the table.
func New(db postgres.DB, ring *keyring.Ring, cfg Config) *Limits {
	return &Limits{db: db, ring: ring, cfg: cfg}
}

// Raise counts the attempt, at once and whatever becomes of it, and returns a refusal when it is one too many.
// Only what is refused by none counts against the account, so that one network alone cannot lock it. An error means
// that the attempt must not go on. One statement.
func (l *Limits) Raise(ctx context.Context, a Attempt) (*Refusal, error) {
	if l.cfg.Login.Off() {
		return nil, nil //nolint:nilnil // no refusal and no error: the attempt may go on
	}
	c, err := l.raise(ctx, a)
	if err != nil {
		return nil, err
	}
	perNetwork := l.cfg.Login.Limit * networkFactor
	switch {
	case c.pair > l.cfg.Login.Limit:
		return refuse(c.pairReset, c.pair == l.cfg.Login.Limit+1), nil
	case c.network > perNetwork:
		return refuse(c.networkReset, c.network == perNetwork+1), nil
	case c.account > accountFailures && !c.known:
		return refuse(lockedRetry, c.account == accountFailures+1), nil
	}
	return nil, nil //nolint:nilnil // as above
}

func refuse(wait time.Duration, first bool) *Refusal {
	return &Refusal{Err: ErrLimited.WithRetryAfter(max(wait, time.Second)), First: first}
}

// GiveBack takes a successful attempt out of the counts and ends the row of failures of its account, unless the account
// is locked: that is for a mailed proof to end. Call it last in the transaction of the success: it holds the counters
// until the commit. One statement.
func (l *Limits) GiveBack(ctx context.Context, db postgres.DB, a Attempt) error {
	if l.cfg.Login.Off() {
		return nil
	}
	return l.giveBack(ctx, db, a, accountFailures)
}

// Withdraw takes an attempt out of the counts that was never judged, because the service had too much to do: it is no
// failure, and it ends no row of failures either. One statement.
func (l *Limits) Withdraw(ctx context.Context, db postgres.DB, a Attempt) error {
	if l.cfg.Login.Off() {
		return nil
	}
	return l.giveBack(ctx, db, a, nothingEnds)
}

// Reset opens a locked account: its owner has proven the address by mail. One statement.
func (l *Limits) Reset(ctx context.Context, db postgres.DB, emailNorm string) error {
	return l.reset(ctx, db, emailNorm)
}

// AllowMail counts a mail to the address that somebody without a session triggers from ip, and says whether it may be
// sent: three an hour and ten a day, and as many again from each network where the account has signed in, so that
// strangers cannot use up its owner's. It counts in the transaction of the mail. One statement.
func (l *Limits) AllowMail(ctx context.Context, db postgres.DB, emailNorm string, ip netip.Addr) (bool, error) {
	return l.allowMail(ctx, db, emailNorm, ip)
}

// Sweep deletes counters whose window is over.
func (l *Limits) Sweep(ctx context.Context) error { return l.sweep(ctx) }

func (l *Limits) key(kind string, parts ...string) []byte {
	b := make([][]byte, 0, 1+len(parts))
	b = append(b, []byte(kind))
	for _, p := range parts {
		b = append(b, []byte(p))
	}
	return l.ring.MAC("credential-limit", b...)
}

func (l *Limits) keys(a Attempt) (pair, network, account []byte) {
	from := ratelimit.Network(a.IP).String()
	return l.key("pair", a.EmailNorm, from), l.key("network", from), l.key("account", a.EmailNorm)
}

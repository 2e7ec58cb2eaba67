// Package password hashes, verifies and judges passwords. Hashing is Argon2id (RFC 9106) in PHC strings; it costs tens
// of megabytes and milliseconds on purpose, so it runs in a few slots with a short queue and never beside a transaction.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Config is the configuration of hashing and of the policy.
type Config struct {
	// Argon2MemoryKiB, Argon2Iterations and Argon2Parallelism are the cost of new hashes; older ones are renewed at login.
	Argon2MemoryKiB   uint32 `env:"UMS_ARGON2_MEMORY_KIB" envDefault:"19456"`
	Argon2Iterations  uint32 `env:"UMS_ARGON2_ITERATIONS" envDefault:"2"`
	Argon2Parallelism uint8  `env:"UMS_ARGON2_PARALLELISM" envDefault:"1"`
	// MinLength is the shortest password, in code points.
	MinLength int `env:"UMS_PASSWORD_MIN_LENGTH" envDefault:"12"`
}

// Validate returns every fault of the configuration, each naming its variable.
func (c Config) Validate() error {
	var errs []error
	if err := c.params().check(); err != nil {
		errs = append(errs, fmt.Errorf("UMS_ARGON2_MEMORY_KIB, UMS_ARGON2_ITERATIONS, UMS_ARGON2_PARALLELISM: %w", err))
	}
	if c.MinLength < minMinLength || c.MinLength > maxMinLength {
		errs = append(errs, fmt.Errorf("UMS_PASSWORD_MIN_LENGTH is %d; use %d to %d", c.MinLength, minMinLength, maxMinLength))
	}
	return errors.Join(errs...)
}

// Weak says whether new hashes cost less than OWASP's minimum for Argon2id (19 MiB, 2 passes, or as much work in another
// shape). Tests do that; a start-up outside of them should warn.
func (c Config) Weak() bool {
	return uint64(c.Argon2MemoryKiB)*uint64(c.Argon2Iterations) < 7168*5 || c.Argon2MemoryKiB < 7168
}

func (c Config) params() params {
	return params{memory: c.Argon2MemoryKiB, iterations: c.Argon2Iterations, parallelism: c.Argon2Parallelism}
}

// queuePerSlot bounds those who wait for a slot. At some 30 ms a hash the last one waits about half a second;
// who comes after is told at once to come back later.
const queuePerSlot = 16

// ErrOverloaded is the fault of a full hashing queue (503).
var ErrOverloaded = fault.New(fault.Unavailable, "overloaded", "Too many sign-ins at this moment; try again shortly.").
	WithRetryAfter(time.Second)

// ErrUnreadable says that a stored hash is none that this service verifies, or costs more than it allows.
var ErrUnreadable = errors.New("stored password hash")

// Hasher makes and verifies password hashes. It is safe for concurrent use. Passwords are normalised to NFC first, so
// that the same password typed on two systems is one password (NIST SP 800-63B-4, section 3.1.1.2).
type Hasher struct {
	params params
	dummy  phc
	slots  chan struct{}
	limit  int64 // of the queue
	derive func(password, salt []byte, iterations, memory uint32, parallelism uint8, size uint32) []byte

	queued                        atomic.Int64
	hashes, verified, overflowing atomic.Uint64
}

// NewHasher returns a hasher with max(1, GOMAXPROCS − 1) slots: one processor stays free for all other requests.
func NewHasher(cfg Config) (*Hasher, error) {
	if err := cfg.params().check(); err != nil {
		return nil, fmt.Errorf("argon2 parameters: %w", err)
	}
	slots := max(1, runtime.GOMAXPROCS(0)-1)
	h := &Hasher{
		params: cfg.params(), slots: make(chan struct{}, slots), limit: int64(slots * queuePerSlot), derive: argon2.IDKey,
	}
	h.dummy = phc{params: h.params, salt: make([]byte, saltSize), tag: make([]byte, tagSize)}
	return h, nil
}

// Stats are the figures of a hasher: gauges, then counters since the start.
type Stats struct {
	Slots, InFlight, Queued         int
	Hashes, Verifications, Rejected uint64
}

// Stats returns the current figures. Every path that judges a password shows as exactly one verification.
func (h *Hasher) Stats() Stats {
	return Stats{
		Slots: cap(h.slots), InFlight: len(h.slots), Queued: int(h.queued.Load()),
		Hashes: h.hashes.Load(), Verifications: h.verified.Load(), Rejected: h.overflowing.Load(),
	}
}

// Hash returns the PHC string of a password under a fresh salt. It fails with ErrOverloaded, or when ctx ends first.
func (h *Hasher) Hash(ctx context.Context, password secret.Text) (string, error) {
	p := phc{params: h.params, salt: make([]byte, saltSize)}
	rand.Read(p.salt) // never fails: it ends the program instead
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	h.hashes.Add(1)
	p.tag = h.tag(password, p, tagSize)
	return p.String(), nil
}

// Verify says whether password is the one that was hashed into stored, and if so whether stored is of another scheme or
// has other parameters than new hashes and should be replaced. It compares in constant time. Hashes of other programs
// (see ParseForeign) take a slot of the same queue. A stored text that is no acceptable hash is ErrUnreadable; the other
// errors are ErrOverloaded and the end of ctx.
func (h *Hasher) Verify(ctx context.Context, password secret.Text, stored string) (ok, needsRehash bool, err error) {
	if !strings.HasPrefix(stored, "$"+argon2id+"$") {
		return h.verifyForeign(ctx, password, stored)
	}
	p, err := parsePHC(stored)
	if err != nil {
		return false, false, errors.Join(ErrUnreadable, err)
	}
	if ok, err = h.verify(ctx, password, p); err != nil || !ok {
		return false, false, err
	}
	return true, p.params != h.params || len(p.salt) != saltSize || len(p.tag) != tagSize, nil
}

// verifyForeign verifies a hash of another program. It always needs to be replaced.
func (h *Hasher) verifyForeign(ctx context.Context, password secret.Text, stored string) (ok, needsRehash bool, err error) {
	matches, err := parseForeign(stored)
	if err != nil {
		return false, false, errors.Join(ErrUnreadable, err)
	}
	if err := h.acquire(ctx); err != nil {
		return false, false, err
	}
	defer h.release()
	h.verified.Add(1)
	ok = matches([]byte(password.Reveal()))
	return ok, ok, nil
}

// VerifyDummy costs what Verify costs and verifies nothing: for accounts that do not exist, or have no password, so that
// time does not tell them apart. It fails only as Verify does.
func (h *Hasher) VerifyDummy(ctx context.Context, password secret.Text) error {
	_, err := h.verify(ctx, password, h.dummy)
	return err
}

func (h *Hasher) verify(ctx context.Context, password secret.Text, p phc) (bool, error) {
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	h.verified.Add(1)
	return subtle.ConstantTimeCompare(h.tag(password, p, len(p.tag)), p.tag) == 1, nil
}

func (h *Hasher) tag(password secret.Text, p phc, size int) []byte {
	text := norm.NFC.Bytes([]byte(password.Reveal()))
	return h.derive(text, p.salt, p.iterations, p.memory, p.parallelism, uint32(size)) //nolint:gosec // at most maxSize
}

// acquire takes a slot, or waits for one in the bounded queue. Who gives up leaves the queue.
func (h *Hasher) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("hash password: %w", err)
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.queued.Add(1) > h.limit {
		h.queued.Add(-1)
		h.overflowing.Add(1)
		return ErrOverloaded
	}
	defer h.queued.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to hash password: %w", ctx.Err())
	}
}

// Admit fails with ErrOverloaded while the queue is full. Who asks it before his own preparations (a count, a read) spares
// them under a flood; an answer of nil promises nothing, as the queue may fill meanwhile.
func (h *Hasher) Admit() error {
	if h.queued.Load() < h.limit {
		return nil
	}
	h.overflowing.Add(1)
	return ErrOverloaded
}

func (h *Hasher) release() { <-h.slots }

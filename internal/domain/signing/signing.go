// Package signing keeps the keys that sign access tokens: rows in the database, sealed by the master key, so that all
// replicas sign with the same key and a copy of the database signs nothing.
package signing

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

const (
	sealPurpose = "signing-key"
	refreshEach = 30 * time.Second // each replica knows a new key after so long, also when it hears nothing
	// CacheFor is how long others may keep the published keys before they ask again.
	CacheFor = 5 * time.Minute
	// publishFor is how long a key that replaces another is published before it signs: until every replica and everybody
	// who keeps the published keys has seen it, twice over.
	publishFor = 2 * CacheFor
	// verifyFor is how long a replaced key still verifies: the longest life of a token, the leeway, and some more for clocks
	// that disagree.
	verifyFor = time.Hour + time.Minute
	maxSkew   = time.Minute // of a replica's clock behind the database's

	minRotation = time.Hour
	maxRotation = 10 * 365 * 24 * time.Hour

	// announced is the channel on which replicas tell each other that there is a key more.
	announced = "ums_signing_keys"
)

// Config is how often keys are replaced.
type Config struct {
	// Rotation is the age at which the current key is replaced; 0 = only by hand.
	Rotation time.Duration `env:"UMS_KEY_ROTATION" envDefault:"720h"`
}

// Validate returns every fault of the configuration, each naming its variable.
func (c Config) Validate() error {
	if c.Rotation != 0 && (c.Rotation < minRotation || c.Rotation > maxRotation) {
		return fmt.Errorf("UMS_KEY_ROTATION is %s; use %s to %s, or 0 to rotate by hand alone", c.Rotation, minRotation, maxRotation)
	}
	return nil
}

// Deps is what the service works with.
type Deps struct {
	Config    Config
	DB        *postgres.Pool
	Ring      *keyring.Ring // seals private keys
	Bus       *postgres.Bus
	Algorithm string // of new keys
	Clock     clock.Clock
	Log       *slog.Logger
}

// Service loads the keys, makes the first one and replaces them.
type Service struct {
	Deps
	keys   *token.KeySet
	loaded atomic.Int64 // Unix nanoseconds by the clock
	wake   chan struct{}
}

// New returns a service without keys: call Ensure before the first token is signed.
func New(d Deps) *Service {
	s := &Service{Deps: d, keys: &token.KeySet{}, wake: make(chan struct{}, 1)}
	d.Bus.Subscribe(announced, func(string) {
		select {
		case s.wake <- struct{}{}:
		default: // it is about to look anyway
		}
	})
	return s
}

// Keys is the set that issuers and verifiers read. It follows the database while Run runs.
func (s *Service) Keys() *token.KeySet { return s.keys }

// Ensure makes a key of the configured algorithm when there is none, exactly one however many replicas start at once,
// and loads all keys. The very first key signs at once; one that replaces keys of another algorithm is a rotation.
func (s *Service) Ensure(ctx context.Context) error {
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		state, err := survey(ctx, tx, s.Algorithm, 0)
		if err != nil || state.Current {
			return err
		}
		if state.Others {
			_, err = s.replace(ctx, tx, actor.Service("start-up"), "UMS_TOKEN_ALGORITHM", later)
			return err
		}
		_, err = s.add(ctx, tx, always)
		return err
	})
	if err != nil {
		return fmt.Errorf("ensure signing key: %w", err)
	}
	return s.Load(ctx)
}

// Load reads the keys that are not retired. It fails when one was sealed under a master key that is no longer listed.
func (s *Service) Load(ctx context.Context) error {
	s.loaded.Store(s.Clock.Now().UnixNano())
	rows, err := live(ctx, s.DB)
	if err != nil {
		return err
	}
	list := make([]token.Key, 0, len(rows))
	for _, r := range rows {
		private, err := s.Ring.Open(sealPurpose, []byte(r.KID), r.PrivateKey)
		if err != nil {
			return fmt.Errorf("signing key %s: UMS_MASTER_KEY does not list the key that sealed it: %w", r.KID, err)
		}
		k, err := token.ParsePrivate(private)
		if err != nil {
			return fmt.Errorf("signing key %s: %w", r.KID, err)
		}
		k.ActiveFrom = r.ActiveFrom
		if r.RetiresAt != nil {
			k.RetiresAt = *r.RetiresAt
		}
		list = append(list, k)
	}
	if err := s.keys.Replace(list); err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	return nil
}

// Reload is Load for a token whose key is unknown here: another replica may have made it since. It does nothing, and
// says so, when the keys were loaded within the last second, so that foreign tokens cost no reads.
func (s *Service) Reload(ctx context.Context) (bool, error) {
	last := s.loaded.Load()
	now := s.Clock.Now().UnixNano()
	if now-last < int64(time.Second) || !s.loaded.CompareAndSwap(last, now) {
		return false, nil
	}
	return true, s.Load(ctx)
}

// Run keeps the set fresh, and the keys young, until ctx ends. While the database is away the known keys go on.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(refreshEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			// It also wakes when the listener has lost the database, each second: the next tick says so if it lasts.
			_ = s.Load(ctx)
		case <-tick.C:
			if err := s.RotateDue(ctx); err != nil && ctx.Err() == nil {
				s.Log.WarnContext(ctx, "signing keys were not rotated", "error", err)
			}
			if err := s.Load(ctx); err != nil && ctx.Err() == nil {
				s.Log.WarnContext(ctx, "signing keys were not refreshed", "error", err)
			}
		}
	}
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517, section 5): next, current, recently retired.
func (s *Service) JWKS() ([]byte, error) {
	return s.keys.JWKS(s.Clock.Now())
}

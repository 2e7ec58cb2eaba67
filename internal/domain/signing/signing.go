// Package signing keeps the keys that sign access tokens: rows in the database, sealed by the master key, so that all
// replicas sign with the same key and a copy of the database signs nothing.
package signing

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

const (
	sealPurpose = "signing-key"
	refreshEach = 30 * time.Second // each replica knows a new key after so long
	// publishFor is how long a key that replaces another is published before it signs: twice what a replica needs.
	publishFor = 2 * refreshEach
	// verifyFor is how long a replaced key still verifies: the longest life of a token, and the leeway.
	verifyFor = time.Hour + time.Minute
)

// Service loads the keys and makes the first one.
type Service struct {
	db        *postgres.Pool
	ring      *keyring.Ring
	algorithm string
	keys      *token.KeySet
	clock     clock.Clock
	log       *slog.Logger
	loaded    atomic.Int64 // Unix nanoseconds by clock
}

// New returns a service without keys: call Ensure before the first token is signed.
func New(db *postgres.Pool, ring *keyring.Ring, cfg token.Config, c clock.Clock, log *slog.Logger) *Service {
	return &Service{db: db, ring: ring, algorithm: cfg.Algorithm, keys: &token.KeySet{}, clock: c, log: log}
}

// Keys is the set that issuers and verifiers read. It follows the database while Run runs.
func (s *Service) Keys() *token.KeySet { return s.keys }

// Ensure makes a key of the configured algorithm when there is none, exactly one however many replicas start at once,
// and loads all keys. The very first key signs at once; one that replaces keys of another algorithm is published a
// minute before it signs, and the others verify until the last token that they signed has ended.
func (s *Service) Ensure(ctx context.Context) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		state, err := survey(ctx, tx, s.algorithm)
		if err != nil || state.Current {
			return err
		}
		k, err := token.GenerateKey(s.algorithm)
		if err != nil {
			return err
		}
		private, err := k.MarshalPrivate()
		if err != nil {
			return err
		}
		public, err := k.MarshalPublic()
		if err != nil {
			return err
		}
		return insert(ctx, tx, row{
			KID: k.ID, Algorithm: k.Algorithm, PublicKey: public,
			PrivateKey: s.ring.Seal(sealPurpose, []byte(k.ID), private),
		}, state.Others)
	})
	if err != nil {
		return fmt.Errorf("ensure signing key: %w", err)
	}
	return s.Load(ctx)
}

// Load reads the keys that are not retired. It fails when one was sealed under a master key that is no longer listed.
func (s *Service) Load(ctx context.Context) error {
	s.loaded.Store(s.clock.Now().UnixNano())
	rows, err := live(ctx, s.db)
	if err != nil {
		return err
	}
	list := make([]token.Key, 0, len(rows))
	for _, r := range rows {
		private, err := s.ring.Open(sealPurpose, []byte(r.KID), r.PrivateKey)
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
	now := s.clock.Now().UnixNano()
	if now-last < int64(time.Second) || !s.loaded.CompareAndSwap(last, now) {
		return false, nil
	}
	return true, s.Load(ctx)
}

// Run keeps the set fresh until ctx ends. While the database is away the known keys go on.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(refreshEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.Load(ctx); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "signing keys were not refreshed", "error", err)
			}
		}
	}
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517, section 5): next, current, recently retired.
func (s *Service) JWKS() ([]byte, error) {
	return s.keys.JWKS(s.clock.Now())
}

package token

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// ErrNoSigningKey says that no key of the set signs now.
var ErrNoSigningKey = errors.New("token: no active signing key")

// KeySet holds the signing keys: the next, the current, and those that only verify until they retire. A rotation
// publishes the next key before any replica signs with it, so that two replicas never disagree.
// It is safe for concurrent use; Replace swaps all keys at once. The zero value holds none.
type KeySet struct{ current atomic.Pointer[keys] }

// keys is immutable. Verified tokens are remembered together with it, so that a replaced set forgets them.
type keys struct {
	list []Key // newest ActiveFrom first, ties by id, so that replicas agree
	byID map[string]*Key
}

// Replace puts list in the place of all keys. On an error, which means a key whose parts do not belong together or
// the same key twice, the set stays as it was. A list that changes nothing costs nothing later either.
func (s *KeySet) Replace(list []Key) error {
	next := &keys{list: slices.Clone(list), byID: make(map[string]*Key, len(list))}
	slices.SortFunc(next.list, func(a, b Key) int {
		if c := b.ActiveFrom.Compare(a.ActiveFrom); c != 0 {
			return c
		}
		return bytes.Compare([]byte(a.ID), []byte(b.ID))
	})
	for i := range next.list {
		k := &next.list[i]
		if err := k.check(); err != nil {
			return fmt.Errorf("replace signing keys: %w", err)
		}
		if next.byID[k.ID] != nil {
			return fmt.Errorf("replace signing keys: key %q is there twice", k.ID)
		}
		next.byID[k.ID] = k
	}
	if old := s.current.Load(); old != nil && slices.EqualFunc(old.list, next.list, Key.same) {
		return nil
	}
	s.current.Store(next)
	return nil
}

func (s *KeySet) load() *keys {
	if k := s.current.Load(); k != nil {
		return k
	}
	return &keys{}
}

// Signing returns the key that signs at now: of those that are active and not retired the one activated last.
func (s *KeySet) Signing(now time.Time) (Key, error) {
	for _, k := range s.load().list {
		if k.Private != nil && !k.ActiveFrom.After(now) && !k.retired(now) {
			return k, nil
		}
	}
	return Key{}, ErrNoSigningKey
}

// JWKS returns the JSON Web Key Set (RFC 7517, section 5) of all keys that are not retired at now: public parts only,
// next ones included. The same keys give the same bytes.
func (s *KeySet) JWKS(now time.Time) ([]byte, error) {
	var members [][]byte
	for _, k := range s.load().list {
		if k.retired(now) {
			continue
		}
		jwk, err := k.jwk()
		if err != nil {
			return nil, fmt.Errorf("publish signing key %s: %w", k.ID, err)
		}
		members = append(members, jwk)
	}
	return slices.Concat([]byte(`{"keys":[`), bytes.Join(members, []byte(",")), []byte("]}")), nil
}

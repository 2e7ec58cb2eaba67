package verify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The service publishes a key twice its max-age before it signs with it, so keys are known before they are met. A key
// that was withdrawn is unknown here at the latest when max-age is over.
const (
	defaultAge = 5 * time.Minute  // for an answer that states none
	minAge     = 10 * time.Second // whatever is stated, and the least time between two questions
	maxAge     = time.Hour        // whatever is stated
	maxStale   = time.Hour        // how old keys may be while the service does not answer; no token lives longer
)

var errNoKeys = errors.New("the service's keys cannot be read")

// publicKey verifies by one algorithm, its own: what a token's header claims only has to agree.
type publicKey struct {
	algorithm string
	verify    func(signed, signature []byte) bool
}

// keySet keeps the published keys.
type keySet struct {
	fetch func(context.Context) (map[string]publicKey, time.Duration, error)
	now   func() time.Time

	mu      sync.Mutex
	keys    map[string]publicKey
	read    time.Time // when keys were read
	until   time.Time // when they are to be read anew
	tried   time.Time // the last attempt
	failing error     // of the last attempt
	running chan struct{}
}

// get returns the key with this id; false when there is none. Unknown ids make it ask the service anew, at most every 10
// seconds, whoever presents how many of them. An error means that
// it cannot be told.
func (s *keySet) get(ctx context.Context, kid string) (publicKey, bool, error) {
	s.mu.Lock()
	now := s.now()
	key, known := s.keys[kid]
	fresh := now.Before(s.until)
	if fresh && known {
		s.mu.Unlock()
		return key, true, nil
	}
	if s.running == nil && (s.tried.IsZero() || now.Sub(s.tried) >= minAge) {
		s.tried, s.running = now, make(chan struct{})
		// The keys are for everybody: the request that asks first may be given up.
		go s.refresh(context.WithoutCancel(ctx), s.running)
	}
	running, failing := s.running, s.failing
	s.mu.Unlock()
	// While the service does not answer, nobody waits for it who can do with what is known.
	if running != nil && (!known || failing == nil) {
		select {
		case <-running:
		case <-ctx.Done():
			return publicKey{}, false, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil || now.Sub(s.read) > maxStale {
		return publicKey{}, false, errors.Join(errNoKeys, s.failing)
	}
	if key, known = s.keys[kid]; !known && s.failing != nil {
		return publicKey{}, false, s.failing // it may be a new key: nobody is signed out by an outage
	}
	return key, known, nil
}

func (s *keySet) refresh(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	keys, age, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(done)
	s.running, s.failing = nil, err
	if err == nil {
		s.keys, s.read, s.until = keys, s.tried, s.tried.Add(age)
	}
}

// fetchKeys reads the published keys and how long they may be kept.
func (v *Verifier) fetchKeys(ctx context.Context) (map[string]publicKey, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+"/.well-known/jwks.json", http.NoBody)
	if err != nil {
		return nil, 0, fmt.Errorf("ask for the keys: %w", err)
	}
	res, err := v.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("ask for the keys: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, 0, fmt.Errorf("read the keys: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("read the keys: the service answered %d", res.StatusCode)
	}
	keys, err := parseKeys(body)
	if err != nil {
		return nil, 0, err
	}
	return keys, age(res.Header.Get("Cache-Control")), nil
}

// age is the max-age that is stated, within bounds.
func age(cacheControl string) time.Duration {
	for part := range strings.SplitSeq(cacheControl, ",") {
		if text, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "max-age="); ok {
			if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
				return min(max(time.Duration(seconds)*time.Second, minAge), maxAge)
			}
		}
	}
	return defaultAge
}

// parseKeys reads a JSON Web Key Set (RFC 7517, section 5). Keys of other kinds and uses are left out; one that claims to be
// ours and is none makes the set unusable.
func parseKeys(document []byte) (map[string]publicKey, error) {
	var set struct {
		Keys []struct {
			Kty, Crv, Alg, Use, Kid, X, Y string
		}
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	keys := map[string]publicKey{}
	for _, k := range set.Keys {
		if k.Kid == "" || k.Use != "" && k.Use != "sig" {
			continue
		}
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		var key publicKey
		err := errors.Join(errX, errY)
		switch {
		case err != nil:
		case k.Kty == "OKP" && k.Crv == "Ed25519" && (k.Alg == "EdDSA" || k.Alg == ""):
			key, err = edKey(x)
		case k.Kty == "EC" && k.Crv == "P-256" && (k.Alg == "ES256" || k.Alg == ""):
			key, err = ecKey(x, y)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the key %q: %w", k.Kid, err)
		}
		if _, twice := keys[k.Kid]; twice {
			return nil, fmt.Errorf("read the key %q: it is there twice", k.Kid)
		}
		keys[k.Kid] = key
	}
	if len(keys) == 0 {
		return nil, errors.New("read the keys: there is none")
	}
	return keys, nil
}

func edKey(x []byte) (publicKey, error) {
	if len(x) != ed25519.PublicKeySize {
		return publicKey{}, errors.New("its length is wrong")
	}
	return publicKey{algorithm: "EdDSA", verify: func(signed, signature []byte) bool {
		return ed25519.Verify(x, signed, signature)
	}}, nil
}

func ecKey(x, y []byte) (publicKey, error) {
	const half = 32 // bytes of a coordinate, and of each half of a signature (RFC 7518, sections 6.2.1 and 3.4)
	if len(x) != half || len(y) != half {
		return publicKey{}, errors.New("its length is wrong")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), bytes.Join([][]byte{{4}, x, y}, nil))
	if err != nil {
		return publicKey{}, fmt.Errorf("it is no point of the curve: %w", err)
	}
	return publicKey{algorithm: "ES256", verify: func(signed, signature []byte) bool {
		if len(signature) != 2*half {
			return false
		}
		digest := sha256.Sum256(signed)
		r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
		return ecdsa.Verify(public, digest[:], r, s)
	}}, nil
}

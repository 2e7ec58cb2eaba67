// Package keyring holds the master keys: the secrets that live outside the database, so that a copy of the database
// opens nothing and mints nothing. Every use derives its own key (HKDF-SHA256, RFC 5869) from a purpose, so that what
// one feature encrypts or signs means nothing to another.
//
// Several master keys may be listed. The first encrypts and signs; each of them opens and verifies. A rotation is:
// put the new key in front, restart every replica, rewrite what is stored, drop the old key.
package keyring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// The sealed form is: version (1 byte), key id (8), nonce (24), ciphertext with its tag (16 more than the plaintext).
const (
	masterKeySize = 32
	sealVersion   = 1
	keyIDSize     = 8
	headerSize    = 1 + keyIDSize
	overhead      = headerSize + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
)

// ErrOpen says that a sealed value is damaged, was sealed for another purpose or other associated data,
// or under a key that is no longer listed. It does not say which of them.
var ErrOpen = errors.New("keyring: sealed value does not open with any listed key")

// Ring is a list of master keys. It is safe for concurrent use.
type Ring struct{ keys []*masterKey }

type masterKey struct {
	id      [keyIDSize]byte // derived from the key, so that it needs no configuration
	secret  []byte
	derived sync.Map // label → derived key; purposes are constants of the program, so it stays small
}

// Parse reads one or more master keys, comma-separated: each the standard base64 of 32 bytes.
// Errors say which key is wrong and how, never its text.
func Parse(text string) (*Ring, error) {
	r := &Ring{}
	for i, field := range strings.Split(text, ",") {
		raw, err := parseKey(strings.TrimSpace(field))
		if err != nil {
			return nil, fmt.Errorf("master key %d: %w", i+1, err)
		}
		k := &masterKey{secret: raw}
		k.id = [keyIDSize]byte(k.derive("key id"))
		for j, other := range r.keys {
			if other.id == k.id {
				return nil, fmt.Errorf("master key %d: is the same as key %d", i+1, j+1)
			}
		}
		r.keys = append(r.keys, k)
	}
	return r, nil
}

func parseKey(text string) ([]byte, error) {
	if text == "" {
		return nil, errors.New("is empty; " + howToMake)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil { // the cause names an offset at best; the sentence helps more
		return nil, errors.New("is not standard base64; " + howToMake)
	}
	if len(raw) != masterKeySize {
		return nil, fmt.Errorf("is %d bytes long, not %d; %s", len(raw), masterKeySize, howToMake)
	}
	if strings.Count(string(raw), string(raw[:1])) == masterKeySize {
		return nil, errors.New("repeats one byte, so it is a placeholder; " + howToMake)
	}
	return raw, nil
}

// derive returns the 32-byte key of a label under this master key.
func (k *masterKey) derive(label string) []byte {
	if d, ok := k.derived.Load(label); ok {
		return d.([]byte) //nolint:forcetypeassert // only this function stores
	}
	d, err := hkdf.Key(sha256.New, k.secret, nil, "ums/v1/"+label, masterKeySize)
	if err != nil {
		panic("keyring: hkdf: " + err.Error()) // only an output length over 8160 bytes fails
	}
	k.derived.Store(label, d)
	return d
}

// Seal encrypts plaintext with XChaCha20-Poly1305 under the first master key. Purpose is a constant of the program and
// aad what the value belongs to, such as its row's id; Open needs the same two. The result is 49 bytes longer.
func (r *Ring) Seal(purpose string, aad, plaintext []byte) []byte {
	k := r.keys[0]
	out := make([]byte, headerSize+chacha20poly1305.NonceSizeX, overhead+len(plaintext))
	out[0] = sealVersion
	copy(out[1:], k.id[:])
	nonce := out[headerSize:]
	rand.Read(nonce) // never fails: it ends the program instead
	return k.aead(purpose).Seal(out, nonce, plaintext, bindHeader(out[:headerSize], aad))
}

// Open decrypts what Seal made under any listed key. Its only error is ErrOpen.
func (r *Ring) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < overhead || sealed[0] != sealVersion {
		return nil, ErrOpen
	}
	header, nonce := sealed[:headerSize], sealed[headerSize:headerSize+chacha20poly1305.NonceSizeX]
	for _, k := range r.keys {
		if [keyIDSize]byte(header[1:]) != k.id {
			continue
		}
		plaintext, err := k.aead(purpose).Open(nil, nonce, sealed[headerSize+len(nonce):], bindHeader(header, aad))
		if err != nil {
			return nil, ErrOpen
		}
		return plaintext, nil
	}
	return nil, ErrOpen
}

type aead interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

func (k *masterKey) aead(purpose string) aead {
	a, err := chacha20poly1305.NewX(k.derive("seal/" + purpose))
	if err != nil {
		panic("keyring: xchacha20poly1305: " + err.Error()) // only a key of another length fails
	}
	return a
}

// bindHeader puts the header, whose length is fixed, before the caller's associated data: it cannot be exchanged either.
func bindHeader(header, aad []byte) []byte {
	return append(append(make([]byte, 0, len(header)+len(aad)), header...), aad...)
}

// Current says whether a sealed value is under the first master key; if not, a rotation still has to rewrite it.
func (r *Ring) Current(sealed []byte) bool {
	return len(sealed) >= overhead && sealed[0] == sealVersion && [keyIDSize]byte(sealed[1:headerSize]) == r.keys[0].id
}

// Lists says whether the key that sealed a value is in the list, of the value's first nine bytes alone.
func (r *Ring) Lists(sealed []byte) bool {
	return len(sealed) >= headerSize && slices.ContainsFunc(r.keys, func(k *masterKey) bool { return [keyIDSize]byte(sealed[1:headerSize]) == k.id })
}

// First says whether the first key sealed a value, of the value's first nine bytes alone.
func (r *Ring) First(sealed []byte) bool {
	return len(sealed) >= headerSize && [keyIDSize]byte(sealed[1:headerSize]) == r.keys[0].id
}

// MAC returns the HMAC-SHA256 (32 bytes) of parts under the purpose's key of the first master key. Each part is preceded
// by its length, so that ("ab", "c") and ("a", "bc") differ.
func (r *Ring) MAC(purpose string, parts ...[]byte) []byte {
	return r.keys[0].mac(purpose, parts)
}

// CheckMAC says whether mac is the MAC of parts under any listed key. It compares in constant time.
func (r *Ring) CheckMAC(purpose string, mac []byte, parts ...[]byte) bool {
	found := 0
	for _, k := range r.keys {
		found |= subtle.ConstantTimeCompare(mac, k.mac(purpose, parts))
	}
	return found == 1
}

func (k *masterKey) mac(purpose string, parts [][]byte) []byte {
	h := hmac.New(sha256.New, k.derive("mac/"+purpose))
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	return h.Sum(nil)
}

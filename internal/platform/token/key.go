// Package token makes and reads every credential that is a text: access tokens (signed, RFC 9068), refresh tokens
// (authenticated, opaque), one-time tokens and codes, and API keys. It decides what is well-formed and authentic;
// whether a session, an account or a key still lives is the database's to say.
package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// The signature algorithms of access tokens (RFC 8037, section 3.1; RFC 7518, section 3.4).
const (
	EdDSA = "EdDSA" // Ed25519
	ES256 = "ES256" // ECDSA on P-256 with SHA-256
)

// Key is a signing key. Its algorithm is a property of the key, fixed when it is made: the header of a token never
// chooses one (RFC 8725, section 3.1). Private is nil where a key only verifies. No format verb prints it.
type Key struct {
	ID         string // the public key's RFC 7638 thumbprint
	Algorithm  string // EdDSA or ES256
	Private    crypto.Signer
	Public     crypto.PublicKey
	ActiveFrom time.Time // signs from then on; published before
	RetiresAt  time.Time // verifies until then, exactly; zero = not decided yet
}

// GenerateKey makes a key for EdDSA or ES256. The caller sets its times.
func GenerateKey(algorithm string) (Key, error) {
	switch algorithm {
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return Key{}, fmt.Errorf("generate Ed25519 key: %w", err)
		}
		return newKey(private)
	case ES256:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return Key{}, fmt.Errorf("generate P-256 key: %w", err)
		}
		return newKey(private)
	}
	return Key{}, fmt.Errorf("unknown token algorithm %q; known are %s and %s", algorithm, EdDSA, ES256)
}

func newKey(private crypto.Signer) (Key, error) {
	k, err := newPublicKey(private.Public())
	k.Private = private
	return k, err
}

func newPublicKey(public crypto.PublicKey) (Key, error) {
	k := Key{Public: public}
	switch p := public.(type) {
	case ed25519.PublicKey:
		k.Algorithm = EdDSA
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("signing key is on curve %s, not P-256", p.Curve.Params().Name)
		}
		k.Algorithm = ES256
	default:
		return Key{}, fmt.Errorf("signing key is a %T, neither Ed25519 nor ECDSA", public)
	}
	members, err := k.jwkMembers()
	if err != nil {
		return Key{}, err
	}
	thumbprint := sha256.Sum256(members)
	k.ID = base64.RawURLEncoding.EncodeToString(thumbprint[:])
	return k, nil
}

// jwkMembers returns the public key's required JWK members as RFC 7638, section 3.2 orders them.
func (k Key) jwkMembers() ([]byte, error) {
	enc := base64.RawURLEncoding.EncodeToString
	switch p := k.Public.(type) {
	case ed25519.PublicKey:
		return []byte(`{"crv":"Ed25519","kty":"OKP","x":"` + enc(p) + `"}`), nil
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4 ‖ x ‖ y, 32 bytes each
		if err != nil {
			return nil, fmt.Errorf("encode P-256 key: %w", err)
		}
		return []byte(`{"crv":"P-256","kty":"EC","x":"` + enc(point[1:33]) + `","y":"` + enc(point[33:]) + `"}`), nil
	}
	return nil, fmt.Errorf("no JWK for a %T", k.Public)
}

// MarshalPrivate returns the PKCS #8 DER of the private key, to be sealed before it is stored.
func (k Key) MarshalPrivate() ([]byte, error) {
	if k.Private == nil {
		return nil, errors.New("the key has no private part")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return der, nil
}

// ParsePrivate reads what MarshalPrivate wrote. Id and algorithm follow from the key; the caller sets its times.
func ParsePrivate(der []byte) (Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return Key{}, fmt.Errorf("parse private key: %w", err)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return Key{}, fmt.Errorf("a %T cannot sign", parsed)
	}
	return newKey(private)
}

// MarshalPublic returns the PKIX DER of the public key.
func (k Key) MarshalPublic() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return der, nil
}

// Format prints the id alone, whatever the verb: struct printing would show the private key.
func (k Key) Format(f fmt.State, _ rune) {
	io.WriteString(f, "key "+k.ID) //nolint:errcheck // fmt keeps what it is given
}

func (k Key) retired(now time.Time) bool {
	return !k.RetiresAt.IsZero() && !now.Before(k.RetiresAt)
}

func (k Key) method() jwt.SigningMethod {
	if k.Algorithm == ES256 {
		return jwt.SigningMethodES256
	}
	return jwt.SigningMethodEdDSA
}

// check refuses a key whose parts do not belong together, so that a mix-up in storage stops at loading.
func (k Key) check() error {
	derived, err := newPublicKey(k.Public)
	if err != nil {
		return err
	}
	if k.ID != derived.ID || k.Algorithm != derived.Algorithm {
		return fmt.Errorf("key %q (%s) holds the public key %s (%s)", k.ID, k.Algorithm, derived.ID, derived.Algorithm)
	}
	if k.Private == nil {
		return nil
	}
	signer, err := newPublicKey(k.Private.Public())
	if err == nil && signer.ID != k.ID {
		err = fmt.Errorf("key %q holds the private key of %s", k.ID, signer.ID)
	}
	return err
}

func (k Key) same(other Key) bool {
	return k.ID == other.ID && k.ActiveFrom.Equal(other.ActiveFrom) && k.RetiresAt.Equal(other.RetiresAt) &&
		(k.Private == nil) == (other.Private == nil)
}

// jwk returns the public key as a JWK (RFC 7517, section 4).
func (k Key) jwk() ([]byte, error) {
	members, err := k.jwkMembers()
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{
		members[:len(members)-1], []byte(`,"use":"sig","alg":"` + k.Algorithm + `","kid":"` + k.ID + `"}`),
	}, nil), nil
}

package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/google/uuid"

	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// A refresh token is the base64url, without padding, of: version (1 byte), session id (16), session secret (32),
// counter (8, big endian), HMAC-SHA256 over all of that (32). Making one takes the secret, of which the database holds
// only a hash, and the MAC key, which it does not hold: neither of the two leaks mints a token. The successor has the
// same secret and the next counter, so that it is made again from its parent and never stored.
const (
	refreshVersion = 1
	refreshPurpose = "refresh"
	secretAt       = 1 + 16
	counterAt      = secretAt + 32
	macAt          = counterAt + 8
	refreshSize    = macAt + sha256.Size
)

// SessionSecret is the part of a refresh token that stays the same through a session. No format verb prints it.
type SessionSecret [32]byte

// NewSessionSecret returns 256 random bits.
func NewSessionSecret() (s SessionSecret) {
	rand.Read(s[:]) // never fails: it ends the program instead
	return s
}

// Hash returns the SHA-256 of the secret: what the database holds. The secret has 256 bits, so no salt is needed.
func (s SessionSecret) Hash() [32]byte { return sha256.Sum256(s[:]) }

// Format prints a placeholder, whatever the verb.
func (s SessionSecret) Format(f fmt.State, _ rune) {
	io.WriteString(f, "[redacted]") //nolint:errcheck // fmt keeps what it is given
}

// Refresh is an authentic refresh token: one that this service minted. Whether it is the session's current one, its
// parent or an older one is for the database to say, by its counter.
type Refresh struct {
	SessionID uuid.UUID
	Secret    SessionSecret
	Counter   int64 // 0 at login, one more at each rotation
}

// SecretHash returns what the database holds of the session's secret.
func (r Refresh) SecretHash() [32]byte { return r.Secret.Hash() }

// RefreshCodec mints and reads refresh tokens. It is safe for concurrent use.
type RefreshCodec struct{ ring *keyring.Ring }

// NewRefreshCodec returns a codec whose MAC key comes from ring.
func NewRefreshCodec(ring *keyring.Ring) *RefreshCodec { return &RefreshCodec{ring: ring} }

// Mint returns the token of a session's counter: always the same text for the same three and the same master key.
// Counter must not be negative.
func (c *RefreshCodec) Mint(sessionID uuid.UUID, s SessionSecret, counter int64) secret.Text {
	raw := make([]byte, 0, refreshSize)
	raw = append(raw, refreshVersion)
	raw = append(raw, sessionID[:]...)
	raw = append(raw, s[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(counter)) //nolint:gosec // never negative
	raw = append(raw, c.ring.MAC(refreshPurpose, raw)...)
	return secret.New(base64.RawURLEncoding.EncodeToString(raw))
}

// Next returns the successor of r: the same text however often it is asked for.
func (c *RefreshCodec) Next(r Refresh) secret.Text { return c.Mint(r.SessionID, r.Secret, r.Counter+1) }

// Parse reads a token that Mint made under any listed master key. Everything else is refused here, by its MAC,
// so that garbage costs no read of the database.
func (c *RefreshCodec) Parse(text string) (Refresh, bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(refreshSize) {
		return Refresh{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != refreshSize || raw[0] != refreshVersion { // CR and LF are skipped and leave too few bytes
		return Refresh{}, false
	}
	if !c.ring.CheckMAC(refreshPurpose, raw[macAt:], raw[:macAt]) {
		return Refresh{}, false
	}
	return Refresh{
		SessionID: uuid.UUID(raw[1:secretAt]),
		Secret:    SessionSecret(raw[secretAt:counterAt]),
		Counter:   int64(binary.BigEndian.Uint64(raw[counterAt:macAt])), //nolint:gosec // what Mint wrote
	}, true
}

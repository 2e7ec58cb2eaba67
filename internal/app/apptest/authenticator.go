package apptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Authenticator is a browser and its authenticator (WebAuthn Level 3) with one passkey, ES256 and no attestation. What it
// says can be set, so that a test can have it lie.
type Authenticator struct {
	Origin      string // of the page
	RPID        string // "": the one in the options
	Type        string // "": the ceremony's own
	CrossOrigin bool
	Flags       byte   // of the authenticator data
	Count       uint32 // of signatures; raised before each one, unless it is 0
	Handle      []byte // the user handle that it kept
	ID          []byte // of the credential

	key *ecdsa.PrivateKey
}

// Flags of authenticator data (section 6.1).
const (
	UserPresent    byte = 1 << 0
	UserVerified   byte = 1 << 2
	BackupEligible byte = 1 << 3
	BackedUp       byte = 1 << 4
	attested       byte = 1 << 6
)

// NewAuthenticator returns an authenticator in a browser that shows a page of the test service's public URL.
func NewAuthenticator(t testing.TB) *Authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	return &Authenticator{Origin: "http://localhost:8080", Flags: UserPresent | UserVerified, Count: 1, ID: id, key: key}
}

// Create answers options as navigator.credentials.create and toJSON do.
func (a *Authenticator) Create(t testing.TB, options *Answer) map[string]any {
	t.Helper()
	handle, err := base64.RawURLEncoding.DecodeString(options.String(t, "publicKey.user.id"))
	require.NoError(t, err)
	a.Handle = handle
	point, err := a.key.PublicKey.Bytes()
	require.NoError(t, err)
	x, y := point[1:33], point[33:]
	// COSE_Key (RFC 9053, section 7.1): {1: 2, 3: -7, -1: 1, -2: x, -3: y}
	cose := slices.Concat([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20}, x, []byte{0x22, 0x58, 0x20}, y)
	data := a.data(options.String(t, "publicKey.rp.id"), a.Flags|attested)
	data = append(data, make([]byte, 16)...)                      // AAGUID
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID))) //nolint:gosec // an id has 32 bytes
	data = slices.Concat(data, a.ID, cose)
	// {"fmt": "none", "attStmt": {}, "authData": data}
	//nolint:gosec // 37 bytes, the id and the key are fewer than 256
	object := slices.Concat([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"), []byte{byte(len(data))}, data)
	return a.credential(map[string]any{
		"clientDataJSON": encode(a.client(t, "webauthn.create", options)), "attestationObject": encode(object),
		"transports": []string{"internal"},
	})
}

// Get answers options as navigator.credentials.get and toJSON do.
func (a *Authenticator) Get(t testing.TB, options *Answer) map[string]any {
	t.Helper()
	if a.Count > 0 {
		a.Count++
	}
	data := a.data(options.String(t, "publicKey.rpId"), a.Flags)
	client := a.client(t, "webauthn.get", options)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(slices.Concat(data, hash[:]))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	require.NoError(t, err)
	return a.credential(map[string]any{
		"clientDataJSON": encode(client), "authenticatorData": encode(data), "signature": encode(signature), "userHandle": encode(a.Handle),
	})
}

func (a *Authenticator) credential(response map[string]any) map[string]any {
	return map[string]any{
		"id": encode(a.ID), "rawId": encode(a.ID), "type": "public-key", "authenticatorAttachment": "platform",
		"clientExtensionResults": map[string]any{}, "response": response,
	}
}

func (a *Authenticator) data(rpID string, flags byte) []byte {
	if a.RPID != "" {
		rpID = a.RPID
	}
	hash := sha256.Sum256([]byte(rpID))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.Count)
}

func (a *Authenticator) client(t testing.TB, ceremony string, options *Answer) []byte {
	t.Helper()
	if a.Type != "" {
		ceremony = a.Type
	}
	doc, err := json.Marshal(map[string]any{
		"type": ceremony, "challenge": options.String(t, "publicKey.challenge"), "origin": a.Origin, "crossOrigin": a.CrossOrigin,
	})
	require.NoError(t, err)
	return doc
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

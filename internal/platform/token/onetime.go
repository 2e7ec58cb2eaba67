package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"

	"github.com/user-management-service/ums/internal/platform/secret"
)

const oneTimeSize = 32

// NewOneTime returns a one-time token, 43 characters of base64url (256 random bits), and its SHA-256, which is all that
// is stored. What it is for, and until when, is in the row.
func NewOneTime() (text secret.Text, hash [32]byte) {
	var raw [oneTimeSize]byte
	rand.Read(raw[:]) // never fails: it ends the program instead
	return secret.New(base64.RawURLEncoding.EncodeToString(raw[:])), sha256.Sum256(raw[:])
}

// HashOneTime returns the hash under which a token of NewOneTime is stored; false for a text of another shape, which
// the caller refuses exactly as an unknown one.
func HashOneTime(text string) ([32]byte, bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(oneTimeSize) {
		return [32]byte{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != oneTimeSize { // CR and LF are skipped and leave too few bytes
		return [32]byte{}, false
	}
	return sha256.Sum256(raw), true
}

// NewCode returns eight random decimal digits, for people who type. A code has 26 bits: store it as a MAC, bound to
// what it is for, and count the tries.
func NewCode() secret.Text {
	n, err := rand.Int(rand.Reader, big.NewInt(100_000_000))
	if err != nil {
		panic("token: " + err.Error()) // crypto/rand.Reader never fails: it ends the program instead
	}
	return secret.New(fmt.Sprintf("%08d", n.Int64()))
}

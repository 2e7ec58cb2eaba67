package password

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// The bounds of scrypt: 256 MiB at once, as for Argon2, and 512 MiB over all p, which is about a second.
const (
	maxScryptR      = 32
	maxScryptP      = 16
	maxScryptMemory = 256 << 20
	maxScryptWork   = 512 << 20
)

var (
	errScrypt = errors.New("malformed scrypt string; it reads $scrypt$ln=14,r=8,p=1$SALT$HASH, salt and hash in base64, " +
		"or scrypt$16384$SALT$8$1$HASH with the salt as it is")
	errFirebase = errors.New("malformed Firebase scrypt string; it reads $firebase-scrypt$ln=14,r=8,p=1,ss=SEPARATOR,sk=SIGNERKEY$SALT$HASH, " +
		"all four in base64")
)

// scryptCost are the cost parameters (RFC 7914, section 2): 2^ln, r, p.
type scryptCost struct{ ln, r, p int }

func parseScryptCost(ln, r, p string) (c scryptCost, err error) {
	var ok [3]bool
	c.ln, ok[0] = number(ln, 24)
	c.r, ok[1] = number(r, maxScryptR)
	c.p, ok[2] = number(p, maxScryptP)
	memory := 128 * c.r << c.ln
	if ok != [3]bool{true, true, true} || min(c.ln, c.r, c.p) < 1 || memory > maxScryptMemory || memory*c.p > maxScryptWork {
		return c, fmt.Errorf("scrypt parameters; r to %d, p to %d, 128·N·r to %d MiB and 128·N·r·p to %d MiB are allowed",
			maxScryptR, maxScryptP, maxScryptMemory>>20, maxScryptWork>>20)
	}
	return c, nil
}

func (c scryptCost) key(password, salt []byte, size int) []byte {
	key, err := scrypt.Key(password, salt, 1<<c.ln, c.r, c.p, size)
	if err != nil {
		panic("password: " + err.Error()) // the bounds above lie inside scrypt's own
	}
	return key
}

// parseScrypt reads $scrypt$ln=14,r=8,p=1$SALT$HASH.
func parseScrypt(text string) (matcher, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return nil, errScrypt
	}
	costs, ok := settings(parts[2], "ln", "r", "p")
	salt, ok2 := decode(parts[3], minForeignSalt)
	tag, ok3 := decode(parts[4], minTag)
	if !ok || !ok2 || !ok3 {
		return nil, errScrypt
	}
	return scryptMatcher(costs[0], costs[1], costs[2], salt, tag)
}

// parseDjangoScrypt reads scrypt$N$SALT$r$p$HASH. The salt is a text.
func parseDjangoScrypt(text string) (matcher, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || len(parts[2]) < minForeignSalt || len(parts[2]) > maxForeignPart {
		return nil, errScrypt
	}
	n, ok := number(parts[1], 1<<24)
	tag, ok2 := decode(parts[5], minTag)
	if !ok || !ok2 || n < 2 || n&(n-1) != 0 {
		return nil, errScrypt
	}
	return scryptMatcher(fmt.Sprint(bits.TrailingZeros(uint(n))), parts[3], parts[4], []byte(parts[2]), tag)
}

func scryptMatcher(ln, r, p string, salt, tag []byte) (matcher, error) {
	c, err := parseScryptCost(ln, r, p)
	if err != nil {
		return nil, err
	}
	return func(password []byte) bool { return same(c.key(password, salt, len(tag)), tag) }, nil
}

// parseFirebase reads $firebase-scrypt$ln=14,r=8,p=1,ss=SEPARATOR,sk=SIGNERKEY$SALT$HASH, a form of our own that holds all
// that Firebase keeps apart: the project's memory cost, rounds, salt separator and signer key, the account's salt and hash.
// The hash is the signer key, encrypted by AES-256-CTR under a key that scrypt derives.
func parseFirebase(text string) (matcher, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return nil, errFirebase
	}
	set, ok := settings(parts[2], "ln", "r", "p", "ss", "sk")
	if !ok {
		return nil, errFirebase
	}
	separator, ok1 := decode(set[3], 0)
	signer, ok2 := decode(set[4], minTag)
	salt, ok3 := decode(parts[3], minForeignSalt)
	tag, ok4 := decode(parts[4], minTag)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(tag) != len(signer) {
		return nil, errFirebase
	}
	c, err := parseScryptCost(set[0], set[1], set[2])
	if err != nil {
		return nil, err
	}
	salt = slices.Concat(salt, separator)
	return func(password []byte) bool {
		block, err := aes.NewCipher(c.key(password, salt, 32))
		if err != nil {
			panic("password: " + err.Error()) // 32 bytes are a key
		}
		got := make([]byte, len(signer))
		cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(got, signer) //nolint:gosec // the scheme has a zero IV; each key encrypts once
		return same(got, tag)
	}, nil
}

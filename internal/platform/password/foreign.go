package password

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Hashes of other programs come in by imports. They verify until the first sign-in, which replaces them by Argon2id.
// What they may cost is bounded when they are parsed, before any work, each to about a second of one core (measured on
// a 2.x GHz x86 with SHA extensions): whoever can write a row must not be able to occupy a slot for minutes or all memory.
// Passwords are taken as they were typed, not normalised: that is what those programs did.
const (
	maxForeign = 1024 // bytes of the whole text
	// bcrypt reads no more than 72 bytes, and ours of more must not pass for their beginning.
	maxBcryptInput = 72
	minBcryptCost  = 4
	maxBcryptCost  = 14 // 2^14 rounds: 0.8 s

	minForeignSalt = 4
	maxForeignPart = 128 // bytes of a salt, of a tag, of a key
)

// matcher does the work of one verification: is password the one that was hashed?
type matcher func(password []byte) bool

// foreign lists what is read, by the beginning of the text.
var foreign = []struct {
	prefix string
	name   string // as errors name it
	parse  func(text string) (matcher, error)
}{
	{"$2a$", "bcrypt ($2a$, $2b$, $2y$)", parseBcrypt},
	{"$2b$", "", parseBcrypt},
	{"$2y$", "", parseBcrypt},
	{"$" + argon2i + "$", "Argon2i", parseArgon2i},
	{"$pbkdf2$", "PBKDF2 ($pbkdf2$, $pbkdf2-sha256$, $pbkdf2-sha512$, pbkdf2_sha1$, pbkdf2_sha256$, pbkdf2_sha512$)", parsePBKDF2},
	{"$pbkdf2-sha1$", "", parsePBKDF2},
	{"$pbkdf2-sha256$", "", parsePBKDF2},
	{"$pbkdf2-sha512$", "", parsePBKDF2},
	{"pbkdf2_sha1$", "", parseDjangoPBKDF2},
	{"pbkdf2_sha256$", "", parseDjangoPBKDF2},
	{"pbkdf2_sha512$", "", parseDjangoPBKDF2},
	{"$scrypt$", "scrypt ($scrypt$, scrypt$)", parseScrypt},
	{"scrypt$", "", parseDjangoScrypt},
	{"$firebase-scrypt$", "Firebase scrypt ($firebase-scrypt$)", parseFirebase},
}

// ParseForeign says whether a hash that is to be imported will verify here: one of Argon2id, or of another scheme. The
// error says what is wrong with it, or names what is accepted; it never holds the hash. docs/operations/importing-passwords.md
// has the formats. It costs no hashing.
func ParseForeign(text string) error {
	if strings.HasPrefix(text, "$"+argon2id+"$") {
		_, err := parsePHC(text)
		return err
	}
	_, err := parseForeign(text)
	if errors.Is(err, ErrUnsupported) {
		names := []string{"Argon2id"}
		for _, f := range foreign {
			if f.name != "" {
				names = append(names, f.name)
			}
		}
		return fmt.Errorf("%w; accepted are %s", err, strings.Join(names, ", "))
	}
	return err
}

func parseForeign(text string) (matcher, error) {
	if len(text) > maxForeign {
		return nil, fmt.Errorf("the hash has %d bytes; %d are allowed", len(text), maxForeign)
	}
	for _, f := range foreign {
		if strings.HasPrefix(text, f.prefix) {
			return f.parse(text)
		}
	}
	return nil, ErrUnsupported
}

// same compares in constant time.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// number reads a plain decimal number, without sign and leading zeros, of at most most.
func number(text string, most uint64) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err == nil && n <= most && strconv.FormatUint(n, 10) == text
}

// decode reads base64 of the standard alphabet, or with . for + as passlib writes it, with padding or without.
// It gives at least least and at most maxForeignPart bytes.
func decode(text string, least int) ([]byte, bool) {
	text = strings.TrimRight(strings.ReplaceAll(text, ".", "+"), "=")
	raw, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return raw, err == nil && len(raw) >= least && len(raw) <= maxForeignPart && !strings.ContainsAny(text, "\r\n")
}

// settings reads name=value pairs: exactly these names, in this order.
func settings(text string, names ...string) ([]string, bool) {
	parts := strings.Split(text, ",")
	if len(parts) != len(names) {
		return nil, false
	}
	for i, name := range names {
		value, found := strings.CutPrefix(parts[i], name+"=")
		if !found {
			return nil, false
		}
		parts[i] = value
	}
	return parts, true
}

func parseArgon2i(text string) (matcher, error) {
	p, err := parsePHC(text)
	if err != nil {
		return nil, err
	}
	return func(password []byte) bool {
		tag := argon2.Key(password, p.salt, p.iterations, p.memory, p.parallelism, uint32(len(p.tag))) //nolint:gosec // at most maxSize
		return same(tag, p.tag)
	}, nil
}

var errBcrypt = errors.New("malformed bcrypt string; it reads $2b$12$ and 53 characters of ./A-Za-z0-9")

// parseBcrypt reads $2b$12$ and 53 characters: salt and tag. The variants 2a, 2b and 2y differ in bugs that no
// implementation has any more. 2x keeps such a bug and is not read.
func parseBcrypt(text string) (matcher, error) {
	if len(text) != 60 || text[6] != '$' || text[4] < '0' || text[4] > '9' || text[5] < '0' || text[5] > '9' {
		return nil, errBcrypt
	}
	if strings.Trim(text[7:], "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, errBcrypt
	}
	if cost := int(text[4]-'0')*10 + int(text[5]-'0'); cost < minBcryptCost || cost > maxBcryptCost {
		return nil, fmt.Errorf("bcrypt cost %d; %d to %d are allowed", cost, minBcryptCost, maxBcryptCost)
	}
	return func(password []byte) bool {
		// Of a longer password bcrypt would judge the beginning alone, of one with a NUL many programs did. It is judged all
		// the same, so that the refusal takes as long as any other.
		whole := len(password) <= maxBcryptInput && !slices.Contains(password, 0)
		return bcrypt.CompareHashAndPassword([]byte(text), password[:min(len(password), maxBcryptInput)]) == nil && whole
	}, nil
}

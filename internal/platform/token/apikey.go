package token

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"strings"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// An API key reads ums_ENVIRONMENT_PUBLICID_SECRETCHECK: a public id of 22 and a secret of 43 uniformly random base62
// characters (131 and 256 bits), then the CRC-32/IEEE of everything before it as six base62 digits. The prefix lets
// scanners find leaked keys; the checksum lets them, and us, tell a key from noise without a database.
const (
	base62      = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	livePrefix  = "ums_live_"
	testPrefix  = "ums_test_"
	prefixSize  = len(livePrefix)
	publicSize  = 22
	secretSize  = 43
	checkSize   = 6
	keySecretAt = prefixSize + publicSize + 1
	checkAt     = keySecretAt + secretSize
	apiKeySize  = checkAt + checkSize
)

// Environment is what a key is made for.
type Environment string

// The environments of API keys.
const (
	Live Environment = "live"
	Test Environment = "test"
)

// APIKey is a new key. Text is shown once and never stored.
type APIKey struct {
	Text     secret.Text
	PublicID string   // finds the row
	Hash     [32]byte // SHA-256 of the secret part: what is stored
	Last4    string   // the last four characters of the whole key, to recognise it in a list
}

// ParsedAPIKey is a well-formed key. The caller finds the row by PublicID and compares Hash in constant time.
type ParsedAPIKey struct {
	Environment Environment
	PublicID    string
	Hash        [32]byte
}

// NewAPIKey makes a key for an environment.
func NewAPIKey(environment Environment) APIKey {
	public, private := randomBase62(publicSize), randomBase62(secretSize)
	text := "ums_" + string(environment) + "_" + public + "_" + private
	text += checksum(text)
	return APIKey{
		Text: secret.New(text), PublicID: public, Hash: sha256.Sum256([]byte(private)), Last4: text[len(text)-4:],
	}
}

// ParseAPIKey reads a key; false when it is not one that NewAPIKey could have made, which costs no look-up.
func ParseAPIKey(text string) (ParsedAPIKey, bool) {
	if len(text) != apiKeySize || !LooksLikeAPIKey(text) || text[keySecretAt-1] != '_' ||
		text[checkAt:] != checksum(text[:checkAt]) {
		return ParsedAPIKey{}, false
	}
	public, private := text[prefixSize:keySecretAt-1], text[keySecretAt:checkAt]
	if !isBase62(public) || !isBase62(private) {
		return ParsedAPIKey{}, false
	}
	environment := Live
	if strings.HasPrefix(text, testPrefix) {
		environment = Test
	}
	return ParsedAPIKey{Environment: environment, PublicID: public, Hash: sha256.Sum256([]byte(private))}, true
}

// LooksLikeAPIKey says whether a bearer credential is meant as an API key, good or not; others are access tokens.
func LooksLikeAPIKey(text string) bool {
	return strings.HasPrefix(text, livePrefix) || strings.HasPrefix(text, testPrefix)
}

// randomBase62 returns n uniformly random characters: bytes that would favour the first ones are thrown away.
func randomBase62(n int) string {
	const fair = 256 - 256%len(base62)
	out := make([]byte, 0, n)
	var raw [64]byte
	for {
		rand.Read(raw[:]) // never fails: it ends the program instead
		for _, b := range raw {
			if int(b) >= fair {
				continue
			}
			if out = append(out, base62[int(b)%len(base62)]); len(out) == n {
				return string(out)
			}
		}
	}
}

func isBase62(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// checksum returns the CRC-32/IEEE of text in base62, most significant digit first, zero-padded to six.
func checksum(text string) string {
	var out [checkSize]byte
	sum := crc32.ChecksumIEEE([]byte(text))
	for i := checkSize - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out[:])
}

package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // of hashes that other programs made
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// digest is a hash function of PBKDF2, with how many iterations it does in about a second, over all blocks.
type digest struct {
	new  func() hash.Hash
	size int
	work int
}

var (
	pbkdf2SHA1   = digest{sha1.New, sha1.Size, 6_000_000}
	pbkdf2SHA256 = digest{sha256.New, sha256.Size, 6_000_000}
	pbkdf2SHA512 = digest{sha512.New, sha512.Size, 2_500_000}
)

// The names by which Django, passlib and PHC strings call them; $pbkdf2$ is passlib's for SHA-1.
var digests = map[string]digest{
	"pbkdf2": pbkdf2SHA1, "pbkdf2-sha1": pbkdf2SHA1, "pbkdf2-sha256": pbkdf2SHA256, "pbkdf2-sha512": pbkdf2SHA512,
	"pbkdf2_sha1": pbkdf2SHA1, "pbkdf2_sha256": pbkdf2SHA256, "pbkdf2_sha512": pbkdf2SHA512,
}

var errPBKDF2 = errors.New("malformed PBKDF2 string; it reads $pbkdf2-sha256$ITERATIONS$SALT$HASH, salt and hash in base64, " +
	"or pbkdf2_sha256$ITERATIONS$SALT$HASH with the salt as it is")

// parsePBKDF2 reads $pbkdf2-sha256$ITERATIONS$SALT$HASH, as passlib writes it and as Keycloak's fields are put together,
// and i=ITERATIONS or i=ITERATIONS,l=LENGTH in that place, as PHC strings have it.
func parsePBKDF2(text string) (matcher, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return nil, errPBKDF2
	}
	iterations, length := parts[2], ""
	if both, ok := settings(parts[2], "i", "l"); ok {
		iterations, length = both[0], both[1]
	} else if one, ok := settings(parts[2], "i"); ok {
		iterations = one[0]
	}
	salt, ok := decode(parts[3], minForeignSalt)
	tag, ok2 := decode(parts[4], minTag)
	if !ok || !ok2 || length != "" && length != fmt.Sprint(len(tag)) {
		return nil, errPBKDF2
	}
	return digests[parts[1]].matcher(iterations, salt, tag)
}

// parseDjangoPBKDF2 reads pbkdf2_sha256$ITERATIONS$SALT$HASH. The salt is a text.
func parseDjangoPBKDF2(text string) (matcher, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 4 || len(parts[2]) < minForeignSalt || len(parts[2]) > maxForeignPart {
		return nil, errPBKDF2
	}
	tag, ok := decode(parts[3], minTag)
	if !ok {
		return nil, errPBKDF2
	}
	return digests[parts[0]].matcher(parts[1], []byte(parts[2]), tag)
}

func (d digest) matcher(iterations string, salt, tag []byte) (matcher, error) {
	blocks := (len(tag) + d.size - 1) / d.size
	n, ok := number(iterations, uint64(d.work/blocks)) //nolint:gosec // positive
	if !ok || n < 1 {
		return nil, fmt.Errorf("PBKDF2 iterations; 1 to %d are allowed for a hash of %d bytes", d.work/blocks, len(tag))
	}
	return func(password []byte) bool {
		got, err := pbkdf2.Key(d.new, string(password), salt, n, len(tag))
		return err == nil && same(got, tag)
	}, nil
}

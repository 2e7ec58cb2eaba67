package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The schemes of Argon2 that are verified. Argon2d is not: it leaks by its memory accesses what it hashes.
const (
	argon2id = "argon2id"
	argon2i  = "argon2i" // of other programs; see foreign.go
)

// New hashes have a 16-byte salt and a 32-byte tag (RFC 9106, section 4). Stored ones are bounded, because whoever can
// write a row, by an import for instance, must not be able to occupy a slot for minutes or all memory: 256 MiB at most,
// and at most 1 GiB written over all passes, which is about a second.
const (
	saltSize       = 16
	tagSize        = 32
	minSalt        = 8
	minTag         = 16
	maxSize        = 64 // of salt and tag
	maxMemory      = 256 << 10
	maxIterations  = 16
	maxParallelism = 16
	maxWork        = 1 << 20 // KiB × passes
)

// ErrUnsupported says that a stored hash is of no scheme that this service verifies.
var ErrUnsupported = errors.New("unsupported password hash scheme")

var errMalformed = errors.New("malformed Argon2 string")

// params are the cost parameters of Argon2id; memory in KiB.
type params struct {
	memory      uint32
	iterations  uint32
	parallelism uint8
}

func (p params) check() error {
	switch {
	case p.iterations < 1 || p.iterations > maxIterations:
		return fmt.Errorf("%d iterations; 1 to %d are allowed", p.iterations, maxIterations)
	case p.parallelism < 1 || p.parallelism > maxParallelism:
		return fmt.Errorf("parallelism %d; 1 to %d are allowed", p.parallelism, maxParallelism)
	case p.memory < 8*uint32(p.parallelism) || p.memory > maxMemory: // the lower bound is RFC 9106's, section 3.1
		return fmt.Errorf("%d KiB of memory; %d to %d are allowed", p.memory, 8*uint32(p.parallelism), maxMemory)
	case uint64(p.memory)*uint64(p.iterations) > maxWork:
		return fmt.Errorf("%d iterations over %d KiB; their product may be %d", p.iterations, p.memory, maxWork)
	}
	return nil
}

// phc is an Argon2 hash as the PHC string format writes it.
type phc struct {
	params
	dataIndependent bool // Argon2i
	salt, tag       []byte
}

func (p phc) scheme() string {
	if p.dataIndependent {
		return argon2i
	}
	return argon2id
}

// String returns $argon2id$v=19$m=…,t=…,p=…$salt$tag, base64 without padding.
func (p phc) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", p.scheme(), argon2.Version, p.memory, p.iterations, p.parallelism,
		enc.EncodeToString(p.salt), enc.EncodeToString(p.tag))
}

// parsePHC reads what String writes, within the bounds above, and no other spelling of it.
func parsePHC(text string) (phc, error) {
	parts := strings.Split(text, "$")
	if len(parts) < 2 || parts[0] != "" || parts[1] != argon2id && parts[1] != argon2i {
		return phc{}, ErrUnsupported
	}
	if len(parts) != 6 {
		return phc{}, errMalformed
	}
	p := phc{dataIndependent: parts[1] == argon2i}
	var numbers [3]uint64
	costs := strings.Split(parts[3], ",")
	if len(costs) != len(numbers) {
		return phc{}, errMalformed
	}
	for i, name := range []string{"m=", "t=", "p="} {
		digits, found := strings.CutPrefix(costs[i], name)
		n, err := strconv.ParseUint(digits, 10, 31)
		if !found || err != nil || i == 2 && n > maxParallelism {
			return phc{}, errMalformed
		}
		numbers[i] = n
	}
	p.memory, p.iterations, p.parallelism = uint32(numbers[0]), uint32(numbers[1]), uint8(numbers[2]) //nolint:gosec // bounded above
	if err := p.check(); err != nil {
		return phc{}, err
	}
	var err1, err2 error
	p.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	p.tag, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if errors.Join(err1, err2) != nil || len(p.salt) < minSalt || len(p.salt) > maxSize || len(p.tag) < minTag || len(p.tag) > maxSize {
		return phc{}, errMalformed
	}
	if p.String() != text { // version, leading zeros, trailing bits and line ends in base64
		return phc{}, errMalformed
	}
	return p, nil
}

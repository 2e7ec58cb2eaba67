package mfa

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// RecoveryCodes is how many recovery codes an account gets at a time.
const RecoveryCodes = 10

const (
	recoverySize   = 15                                 // bytes: 120 bits, 24 characters of base32 without a rest
	recoveryLength = recoverySize * 8 / 5               //
	recoveryGroup  = 4                                  // characters between dashes
	longestTyped   = 4 * recoveryLength                 // of what is looked at
	crockford      = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // without what people mistake: I, L, O and U
)

var recoveryEncoding = base32.NewEncoding(crockford).WithPadding(base32.NoPadding)

// newRecoveryCode returns a code as people see it, six groups of four characters, and what is stored of it.
func newRecoveryCode() (secret.Text, []byte) {
	var raw [recoverySize]byte
	rand.Read(raw[:]) // never fails: it ends the program instead
	hash := sha256.Sum256(raw[:])
	return secret.New(formatRecovery(raw)), hash[:]
}

func formatRecovery(raw [recoverySize]byte) string {
	plain := recoveryEncoding.EncodeToString(raw[:])
	groups := make([]string, 0, recoveryLength/recoveryGroup)
	for i := 0; i < len(plain); i += recoveryGroup {
		groups = append(groups, plain[i:i+recoveryGroup])
	}
	return strings.Join(groups, "-")
}

// parseRecovery reads a code as somebody typed it: in any case, with or without dashes and spaces, O for 0, I and L for 1.
func parseRecovery(typed string) (raw [recoverySize]byte, ok bool) {
	if len(typed) > longestTyped {
		return raw, false
	}
	plain := strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == ' ' || r == '\t':
			return -1
		case r == 'o' || r == 'O':
			return '0'
		case r == 'i' || r == 'I' || r == 'l' || r == 'L':
			return '1'
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		}
		return r
	}, typed)
	if len(plain) != recoveryLength || strings.ContainsAny(plain, "\r\n") { // the decoder skips those
		return raw, false
	}
	decoded, err := recoveryEncoding.DecodeString(plain)
	if err != nil || len(decoded) != recoverySize {
		return raw, false
	}
	return [recoverySize]byte(decoded), true
}

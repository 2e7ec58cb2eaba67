package user

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// The longest address that a mail server must take, and its local part; RFC 5321, section 4.5.3.1.
const (
	maxEmail = 254
	maxLocal = 64
)

// domains checks and encodes without mapping: a name that only becomes valid by being changed (full-width letters,
// ligatures) is somebody else's name in disguise, and refused.
var domains = idna.New(idna.ValidateLabels(true), idna.ValidateForRegistration(), idna.BidiRule(),
	idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// errEmail is what every unacceptable address gets.
var errEmail = fault.InvalidField("/email", "invalid_email",
	"Give one plain address such as name@example.org: no quotes, no display name, no letters outside ASCII before the @.")

// ParseEmail reads a mail address. It returns the address that mail goes to, with its domain in lower-case A-labels, and
// its norm: the identity, all in lower case. No two spellings fold beyond that: plus parts and dots are the owner's.
// It validates before it normalises; what it refuses is fault.ErrValidation at /email.
func ParseEmail(text string) (email, norm string, err error) {
	if len(text) > 4*maxEmail || !utf8.ValidString(text) {
		return "", "", errEmail
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return "", "", errEmail
	}
	local, domain := text[:at], text[at+1:]
	if !dotAtom(local) || len(local) > maxLocal {
		return "", "", errEmail
	}
	domain, ok := aLabels(domain)
	if !ok || len(local)+1+len(domain) > maxEmail {
		return "", "", errEmail
	}
	email = local + "@" + domain
	return email, strings.ToLower(email), nil
}

// dotAtom says whether s is a dot-atom of ASCII letters, digits and RFC 5322's other atom characters.
func dotAtom(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", c) < 0 {
			return false
		}
	}
	return true
}

func aLabels(domain string) (string, bool) {
	lower := strings.Map(func(r rune) rune {
		l := unicode.ToLower(r)
		if r >= utf8.RuneSelf && l < utf8.RuneSelf {
			return -1 // the Kelvin sign and its like are not the ASCII letters that they become
		}
		return l
	}, domain)
	if utf8.RuneCountInString(lower) != utf8.RuneCountInString(domain) {
		return "", false
	}
	ascii, err := domains.ToASCII(lower)
	if err != nil {
		return "", false
	}
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	// A name without a dot is a slip, but for the machine's own; a numeric last label is an IP address.
	if last == ascii && ascii != "localhost" || strings.Trim(last, "0123456789") == "" {
		return "", false
	}
	return ascii, true
}

package password

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/user-management-service/ums/internal/platform/secret"
)

// MaxLength is the longest password, in code points.
const MaxLength = 256

const (
	minMinLength = 8 // NIST SP 800-63B-4, section 3.1.1.1, with a second factor; 15 is its figure without one
	maxMinLength = 64
	maxWords     = 64 // of an account's context; names and addresses have fewer
)

// Problem is one reason why a password is refused: a stable code and a sentence that says what to do. It holds no part
// of the password.
type Problem struct{ Code, Detail string }

// Policy judges new passwords by length and by how easily they are guessed. There are no composition rules.
type Policy struct{ min int }

// NewPolicy returns the configured policy.
func NewPolicy(cfg Config) Policy { return Policy{min: cfg.MinLength} }

// MinLength returns the shortest password, in code points.
func (p Policy) MinLength() int { return p.min }

// Check returns what is wrong with a password, or nothing. Length counts code points after NFC. Context is what an
// attacker knows of this account: product name, e-mail address, display name. Codes: too_short, too_long,
// invalid_characters (control characters, bytes that are not UTF-8), too_common (on a list of common passwords),
// contains_context and too_predictable.
func (p Policy) Check(password secret.Text, context ...string) []Problem {
	text := password.Reveal()
	tooLong := []Problem{{"too_long", fmt.Sprintf("Use at most %d characters.", MaxLength)}}
	if len(text) > 16*MaxLength { // no need to normalise a book: no composition shrinks that much
		return tooLong
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return []Problem{{"invalid_characters", "Use letters, digits, symbols, blanks or emoji; no control characters."}}
	}
	text = norm.NFC.String(text)
	switch n := utf8.RuneCountInString(text); {
	case n > MaxLength:
		return tooLong
	case n < p.min:
		return []Problem{{"too_short", fmt.Sprintf("Use at least %d characters; several unrelated words are good.", p.min)}}
	}
	g := newGuess(text)
	if g.common() {
		return []Problem{{"too_common", "This password is on lists of common passwords; choose another one."}}
	}
	if g.points(nil) < enough {
		return []Problem{{"too_predictable", "Repeats, sequences and common words are guessed first; add unrelated words."}}
	}
	if known := contextWords(context); g.points(known) < enough {
		return []Problem{{"contains_context", "It is little more than your name, your address or the product's name; add unrelated words."}}
	}
	return nil
}

// contextWords returns the words of at least three characters in what is known of an account, each text as a whole, with
// and without its blanks, and what stands before and after an @. They are at most maxWords.
func contextWords(context []string) (words [][]rune) {
	for _, text := range context {
		text = strings.ToLower(norm.NFC.String(text))
		whole := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return -1
			}
			return r
		}, text)
		parts := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		local, domain, _ := strings.Cut(text, "@")
		for _, w := range append(parts, text, whole, local, domain) {
			if r := []rune(w); len(r) >= 3 && len(r) <= MaxLength && len(words) < maxWords {
				words = append(words, r)
			}
		}
	}
	return words
}

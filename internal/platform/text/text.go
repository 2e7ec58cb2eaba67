// Package text says what a string field may hold: no control characters, nothing that PostgreSQL or a mail header
// chokes on, bounded lengths in code points.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// Line checks a text of one line: 1 to most code points, not blank, no control character or line break.
func Line(v *fault.Validation, pointer, s string, most int) {
	check(v, pointer, s, most, false)
}

// Block checks a text of several lines: like Line, with line feeds and tabs allowed.
func Block(v *fault.Validation, pointer, s string, most int) {
	check(v, pointer, s, most, true)
}

func check(v *fault.Validation, pointer, s string, most int, block bool) {
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return Forbidden(r, block) }):
		detail := "Control characters and line breaks are not allowed."
		if block {
			detail = "Control characters other than line feed and tab are not allowed."
		}
		v.Add(pointer, "control_character", detail)
	case strings.TrimSpace(s) == "":
		v.Add(pointer, "too_short", "Give at least one visible character, or null.")
	case utf8.RuneCountInString(s) > most:
		v.Add(pointer, "too_long", fmt.Sprintf("Give at most %d characters.", most))
	}
}

// Forbidden says whether no text may hold r: control characters, line and paragraph separators, and the code points
// that Unicode keeps for internal use. A block may hold line feeds and tabs.
func Forbidden(r rune, block bool) bool {
	if block && (r == '\n' || r == '\t') {
		return false
	}
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		r&0xFFFE == 0xFFFE || (r >= 0xFDD0 && r <= 0xFDEF)
}

package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// language is one that every template exists in.
type language string

// Languages are the languages of the templates; the first is the fallback.
var languages = []language{"en", "de"}

// languageOf picks the language of a BCP 47 tag: de-AT and de_CH are de, what no template speaks is English.
func languageOf(locale string) language {
	primary, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(locale), "_", "-"), "-")
	for _, l := range languages {
		if string(l) == primary {
			return l
		}
	}
	return languages[0]
}

var units = map[language]map[time.Duration][2]string{
	"en": {time.Minute: {"minute", "minutes"}, time.Hour: {"hour", "hours"}, 24 * time.Hour: {"day", "days"}},
	"de": {time.Minute: {"Minute", "Minuten"}, time.Hour: {"Stunde", "Stunden"}, 24 * time.Hour: {"Tag", "Tage"}},
}

// duration words d in the largest unit that fits it whole, rounded down to minutes: "24 hours", "7 days".
func (l language) duration(d time.Duration) string {
	unit := time.Minute
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		unit = 24 * time.Hour
	case d >= time.Hour && d%time.Hour == 0:
		unit = time.Hour
	}
	n := int(d / unit)
	if n == 1 {
		return "1 " + units[l][unit][0]
	}
	return fmt.Sprint(n, " ", units[l][unit][1])
}

// shown bounds what a mail shows of a name, in code points.
const shown = 64

// harmless makes text that a person chose fit for a mail's body: one line of at most 64 characters, without invisible
// and direction-changing characters (a name must not reverse the sentence around it), and without what mail programs
// turn into links: a dot inside a word becomes a one dot leader (U+2024), a colon before slashes is dropped.
// Escaping for HTML is html/template's.
func harmless(text string) string {
	var b strings.Builder
	n := 0
	runes := []rune(strings.Join(strings.Fields(strings.Map(visible, text)), " "))
	for i, r := range runes {
		if n++; n > shown {
			b.WriteRune('…')
			break
		}
		next := rune(' ')
		if i+1 < len(runes) {
			next = runes[i+1]
		}
		switch {
		case r == '.' && next != ' ':
			b.WriteRune('\u2024')
		case r == ':' && (next == '/' || next == '\\'):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// visible drops control and format characters (category Cf holds the bidi overrides and isolates, zero-width space and
// byte order mark) and private ones; any white space becomes a space. The joiners stay, since scripts and emoji need them.
func visible(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case r == '\u200c' || r == '\u200d':
		return r
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp), r == unicode.ReplacementChar:
		return -1
	}
	return r
}

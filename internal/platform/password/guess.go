package password

import (
	_ "embed" // the list of common passwords
	"slices"
	"strings"
	"unicode"
)

// A password is worth as many points as it has pieces that a guesser must get right. A common word, plain or in
// "l33t", is worth two; a sequence, a keyboard walk, a year, a repetition of what came before and a word that is known
// of the account are worth one, however long; any other character is worth one. What can be put together from fewer
// than `enough` points falls to the first rules that guessing programs try: Password1234!, sunshine2024!!, qwertyuiop12.
// Four common words, or eight characters without a pattern, pass.
const (
	enough     = 6
	wordPoints = 2
	minWord    = 4
	minRun     = 3
)

// common is the list of common passwords: lower case, sorted by byte, one a line. It stays in the program's text, so it
// costs no start-up time and only the memory of the pages that are read.
//
//go:embed data/common.txt
var common string

// keyboard holds rows and columns of QWERTY, QWERTZ and AZERTY. Line ends keep them apart: no password has one.
const keyboard = `1234567890
!@#$%^&*()
!"§$%&/()=
qwertyuiop
qwertzuiop
azertyuiop
asdfghjkl
qsdfghjklm
zxcvbnm
yxcvbnm
wxcvbn
qazwsxedcrfvtgbyhnujmikolp
1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p
zaq1xsw2cde3vfr4bgt5nhy6mju7
zaqxswcdevfrbgtnhymju
1q2w3e4r5t6y7u8i9o0p
q1w2e3r4t5y6u7i8o9p0
qweasdzxc
147258369
741852963`

// guess is a password as a guessing program sees it: in lower case, and with the usual substitutions undone.
type guess struct {
	views [][]rune // all of the same length, at most MaxLength; the first is without substitutions
}

func newGuess(text string) guess {
	plain := []rune(strings.Map(unicode.ToLower, text))
	g := guess{views: [][]rune{plain}}
	for _, one := range []rune{'i', 'l'} { // 1 and ! stand for both
		view := make([]rune, len(plain))
		for i, r := range plain {
			view[i] = plainLetter(r, one)
		}
		g.views = append(g.views, view)
	}
	return g
}

func plainLetter(r, one rune) rune {
	switch r {
	case '0':
		return 'o'
	case '1', '!', '|':
		return one
	case '3', '€':
		return 'e'
	case '4', '@':
		return 'a'
	case '5', '$':
		return 's'
	case '7', '+':
		return 't'
	case '8':
		return 'b'
	case '9':
		return 'g'
	}
	return r
}

// common says whether the password as a whole is a common one.
func (g guess) common() bool {
	return slices.ContainsFunc(g.views, func(view []rune) bool {
		exact, _ := search(view)
		return exact
	})
}

// points returns the fewest points from which the password can be put together, when the words in known are at hand;
// where that is `enough` or more, any such number.
func (g guess) points(known [][]rune) int {
	plain := g.views[0]
	best := make([]int, len(plain)+1) // best[i] is the price of the first i characters
	for i := range best {
		best[i] = i
	}
	repeated := repeats(plain)
	for at := range plain {
		if best[at] >= enough {
			continue
		}
		piece := func(length, price int) { best[at+length] = min(best[at+length], best[at]+price) }
		piece(1, 1)
		pattern := max(repeated[at], patternAt(plain[at:]))
		for length := minRun; length <= pattern; length++ {
			piece(length, 1)
		}
		if yearAt(plain[at:]) {
			piece(4, 1)
		}
		for _, view := range g.views {
			rest := view[at:]
			for _, word := range known {
				if len(word) <= len(rest) && slices.Equal(word, rest[:len(word)]) {
					piece(len(word), 1)
				}
			}
			for length := minWord; length <= len(rest); length++ {
				exact, prefix := search(rest[:length])
				if exact {
					piece(length, wordPoints)
				}
				if !prefix {
					break
				}
			}
		}
	}
	return best[len(plain)]
}

// repeats returns, for each place of text, how many characters from there on also stand somewhere before.
func repeats(text []rune) []int {
	longest := make([]int, len(text))
	same := make([]int, len(text)+1) // same[j] is how long text[i:] and text[j:] agree; row i is made from row i+1
	for i := len(text) - 1; i >= 0; i-- {
		for j := range i {
			if text[i] == text[j] {
				same[j] = same[j+1] + 1
			} else {
				same[j] = 0
			}
			longest[i] = max(longest[i], same[j])
		}
	}
	return longest
}

// patternAt returns the length of the longest sequence or keyboard walk that text begins with.
func patternAt(text []rune) int {
	longest := 0
	for _, step := range []rune{1, -1} {
		n := 1
		for n < len(text) && text[n] == text[n-1]+step {
			n++
		}
		longest = max(longest, n)
	}
	for n := max(longest+1, minRun); n <= len(text) && onKeyboard(text[:n]); n++ {
		longest = n
	}
	return longest
}

func onKeyboard(keys []rune) bool {
	back := slices.Clone(keys)
	slices.Reverse(back)
	return strings.Contains(keyboard, string(keys)) || strings.Contains(keyboard, string(back))
}

func yearAt(text []rune) bool {
	if len(text) < 4 || text[0] != '1' && text[0] != '2' || text[0] == '1' && text[1] != '9' || text[0] == '2' && text[1] != '0' {
		return false
	}
	return unicode.IsDigit(text[2]) && unicode.IsDigit(text[3])
}

// search looks for word in the list: exact says that it is there, prefix that a longer entry begins with it.
func search(word []rune) (exact, prefix bool) {
	low, high := 0, len(common) // the starts of the lines in between are still possible
	for low < high {
		start := strings.LastIndexByte(common[:low+(high-low)/2], '\n') + 1
		end := start + strings.IndexByte(common[start:], '\n')
		if compare(common[start:end], word) < 0 {
			low = end + 1
		} else {
			high = start
		}
	}
	// low is the first line that is not less than word; an entry comes before its extensions.
	line, rest, _ := strings.Cut(common[low:], "\n")
	if compare(line, word) != 0 {
		return false, begins(line, word)
	}
	next, _, _ := strings.Cut(rest, "\n")
	return true, begins(next, word)
}

// compare orders a line of the list, which is ASCII, and a word as strings.Compare orders their bytes.
func compare(line string, word []rune) int {
	for i := range min(len(line), len(word)) {
		if c := rune(line[i]) - word[i]; c != 0 {
			return int(c)
		}
	}
	return len(line) - len(word)
}

func begins(line string, word []rune) bool {
	return len(line) > len(word) && compare(line[:len(word)], word) == 0
}

package password

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/secret"
)

func codes(p Policy, password string, context ...string) (out []string) {
	for _, problem := range p.Check(secret.New(password), context...) {
		out = append(out, problem.Code)
	}
	return out
}

// varied returns n code points without a pattern.
func varied(n int) string {
	const alphabet = "kq7Zt!mW x2Rb#Lp9"
	var b strings.Builder
	state := uint32(2463534242)
	for range n {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		b.WriteByte(alphabet[state%uint32(len(alphabet))])
	}
	return b.String()
}

func TestPWD03_length(t *testing.T) {
	t.Parallel()
	p := NewPolicy(cheap)
	require.Equal(t, 12, p.MinLength())
	for n, want := range map[int][]string{
		0: {"too_short"}, 7: {"too_short"}, 11: {"too_short"}, 12: nil, 64: nil, 100: nil, 256: nil, 257: {"too_long"}, 1 << 20: {"too_long"},
	} {
		require.Equal(t, want, codes(p, varied(n)), n)
	}
	require.Equal(t, []string{"too_short"}, codes(p, strings.Repeat("e\u0301", 11)), "NFC makes one code point of two")
	require.Nil(t, codes(p, "ein"+strings.Repeat("o\u0308", 244)+"paar Wale"), "256 once composed, more before; bytes do not count")
	require.Equal(t, []string{"too_long"}, codes(p, strings.Repeat("🔑", 257)))
	require.Nil(t, codes(NewPolicy(Config{MinLength: 8}), "kq7Ztm!W"))
}

func TestPWD04_commonAndPredictable(t *testing.T) {
	t.Parallel()
	p := NewPolicy(cheap)
	known := []string{"Acme Portal", "greta.holmqvist@fjordbank.example", "Greta Holmqvist-Øygard"}
	for password, want := range map[string]string{
		"123456789012":     "too_common",
		"qwertyuiop12":     "too_common",
		"passwordpassword": "too_common",
		"1qaz2wsx3edc":     "too_common",
		"MotherFucker":     "too_common",
		"M0therfuck3r":     "too_common",
		"aaaaaaaaaaaaaaa":  "too_common",
		"ééééééééééééééé":  "too_predictable",
		"🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑": "too_predictable",
		"abcabcabcabcabc":          "too_predictable",
		"Password1234!":            "too_predictable",
		"P@$$w0rd2026!!":           "too_predictable",
		"sunshine2024!!":           "too_predictable",
		"Hunter2hunter2":           "too_predictable",
		"zyxwvutsrqponmlkji":       "too_predictable",
		"qwertz yxcvbn asdfgh":     "too_predictable",
		"greta.holmqvist":          "contains_context",
		"Holmqvist1987!":           "contains_context",
		"fjordbank-greta":          "contains_context",
		"ACMEPORTAL2026":           "contains_context",
		"h0lmqv1st-øygard":         "contains_context",
		"correct horse battery":    "",
		"all lower case and plain": "",
		"fünf 🦉 im wald":           "",
		"x7Kp9qLm2vRt":             "",
		"greta likes her tea hot":  "",
		"correcthorsebatterystaple with more words behind it": "",
	} {
		var wanted []string
		if want != "" {
			wanted = []string{want}
		}
		require.Equal(t, wanted, codes(p, password, known...), password)
	}
	require.Nil(t, codes(p, "Holmqvist-Oygard"), "only this account's context counts")
}

func TestPWD04_everyListedPasswordIsRefused(t *testing.T) {
	t.Parallel()
	p := NewPolicy(Config{MinLength: minMinLength})
	lines := strings.Split(strings.TrimSuffix(common, "\n"), "\n")
	require.True(t, slices.IsSorted(lines), "the search needs order")
	form, long := regexp.MustCompile(`^[!-@\[-~]{4,32}$`), 0
	for i, line := range lines {
		exact, prefix := search([]rune(line))
		if !exact || prefix != (i+1 < len(lines) && strings.HasPrefix(lines[i+1], line)) || !form.MatchString(line) {
			t.Errorf("line %d: %q: exact %v, prefix %v", i+1, line, exact, prefix)
		}
		if len(line) >= 12 {
			long++
		}
		if len(line) >= minMinLength && i%50 == 0 {
			require.Equal(t, []string{"too_common"}, codes(p, strings.ToUpper(line)), line)
		}
	}
	require.Greater(t, long, 3000, "ASVS 6.2.4: the 3000 commonest that the default length lets pass")
}

func TestSearch_agreesWithALinearLook(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSuffix(common, "\n"), "\n")
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom(lines).Draw(t, "line")
		word = word[:rapid.IntRange(1, len(word)).Draw(t, "cut")] + rapid.SampledFrom([]string{"", "", "a", "é", "~", "!"}).Draw(t, "more")
		exact, prefix := search([]rune(word))
		require.Equal(t, slices.Contains(lines, word), exact)
		require.Equal(t, slices.ContainsFunc(lines, func(l string) bool { return l != word && strings.HasPrefix(l, word) }), prefix)
	})
	for _, edge := range []string{"", "~~~~~~~~~~", "é", "\U0010ffff"} {
		exact, _ := search([]rune(edge))
		require.False(t, exact)
	}
}

func TestPolicy_refusesControlCharactersAndBytes(t *testing.T) {
	t.Parallel()
	p := NewPolicy(cheap)
	for _, bad := range []string{"\x00", "\t", "\n", "\x1b", "\x7f", "\u0085", "\xff", "\xed\xa0\x80"} {
		require.Equal(t, []string{"invalid_characters"}, codes(p, varied(20)+bad), "%q", bad)
	}
	require.Nil(t, codes(p, "familie 👩\u200d👩\u200d👧 am see"), "joined emoji are printable")
}

func TestPolicy_randomPasswordsPass(t *testing.T) {
	t.Parallel()
	p := NewPolicy(cheap)
	words := []string{"river", "copper", "lantern", "violin", "mustard", "glacier", "pocket", "thunder", "walnut", "ribbon", "castle", "engine"}
	rapid.Check(t, func(t *rapid.T) {
		picked := rapid.SliceOfNDistinct(rapid.SampledFrom(words), 4, 4, func(s string) string { return s }).Draw(t, "words")
		require.Nil(t, codes(p, strings.Join(picked, rapid.SampledFrom([]string{" ", "-", ""}).Draw(t, "between"))))
		chars := rapid.SliceOfNDistinct(rapid.SampledFrom([]rune("bdgkmpvxzBDGKMPVXZ#%&;:_~^")), 16, 16, func(r rune) rune { return r }).Draw(t, "chars")
		require.Nil(t, codes(p, string(chars)))
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("Password1234!", "greta@example.org")
	f.Add(strings.Repeat("ab", 40), "")
	f.Fuzz(func(t *testing.T, password, context string) {
		p := NewPolicy(cheap)
		problems := p.Check(secret.New(password), context)
		if len(problems) == 0 && (!utf8.ValidString(password) || len(password) < 12) {
			t.Fatalf("accepted %q", password)
		}
		for _, problem := range problems {
			if problem.Code == "" || problem.Detail == "" {
				t.Fatalf("an empty reason for %q", password)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	p := NewPolicy(cheap)
	for name, password := range map[string]string{
		"passphrase": "correct horse battery staple", "256 digits": strings.Repeat("1234512345123456", 16), "256 letters": varied(256),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p.Check(secret.New(password), "Acme Portal", "greta.holmqvist@fjordbank.example", "Greta Holmqvist")
			}
		})
	}
}

package token

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func scanAll(t require.TestingT, r io.Reader) (found []FoundAPIKey) {
	require.NoError(t, ScanAPIKeys(r, func(f FoundAPIKey) { found = append(found, f) }))
	return found
}

// Every key in a text is found once, on its line, wherever the reader's pieces end.
func TestScanFindsEachKeyOnItsLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var want []FoundAPIKey
		line := 1
		for range rapid.IntRange(0, 6).Draw(t, "parts") {
			filler := rapid.SampledFrom([]string{"", "x", "\n", "ums_", "ums_live_", "\r\n", strings.Repeat("y", 40_000), strings.Repeat("z\n", 30_000)}).Draw(t, "filler")
			text.WriteString(filler)
			line += strings.Count(filler, "\n")
			environment := rapid.SampledFrom([]Environment{Live, Test}).Draw(t, "environment")
			key := NewAPIKey(environment).Text.Reveal()
			if rapid.Bool().Draw(t, "broken") {
				key = key[:40] + flipped(key[40]) + key[41:]
			} else {
				last4 := key[len(key)-4:]
				want = append(want, FoundAPIKey{line, environment, key[:13] + "…" + last4, last4})
			}
			text.WriteString(key)
		}
		require.Equal(t, want, scanAll(t, strings.NewReader(text.String())))
		require.Equal(t, want, scanAll(t, iotest.HalfReader(strings.NewReader(text.String()))))
	})
}

func flipped(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

func TestScanLeavesBinaryFilesAlone(t *testing.T) {
	t.Parallel()
	key := NewAPIKey(Live).Text.Reveal()
	require.Empty(t, scanAll(t, strings.NewReader("\x7fELF\x00"+key)))
	require.Len(t, scanAll(t, strings.NewReader(strings.Repeat(" ", sniffed)+"\x00"+key)), 1)
	require.Empty(t, scanAll(t, strings.NewReader("")))
	broken := errors.New("broken disk")
	require.ErrorIs(t, ScanAPIKeys(iotest.ErrReader(broken), nil), broken)
}

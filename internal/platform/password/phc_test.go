package password

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const goodPHC = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JV+9ZxztmHFTdb7J0WQsnj2V8bZaqyPptE"

func TestParsePHC_roundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := phc{params: params{parallelism: rapid.Uint8Range(1, maxParallelism).Draw(t, "p")}}
		p.iterations = rapid.Uint32Range(1, maxIterations).Draw(t, "t")
		p.memory = rapid.Uint32Range(8*uint32(p.parallelism), min(maxMemory, maxWork/p.iterations)).Draw(t, "m")
		p.salt = rapid.SliceOfN(rapid.Byte(), minSalt, maxSize).Draw(t, "salt")
		p.tag = rapid.SliceOfN(rapid.Byte(), minTag, maxSize).Draw(t, "tag")
		got, err := parsePHC(p.String())
		require.NoError(t, err)
		require.Equal(t, p, got)
	})
}

func TestParsePHC_refusesOtherSpellingsAndExcessiveCosts(t *testing.T) {
	t.Parallel()
	_, err := parsePHC(goodPHC)
	require.NoError(t, err)
	for _, change := range [][2]string{
		{"v=19", "v=16"},
		{"v=19$", ""},
		{"v=19", "v=019"},
		{"m=19456", "m=019456"},
		{"m=19456", "m=+19456"},
		{"m=19456", "m=4294986752"},
		{"m=19456,t=2", "t=2,m=19456"},
		{"m=19456", "m=7"},
		{"m=19456", "m=262145"},
		{"m=19456", "m=4194304"},
		{"t=2", "t=0"},
		{"t=2", "t=17"},
		{"m=19456,t=2", "m=262144,t=5"},
		{"p=1", "p=0"},
		{"p=1", "p=17"},
		{"p=1", "p=257"},
		{"p=1", "p=1,keyid=AA"},
		{"m=19456,t=2,p=1", "m=19456,t=2"},
		{"p=1", "p=-1"},
		{"m=19456", "m=0x4c00"},
		{"m=19456", ""},
		{"c29tZXNhbHRzb21lc2FsdA", ""},
		{"c29tZXNhbHRzb21lc2FsdA", "c29tZQ"},
		{"c2FsdA$", "c2FsdA==$"},
		{"c2FsdA$", "c2FsdB$"},
		{"c2FsdA$", "c2Fs\ndA$"},
		{"PptE", "PptF"},
		{"PptE", "PptE$"},
		{"PptE", "PptE\n"},
		{"JV+9", "JV-9"},
		{"K13EBUiG7JV+9ZxztmHFTdb7J0WQsnj2V8bZaqyPptE", "K13EBUiG"},
		{"K13E", strings.Repeat("K13E", 20)},
		{"$argon2id", "argon2id"},
	} {
		text := strings.Replace(goodPHC, change[0], change[1], 1)
		require.NotEqual(t, goodPHC, text, change)
		_, err := parsePHC(text)
		require.Error(t, err, text)
	}
	for _, other := range []string{"", "$", "$2b$12$abcdefghijklmnopqrstuv", "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$RV/wL4VdAuoGbwr3+U9msg", "$argon2idx$"} {
		_, err := parsePHC(other)
		require.ErrorIs(t, err, ErrUnsupported, other)
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(goodPHC)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePHC(text)
		if err == nil && (p.String() != text || p.check() != nil) {
			t.Fatalf("accepted %q", text)
		}
	})
}

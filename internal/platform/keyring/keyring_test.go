package keyring

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// testKey returns the base64 of 32 bytes that count up from seed.
func testKey(seed byte) string {
	raw := make([]byte, masterKeySize)
	for i := range raw {
		raw[i] = seed + byte(i)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func ring(t require.TestingT, seeds ...byte) *Ring {
	texts := make([]string, len(seeds))
	for i, s := range seeds {
		texts[i] = testKey(s)
	}
	r, err := Parse(strings.Join(texts, ","))
	require.NoError(t, err)
	return r
}

func TestParse_refusesWhatIsNoKeyAndNeverEchoesIt(t *testing.T) {
	t.Parallel()
	good := testKey(1)
	zero := base64.StdEncoding.EncodeToString(make([]byte, masterKeySize))
	for name, tc := range map[string]struct{ text, says string }{
		"empty":                 {"", "master key 1: is empty"},
		"empty after comma":     {good + ",", "master key 2: is empty"},
		"not base64":            {"correct horse battery", "master key 1: is not standard base64"},
		"no padding":            {strings.TrimRight(good, "="), "not standard base64"},
		"non-canonical last":    {good[:42] + "9=", "not standard base64"},
		"hexadecimal":           {strings.Repeat("0f", 32), "is 48 bytes long, not 32"},
		"too short":             {base64.StdEncoding.EncodeToString([]byte("short")), "is 5 bytes long"},
		"placeholder":           {zero, "placeholder"},
		"the same twice":        {good + "," + good, "master key 2: is the same as key 1"},
		"second one is garbage": {good + ",x", "master key 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(tc.text)
			require.ErrorContains(t, err, tc.says)
			for _, part := range strings.Split(tc.text, ",") {
				if len(part) > 1 {
					require.NotContains(t, err.Error(), part)
				}
			}
		})
	}
	_, err := Parse(" " + good + " ,\n" + testKey(9))
	require.NoError(t, err, "blanks around keys are the shell's business")
}

func TestSeal_roundTripsAndBindsEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := ring(t, 1)
		aad := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "aad")
		plain := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "plain")
		sealed := r.Seal("totp", aad, plain)
		require.Len(t, sealed, len(plain)+overhead)
		got, err := r.Open("totp", aad, sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))

		_, err = r.Open("mail", aad, sealed)
		require.ErrorIs(t, err, ErrOpen, "another purpose")
		_, err = r.Open("totp", append(bytes.Clone(aad), 0), sealed)
		require.ErrorIs(t, err, ErrOpen, "another row")
		flipped := bytes.Clone(sealed)
		flipped[rapid.IntRange(0, len(sealed)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, err = r.Open("totp", aad, flipped)
		require.ErrorIs(t, err, ErrOpen, "one bit")
		_, err = r.Open("totp", aad, sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")])
		require.ErrorIs(t, err, ErrOpen, "cut")
		require.NotEqual(t, sealed, r.Seal("totp", aad, plain), "fresh nonce")
	})
}

func TestRotation_oldValuesOpenUntilTheKeyIsDropped(t *testing.T) {
	t.Parallel()
	before, during, after := ring(t, 1), ring(t, 7, 1), ring(t, 7)
	sealed, mac := before.Seal("p", nil, []byte("x")), before.MAC("p", []byte("x"))

	got, err := during.Open("p", nil, sealed)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	require.True(t, during.CheckMAC("p", mac, []byte("x")))
	require.True(t, before.Current(sealed))
	require.False(t, during.Current(sealed), "to be rewritten")
	require.False(t, during.Current(nil))

	_, err = after.Open("p", nil, sealed)
	require.ErrorIs(t, err, ErrOpen)
	require.False(t, after.CheckMAC("p", mac, []byte("x")))

	resealed := during.Seal("p", nil, []byte("x"))
	_, err = after.Open("p", nil, resealed)
	require.NoError(t, err, "the first key encrypts")
	require.Equal(t, after.MAC("p"), during.MAC("p"), "the first key signs")
}

func TestMAC_isHMACOfLengthPrefixedParts(t *testing.T) {
	t.Parallel()
	r := ring(t, 1)
	h := hmac.New(sha256.New, r.keys[0].derive("mac/p"))
	h.Write([]byte("\x00\x00\x00\x00\x00\x00\x00\x02ab\x00\x00\x00\x00\x00\x00\x00\x01c"))
	mac := r.MAC("p", []byte("ab"), []byte("c"))
	require.Equal(t, h.Sum(nil), mac)
	require.True(t, r.CheckMAC("p", mac, []byte("ab"), []byte("c")))
	require.False(t, r.CheckMAC("p", mac, []byte("a"), []byte("bc")))
	require.False(t, r.CheckMAC("p", mac, []byte("ab"), []byte("c"), nil))
	require.False(t, r.CheckMAC("q", mac, []byte("ab"), []byte("c")))
	require.False(t, r.CheckMAC("p", mac[:31], []byte("ab"), []byte("c")))
	require.False(t, r.CheckMAC("p", nil))
	require.NotEqual(t, r.keys[0].derive("mac/p"), r.keys[0].derive("seal/p"), "purposes are separate per operation")
}

// The derivation is part of the stored format: another one would lose every secret in every database.
func TestDerivation_isPinned(t *testing.T) {
	t.Parallel()
	k := ring(t, 1).keys[0]
	require.Equal(t, "hZ4krPHzTaU", base64.RawStdEncoding.EncodeToString(k.id[:]))
	require.Equal(t, "R+t6clN9oQ4nhT/xuvGtFYvpvdOdOyU1HP7eujzIcW0", base64.RawStdEncoding.EncodeToString(k.derive("mac/p")))
}

func TestRing_servesConcurrentCallers(t *testing.T) {
	t.Parallel()
	r := ring(t, 1, 2)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			purpose := string(rune('a' + i%3))
			sealed := r.Seal(purpose, nil, []byte("x"))
			_, err := r.Open(purpose, nil, sealed)
			if err != nil || !r.CheckMAC(purpose, r.MAC(purpose)) {
				t.Error("a concurrent caller got another key")
			}
		})
	}
	wg.Wait()
}

func FuzzOpen(f *testing.F) {
	r := ring(f, 1)
	f.Add(r.Seal("p", nil, []byte("seed")))
	f.Add([]byte{sealVersion})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if plain, err := r.Open("q", nil, sealed); err == nil {
			t.Fatalf("forged %x", plain)
		}
	})
}

func BenchmarkCheckMAC(b *testing.B) {
	r := ring(b, 1)
	part := make([]byte, 57)
	mac := r.MAC("refresh", part)
	b.ReportAllocs()
	for b.Loop() {
		r.CheckMAC("refresh", mac, part)
	}
}

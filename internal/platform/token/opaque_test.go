package token

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/keyring"
)

func codec(t require.TestingT, masterKeys ...string) *RefreshCodec {
	var list []string
	for _, k := range masterKeys {
		list = append(list, base64.StdEncoding.EncodeToString([]byte(k)))
	}
	ring, err := keyring.Parse(strings.Join(list, ","))
	require.NoError(t, err)
	return NewRefreshCodec(ring)
}

const (
	keyA = "first key of thirty-two bytes !!"
	keyB = "other key of thirty-two bytes !!"
)

func drawRefresh(t *rapid.T) Refresh {
	raw := rapid.SliceOfN(rapid.Byte(), 48, 48).Draw(t, "id and secret")
	return Refresh{
		SessionID: uuid.UUID(raw[:16]), Secret: SessionSecret(raw[16:]),
		Counter: rapid.Int64Range(0, math.MaxInt64-1).Draw(t, "counter"),
	}
}

func TestRefresh_roundTripsAndNextIsDerived(t *testing.T) {
	t.Parallel()
	c := codec(t, keyA)
	rapid.Check(t, func(t *rapid.T) {
		want := drawRefresh(t)
		text := c.Mint(want.SessionID, want.Secret, want.Counter).Reveal()
		require.Len(t, text, 119)
		got, ok := c.Parse(text)
		require.True(t, ok)
		require.Equal(t, want, got)
		require.Equal(t, sha256.Sum256(want.Secret[:]), got.SecretHash())

		next := c.Next(got)
		require.Equal(t, next.Reveal(), c.Next(got).Reveal(), "whoever asks gets the same successor")
		child, ok := c.Parse(next.Reveal())
		require.True(t, ok)
		require.Equal(t, want.Counter+1, child.Counter)
		require.Equal(t, want.SessionID, child.SessionID)
		require.Equal(t, want.Secret, child.Secret)
	})
}

func TestRefresh_garbageIsRefusedByItsMAC(t *testing.T) {
	t.Parallel()
	c := codec(t, keyA)
	rapid.Check(t, func(t *rapid.T) {
		r := drawRefresh(t)
		text := c.Mint(r.SessionID, r.Secret, r.Counter).Reveal()
		changed := []byte(text)
		changed[rapid.IntRange(0, len(text)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, ok := c.Parse(string(changed))
		require.False(t, ok, "one bit, trailing bits of the last character included")
		_, ok = codec(t, keyB).Parse(text)
		require.False(t, ok, "a key that this service does not list")
	})
	text := c.Mint(uuid.New(), NewSessionSecret(), 1).Reveal()
	for _, bad := range []string{
		"", ".", text[:118], text + "A", text + "=", "\n" + text[1:], text[:117] + "\r\n", strings.Repeat("A", 119), strings.Repeat("é", 60)[:119],
	} {
		_, ok := c.Parse(bad)
		require.False(t, ok, bad)
	}
	for _, bad := range []string{strings.Repeat("\n", 119), text[:4] + strings.Repeat("\r", 115)} {
		_, ok := c.Parse(bad)
		require.False(t, ok, "line ends, which Go's decoder skips")
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[118])
	for low := 1; low < 4; low++ { // 89 bytes leave two bits in the last character: three other spellings
		_, ok := c.Parse(text[:118] + alphabet[last|low:last|low+1])
		require.False(t, ok, "trailing bits")
	}
	otherVersion, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	otherVersion[0]++
	otherVersion = append(otherVersion[:macAt], c.ring.MAC(refreshPurpose, otherVersion[:macAt])...)
	_, ok := c.Parse(base64.RawURLEncoding.EncodeToString(otherVersion))
	require.False(t, ok, "a version to come")
}

func TestRefresh_livesThroughARotationOfTheMasterKey(t *testing.T) {
	t.Parallel()
	before, during := codec(t, keyA), codec(t, keyB, keyA)
	id, s := uuid.New(), NewSessionSecret()
	r, ok := during.Parse(before.Mint(id, s, 3).Reveal())
	require.True(t, ok)
	next, ok := codec(t, keyB).Parse(during.Next(r).Reveal())
	require.True(t, ok, "the successor is under the new key")
	require.Equal(t, int64(4), next.Counter)
}

func TestSessionSecret_doesNotPrint(t *testing.T) {
	t.Parallel()
	s := NewSessionSecret()
	require.NotEqual(t, s, NewSessionSecret())
	r := Refresh{Secret: s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%x", "%q", "%s"} {
		require.Contains(t, fmt.Sprintf(verb, r), "[redacted]")
		require.Equal(t, "[redacted]", fmt.Sprintf(verb, s))
	}
}

func TestOneTime_hashesItsOwnShapeOnly(t *testing.T) {
	t.Parallel()
	text, hash := NewOneTime()
	require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, text.Reveal())
	again, ok := HashOneTime(text.Reveal())
	require.True(t, ok)
	require.Equal(t, hash, again)
	other, otherHash := NewOneTime()
	require.NotEqual(t, text, other)
	require.NotEqual(t, hash, otherHash)

	zero := strings.Repeat("A", 43)
	_, ok = HashOneTime(zero)
	require.True(t, ok)
	for _, bad := range []string{
		"", zero[:42], zero + "A", zero + "=", zero[:42] + "B", zero[:42] + "\n", "\r\n" + zero[:41], zero[:42] + "+", zero[:42] + "/", zero[:42] + "\x00",
	} {
		_, ok := HashOneTime(bad)
		require.False(t, ok, "%q", bad)
	}
}

func TestCode_isEightDigitsLeadingZeroesIncluded(t *testing.T) {
	t.Parallel()
	var first [10]int
	for range 2000 {
		code := NewCode().Reveal()
		require.Regexp(t, `^[0-9]{8}$`, code)
		first[code[0]-'0']++
	}
	for digit, n := range first { // 200 expected; fewer than 100 is 7.5 standard deviations away
		require.Greater(t, n, 100, "first digit %d", digit)
	}
}

func TestAPIKey_checksumVectors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{ // computed with another CRC implementation (zlib)
		"ums_live_AAAAAAAAAAAAAAAAAAAAAA_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb4fF6CR",
		"ums_test_0123456789abcdefghijAB_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ3NogEO",
		"ums_live_0000000000000000000004_00000000000000000000000000000000000000000000r6b8C",
	} {
		got, ok := ParseAPIKey(text)
		require.True(t, ok, text)
		require.Equal(t, text[4:8], string(got.Environment))
		require.Equal(t, text[9:31], got.PublicID)
		require.Equal(t, sha256.Sum256([]byte(text[32:75])), got.Hash)
	}
}

func TestAPIKey_roundTrips(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var counts [256]int
	for i := range 2000 {
		environment := []Environment{Live, Test}[i%2]
		k := NewAPIKey(environment)
		text := k.Text.Reveal()
		require.Regexp(t, `^ums_(live|test)_[0-9A-Za-z]{22}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}$`, text)
		require.True(t, LooksLikeAPIKey(text))
		require.Equal(t, text[77:], k.Last4)
		got, ok := ParseAPIKey(text)
		require.True(t, ok)
		require.Equal(t, ParsedAPIKey{Environment: environment, PublicID: k.PublicID, Hash: k.Hash}, got)
		require.False(t, seen[k.PublicID])
		seen[k.PublicID] = true
		for _, c := range []byte(text[9:31] + text[32:75]) {
			counts[c]++
		}
	}
	for _, c := range []byte(base62) { // 2097 expected of each; a plain modulo would give the first eight 25 % more
		require.InDelta(t, 130000.0/62, counts[c], 300, "character %c", c)
	}
}

func TestAPIKey_refusesEveryOtherText(t *testing.T) {
	t.Parallel()
	text := NewAPIKey(Live).Text.Reveal()
	withSum := func(s string) string { return s + checksum(s) }
	rapid.Check(t, func(t *rapid.T) {
		changed := []byte(text)
		changed[rapid.IntRange(0, len(text)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, ok := ParseAPIKey(string(changed))
		require.False(t, ok)
	})
	for _, bad := range []string{
		"", "ums_live_", text[:80], text + "0", " " + text[1:], strings.ToUpper(text), text[:75] + "zzzzzz",
		withSum("ums_prod_" + text[9:75]), withSum("UMS_live_" + text[9:75]), withSum(text[:31] + "-" + text[32:75]),
		withSum(text[:20] + "_" + text[21:75]), withSum(text[:40] + "\x00" + text[41:75]), withSum(text[:40] + "é" + text[42:75]),
	} {
		_, ok := ParseAPIKey(bad)
		require.False(t, ok, "%q", bad)
	}
	for text, looks := range map[string]bool{"ums_live_x": true, "ums_test_": true, "ums_prod_x": false, "eyJhbGciOi": false, "": false, "Ums_live_": false} {
		require.Equal(t, looks, LooksLikeAPIKey(text), text)
	}
}

func FuzzRefreshParse(f *testing.F) {
	c := codec(f, keyA)
	f.Add(c.Mint(uuid.Nil, SessionSecret{}, 0).Reveal())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if r, ok := c.Parse(text); ok && c.Mint(r.SessionID, r.Secret, r.Counter).Reveal() != text {
			t.Fatalf("two spellings of one token: %q", text)
		}
	})
}

func FuzzHashOneTime(f *testing.F) {
	f.Add(strings.Repeat("A", 43))
	f.Add("\n" + strings.Repeat("A", 42))
	f.Fuzz(func(t *testing.T, text string) {
		hash, ok := HashOneTime(text)
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if ok && (err != nil || sha256.Sum256(raw) != hash || base64.RawURLEncoding.EncodeToString(raw) != text) {
			t.Fatalf("accepted %q", text)
		}
	})
}

func FuzzParseAPIKey(f *testing.F) {
	f.Add(NewAPIKey(Live).Text.Reveal())
	f.Add("ums_test_")
	f.Fuzz(func(t *testing.T, text string) {
		if k, ok := ParseAPIKey(text); ok && (len(text) != apiKeySize || !isBase62(k.PublicID) || !LooksLikeAPIKey(text)) {
			t.Fatalf("accepted %q", text)
		}
	})
}

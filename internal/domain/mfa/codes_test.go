package mfa

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image/png"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The vectors of RFC 6238, appendix B, for SHA-1, in their last six digits.
func TestTOTPVectors(t *testing.T) {
	t.Parallel()
	for at, code := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		step, ok := match([]byte("12345678901234567890"), code, time.Unix(at, 0), 0)
		require.True(t, ok, at)
		require.Equal(t, at/30, step)
		_, ok = match([]byte("12345678901234567890"), " "+code[:3]+" "+code[3:], time.Unix(at, 0), 0)
		require.True(t, ok, "as people type it")
		_, ok = match([]byte("12345678901234567890"), code[:5], time.Unix(at, 0), 0)
		require.False(t, ok)
	}
}

// However the clock moves and whichever codes come: one is accepted only within a step of now and only when its step is
// newer than every one before it; so none is accepted twice (MFA-01).
func TestMFA01_StepsOnlyGrow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), secretSize, secretSize).Draw(t, "secret")
		now, last := time.Unix(1_700_000_000, 0), int64(0)
		used := map[int64]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "codes") {
			now = now.Add(time.Duration(rapid.IntRange(-45, 90).Draw(t, "seconds")) * time.Second)
			shown := now.Unix()/period + int64(rapid.IntRange(-3, 3).Draw(t, "step"))
			code := codeOf(raw, shown)
			step, ok := match(raw, code, now, last)
			if !ok {
				require.False(t, shown > last && shown >= now.Unix()/period-skew && shown <= now.Unix()/period+skew, "a good code was refused")
				continue
			}
			require.Greater(t, step, last)
			require.InDelta(t, now.Unix()/period, step, skew)
			require.Equal(t, codeOf(raw, step), code, "another step's code only where the two are alike")
			require.False(t, used[step], "accepted twice")
			used[step], last = true, step
		}
	})
}

// codeOf is RFC 4226, section 5.3, by itself.
func codeOf(raw []byte, step int64) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	h := hmac.New(sha1.New, raw)
	h.Write(counter[:])
	sum := h.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[offset:])&0x7fffffff)%1_000_000)
}

// An enrolment is the same secret in three forms, whatever the product is called.
func TestEnrolmentForms(t *testing.T) {
	t.Parallel()
	raw, e, err := newSecret("Ünion: & Söhne", "ada+x@example.org")
	require.NoError(t, err)
	require.Len(t, raw, 20)
	decoded, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(e.Secret.Reveal())
	require.NoError(t, err)
	require.Equal(t, raw, decoded)
	uri, err := url.Parse(e.URI.Reveal())
	require.NoError(t, err)
	require.Equal(t, "otpauth", uri.Scheme)
	require.Equal(t, "totp", uri.Host)
	require.Equal(t, "/Ünion & Söhne:ada+x@example.org", uri.Path)
	require.Equal(t, e.Secret.Reveal(), uri.Query().Get("secret"))
	require.Equal(t, "Ünion & Söhne", uri.Query().Get("issuer"))
	data, ok := strings.CutPrefix(e.QR.Reveal(), "data:image/png;base64,")
	require.True(t, ok)
	picture, err := base64.StdEncoding.DecodeString(data)
	require.NoError(t, err)
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	require.NoError(t, err)
	require.Equal(t, qrSize, config.Width)
	long := strings.Repeat("a", 64) + "@" + strings.Repeat("b", 180) + ".example"
	_, _, err = newSecret(strings.Repeat("Name ", 13), long)
	require.NoError(t, err, "the longest address has a picture, too")
}

// A recovery code is 120 random bits, and of it SHA-256 is stored; people may type it in their way (MFA-09).
func TestMFA09_RecoveryCodesAreTolerant(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		code, hash := newRecoveryCode()
		text := code.Reveal()
		require.Regexp(t, `^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$`, text)
		require.False(t, seen[text])
		seen[text] = true
		plain := strings.ReplaceAll(text, "-", "")
		for _, typed := range []string{
			text, plain, strings.ToLower(text), strings.ReplaceAll(text, "-", " "), " " + strings.ToLower(plain) + "\t",
			strings.ReplaceAll(text, "0", "o"), strings.ReplaceAll(text, "1", "l"), strings.ReplaceAll(text, "1", "I"),
		} {
			raw, ok := parseRecovery(typed)
			require.True(t, ok, typed)
			sum := sha256.Sum256(raw[:])
			require.Equal(t, hash, sum[:])
		}
		for _, other := range []string{plain[:23], plain + "0", plain[:23] + "U", plain[:23] + "\n", "", plain[:12] + "\r\n" + plain[12:]} {
			_, ok := parseRecovery(other)
			require.False(t, ok, "%q", other)
		}
	}
}

// What is read at all has one form, and that form reads as the same.
func FuzzParseRecovery(f *testing.F) {
	code, _ := newRecoveryCode()
	for _, seed := range []string{code.Reveal(), "", "----", strings.Repeat("0", 24), strings.Repeat("O", 24), strings.Repeat(" ", 100), "ilil-ilil-ilil-ilil-ilil-ilil", "\xff\xfe", "ſſſſſſſſſſſſ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		raw, ok := parseRecovery(typed)
		if !ok {
			return
		}
		again, ok := parseRecovery(formatRecovery(raw))
		require.True(t, ok)
		require.Equal(t, raw, again)
		letters := func(s string) int {
			return strings.IndexFunc(s, func(r rune) bool { return r > 'z' })
		}
		require.Equal(t, -1, letters(typed), "letters of other scripts are no code")
	})
}

package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func (d desk) refuses(t *testing.T, name string, want invalid, text string) {
	t.Helper()
	claims, err := d.verifier.Verify(text)
	require.Nil(t, claims, name)
	require.ErrorIs(t, err, ErrInvalid, name)
	require.Equal(t, string(want), Reason(err), name)
	require.Zero(t, d.verifier.cache.Len(), "nothing bad is remembered: %s", name)
}

func TestTOK07_algorithmIsTheKeysAlone(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{EdDSA, ES256} {
		d, attacker := newDesk(t, algorithm), newDesk(t, ES256)
		for _, alg := range []string{`"none"`, `"None"`, `"NONE"`, `""`, `null`, `"HS256"`, `"RS256"`, `"eddsa"`, `"es256"`, `["EdDSA"]`, `1`} {
			header := fmt.Sprintf(`{"alg":%s,"typ":"at+jwt","kid":%q}`, alg, d.key.ID)
			want := badKey
			if strings.HasPrefix(alg, "[") || alg == "1" {
				want = badHeader
			}
			d.refuses(t, alg, want, d.forge(t, header, body(t, nil)))
			d.refuses(t, alg+" unsigned", want, b64(header)+"."+b64(body(t, nil))+".")
		}
		signed := b64(fmt.Sprintf(`{"alg":"HS256","typ":"at+jwt","kid":%q}`, d.key.ID)) + "." + b64(body(t, nil))
		honest := b64(d.header()) + "." + b64(body(t, nil))
		for _, key := range d.publicBytes(t) {
			for text, want := range map[string]invalid{signed: badKey, honest: badSignature} {
				mac := hmac.New(sha256.New, key)
				mac.Write([]byte(text))
				d.refuses(t, "HS256 with the public key", want, text+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
			}
		}
		attacker.key.ID = d.key.ID
		stolen := attacker.forge(t, attacker.header(), body(t, nil))
		want := badSignature
		if algorithm == EdDSA {
			want = badKey
		}
		d.refuses(t, "attacker's ES256 under our kid", want, stolen)
		for _, size := range []int{0, 1, 63, 64, 65, 512} {
			d.refuses(t, "zero signature", badSignature, honest+"."+base64.RawURLEncoding.EncodeToString(make([]byte, size)))
		}
	}
}

func TestTOK08_headerHoldsThreeMembersAndNoOther(t *testing.T) {
	t.Parallel()
	d, other := newDesk(t, EdDSA), testSigner(t, EdDSA)
	require.NoError(t, d.keys.Replace([]Key{d.key, other}))
	jwk, err := other.jwk()
	require.NoError(t, err)
	open := strings.TrimSuffix(d.header(), "}")
	for _, extra := range []string{
		`"jwk":` + string(jwk), `"jku":"http://127.0.0.1:1/jwks"`, `"x5u":"http://127.0.0.1:1/"`, `"x5c":["AA=="]`, `"x5t":"AA"`,
		`"x5t#S256":"AA"`, `"crit":["b64"]`, `"crit":["b64"],"b64":false`, `"b64":false`, `"b64":true`, `"zip":"DEF"`, `"cty":"JWT"`,
		`"enc":"A256GCM"`, `"KID":"x"`, `"Alg":"none"`, `"":1`, `"alg":"EdDSA"`, `"kid":"x"`, `"typ":"JWT"`,
	} {
		d.refuses(t, extra, badHeader, d.forge(t, open+","+extra+"}", body(t, nil)))
	}
	for _, kid := range []string{
		"", "../../dev/null", "' OR 1=1 --", strings.Repeat("k", 4000), "unknown", strings.ToUpper(d.key.ID), d.key.ID + " ", d.key.ID[:42],
	} {
		d.refuses(t, kid, badKey, d.forge(t, fmt.Sprintf(`{"alg":"EdDSA","typ":"at+jwt","kid":%q}`, kid), body(t, nil)))
	}
	d.refuses(t, "another key's kid", badSignature,
		d.forge(t, fmt.Sprintf(`{"alg":"EdDSA","typ":"at+jwt","kid":%q}`, other.ID), body(t, nil)))
	for _, header := range []string{
		`{}`, `null`, `[]`, `"EdDSA"`, ``, `{`, d.header() + "x", d.header() + d.header(), "\ufeff" + d.header(), `{"alg":"EdDSA","kid":null}`,
		open + `,"typ\u0000":1}`, strings.Replace(d.header(), "at+jwt", "\xff", 1), strings.Repeat("[", 5000),
	} {
		d.refuses(t, header, badHeader, d.forge(t, header, body(t, nil)))
	}
	for typ, good := range map[string]bool{
		"at+jwt": true, "AT+JWT": true, "application/at+jwt": true, "Application/AT+jwt": true,
		"JWT": false, "": false, "at+jwt ": false, "text/at+jwt": false, "dpop+jwt": false, "application/application/at+jwt": false,
	} {
		text := d.forge(t, fmt.Sprintf(`{"alg":"EdDSA","typ":%q,"kid":%q}`, typ, d.key.ID), body(t, nil))
		if !good {
			d.verifier.cache.Purge()
			d.refuses(t, typ, badHeader, text)
			continue
		}
		_, err := d.verifier.Verify(text)
		require.NoError(t, err, typ)
	}
	text := d.sign(t, someClaims())
	parts := strings.Split(text, ".")
	for name, other := range map[string]string{
		"JWE":          strings.Join([]string{parts[0], "", parts[1], parts[2], parts[2]}, "."),
		"flat JSON":    `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"general JSON": `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
		"nested":       b64(text),
	} {
		d.verifier.cache.Purge()
		d.refuses(t, name, badShape, other)
	}
}

func TestTOK09_oneSpellingOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t, EdDSA)
	text := d.sign(t, someClaims())
	parts := strings.Split(text, ".")
	for name, bad := range map[string]string{
		"empty": "", "one dot": ".", "two dots": "..", "dots": strings.Repeat(".", 1<<20), "no signature": parts[0] + "." + parts[1],
		"empty signature": parts[0] + "." + parts[1] + ".", "four parts": text + ".", "dot first": "." + text,
		"padding": text + "==", "padding inside": parts[0] + "=." + parts[1] + "." + parts[2],
		"LF at the end": text + "\n", "CRLF inside": text[:20] + "\r\n" + text[20:], "CR in the signature": text[:len(text)-5] + "\r" + text[len(text)-5:],
		"blank": " " + text, "tab": text + "\t", "NUL": text + "\x00", "other alphabet": parts[0] + "." + parts[1] + ".+/" + parts[2][2:],
		"8 KiB header": strings.Repeat("A", 8<<10) + "." + parts[1] + "." + parts[2], "over the cap": text + strings.Repeat("A", maxPresented),
		"UTF-8": parts[0] + "." + parts[1] + ".é" + parts[2],
	} {
		want := badShape
		switch name {
		case "two dots":
			want = badHeader // three parts, all empty
		case "empty signature":
			want = badSignature
		}
		d.refuses(t, name, want, bad)
	}
	// 64 bytes leave four trailing bits in the last of 86 characters: 15 other spellings of the same signature.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[len(text)-1])
	for low := 1; low < 16; low++ {
		d.refuses(t, "trailing bits", badShape, text[:len(text)-1]+alphabet[last|low:last|low+1])
	}
}

func TestTOK11_timesIssuerAudience(t *testing.T) {
	t.Parallel()
	unix := func(d time.Duration) string { return fmt.Sprint(noon.Add(d).Unix()) }
	for name, tc := range map[string]struct {
		replace map[string]string
		want    invalid // "" = passes
	}{
		"plain":                    {nil, ""},
		"expired 31 s ago":         {map[string]string{"exp": unix(-31 * time.Second)}, badExpired},
		"expired 30 s ago":         {map[string]string{"exp": unix(-30 * time.Second)}, ""},
		"one second left":          {map[string]string{"exp": unix(time.Second)}, ""},
		"iat in 31 s":              {map[string]string{"iat": unix(31 * time.Second)}, badFuture},
		"iat in 30 s":              {map[string]string{"iat": unix(30 * time.Second)}, ""},
		"nbf in 31 s":              {map[string]string{"nbf": unix(31 * time.Second)}, badFuture},
		"nbf in 30 s":              {map[string]string{"nbf": unix(30 * time.Second)}, ""},
		"nbf text":                 {map[string]string{"nbf": `"0"`}, badClaims},
		"nbf negative":             {map[string]string{"nbf": `-1`}, badClaims},
		"aud alone":                {map[string]string{"aud": `"` + ours + `"`}, ""},
		"aud among others":         {map[string]string{"aud": `["a","` + ours + `"]`}, ""},
		"aud other":                {map[string]string{"aud": `"https://other.example"`}, badAudience},
		"aud prefix":               {map[string]string{"aud": `"` + ours + `/"`}, badAudience},
		"aud empty":                {map[string]string{"aud": `[]`}, badClaims},
		"aud object":               {map[string]string{"aud": `{"` + ours + `":1}`}, badClaims},
		"aud nested":               {map[string]string{"aud": `[["` + ours + `"]]`}, badClaims},
		"iss other":                {map[string]string{"iss": `"https://ums.example.evil"`}, badIssuer},
		"iss other case":           {map[string]string{"iss": `"https://UMS.example"`}, badIssuer},
		"exp text":                 {map[string]string{"exp": `"` + unix(time.Hour) + `"`}, badClaims},
		"exp fraction":             {map[string]string{"exp": unix(time.Hour) + ".5"}, badClaims},
		"exp fraction of nothing":  {map[string]string{"exp": unix(time.Hour) + ".0"}, badClaims},
		"exp exponent":             {map[string]string{"exp": `2e9`}, badClaims},
		"exp huge":                 {map[string]string{"exp": `1e400`}, badClaims},
		"exp overflow":             {map[string]string{"exp": `99999999999999999999`}, badClaims},
		"exp after the year 9999":  {map[string]string{"exp": `253402300800`}, badClaims},
		"exp zero":                 {map[string]string{"exp": `0`}, badClaims},
		"exp negative":             {map[string]string{"exp": `-1`}, badClaims},
		"exp true":                 {map[string]string{"exp": `true`}, badClaims},
		"sub empty":                {map[string]string{"sub": `""`}, badClaims},
		"sub number":               {map[string]string{"sub": `1`}, badClaims},
		"sid list":                 {map[string]string{"sid": `["s"]`}, badClaims},
		"unknown claim is ignored": {map[string]string{"later": `{"a":1}`}, ""},
	} {
		d := newDesk(t, EdDSA)
		text := d.forge(t, d.header(), body(t, tc.replace))
		if tc.want != "" {
			d.refuses(t, name, tc.want, text)
			continue
		}
		_, err := d.verifier.Verify(text)
		require.NoError(t, err, name)
	}
	d := newDesk(t, EdDSA)
	for _, name := range []string{"iss", "sub", "aud", "client_id", "jti", "sid", "iat", "exp", "auth_time"} {
		for _, raw := range []string{"", "null"} {
			d.refuses(t, name+raw, badClaims, d.forge(t, d.header(), body(t, map[string]string{name: raw})))
		}
	}
	good := body(t, nil)
	for name, raw := range map[string]string{
		"duplicate": strings.Replace(good, `{`, `{"sub":"root",`, 1), "case variant of a claim": strings.Replace(good, `"sub"`, `"SUB"`, 1),
		"trailing data": good + "{}", "array": "[" + good + "]", "null": "null", "empty": "", "invalid UTF-8": strings.Replace(good, `"u"`, "\"\xff\"", 1),
		"deep": strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
	} {
		d.refuses(t, name, badClaims, d.forge(t, d.header(), raw))
	}
}

func TestVerify_forgetsWhenTimeOrKeysSaySo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, EdDSA)
	text := d.sign(t, someClaims())
	for range 2 {
		_, err := d.verifier.Verify(text)
		require.NoError(t, err)
	}
	require.Equal(t, 1, d.verifier.cache.Len())
	d.clock.Advance(5*time.Minute + Leeway)
	_, err := d.verifier.Verify(text)
	require.NoError(t, err, "the last moment")
	d.clock.Advance(time.Second)
	_, err = d.verifier.Verify(text)
	require.Equal(t, "expired", Reason(err), "remembered, but over")

	text = d.sign(t, someClaims())
	_, err = d.verifier.Verify(text)
	require.NoError(t, err)
	next := testSigner(t, ES256)
	d.key.RetiresAt = d.clock.Now().Add(time.Minute)
	require.NoError(t, d.keys.Replace([]Key{d.key, next}))
	_, err = d.verifier.Verify(text)
	require.NoError(t, err, "TOK-16: a rotation loses no token")
	d.clock.Advance(time.Minute - time.Millisecond)
	_, err = d.verifier.Verify(text)
	require.NoError(t, err)
	d.clock.Advance(time.Millisecond)
	_, err = d.verifier.Verify(text)
	require.Equal(t, "key", Reason(err), "TOK-16: dead exactly at retirement, remembered or not")

	fresh := d.sign(t, someClaims())
	_, err = d.verifier.Verify(fresh)
	require.NoError(t, err)
	require.NoError(t, d.keys.Replace([]Key{d.key}))
	_, err = d.verifier.Verify(fresh)
	require.Equal(t, "key", Reason(err), "a key that is gone takes its remembered tokens along")
}

func TestVerify_everyBitCounts(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{EdDSA, ES256} {
		d := newDesk(t, algorithm)
		text := d.sign(t, someClaims())
		rapid.Check(t, func(t *rapid.T) {
			changed := []byte(text)
			changed[rapid.IntRange(0, len(text)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			_, err := d.verifier.Verify(string(changed))
			require.ErrorIs(t, err, ErrInvalid)
		})
	}
}

func TestReason_isEmptyForOthers(t *testing.T) {
	t.Parallel()
	require.Empty(t, Reason(errors.New("other")))
	require.Empty(t, Reason(nil))
	require.Equal(t, "shape", Reason(fmt.Errorf("authenticate: %w", badShape)))
}

func FuzzVerify(f *testing.F) {
	d := newDesk(f, EdDSA)
	good := d.sign(f, someClaims())
	for _, seed := range []string{good, "", "..", good + ".", d.forge(f, `{}`, `{}`), strings.ReplaceAll(good, "A", "=")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := d.verifier.Verify(text)
		if (claims == nil) != errors.Is(err, ErrInvalid) {
			t.Fatalf("claims %v with error %v", claims, err)
		}
		if err == nil && text != good {
			t.Fatalf("another spelling of the token passed: %q", text)
		}
	})
}

// FuzzVerifySigned lets the fuzzer choose what lies under a good signature, where the parsers are.
func FuzzVerifySigned(f *testing.F) {
	d := newDesk(f, EdDSA)
	f.Add(d.header(), body(f, nil))
	f.Add(d.header(), body(f, map[string]string{"aud": `"` + ours + `"`, "nbf": "1"}))
	f.Add(`{"alg":"none"}`, `{"exp":1e9}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		claims, err := d.verifier.Verify(d.forge(t, header, payload))
		if (claims == nil) != errors.Is(err, ErrInvalid) {
			t.Fatalf("claims %v with error %v", claims, err)
		}
		if err == nil && (claims.Issuer != ours || claims.Subject == "" || claims.ExpiresAt.Before(noon.Add(-Leeway))) {
			t.Fatalf("accepted %s %s", header, payload)
		}
	})
}

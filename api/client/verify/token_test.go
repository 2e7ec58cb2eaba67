package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signer is a key of the service.
type signer struct {
	id, algorithm, jwk string
	sign               func(signed string) []byte
}

func edSigner(t *testing.T, id string) signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return signer{
		id, "EdDSA", fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":%q,"x":%q}`, id, b64(public)),
		func(signed string) []byte { return ed25519.Sign(private, []byte(signed)) },
	}
}

func ecSigner(t *testing.T, id string) signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := private.PublicKey.Bytes()
	require.NoError(t, err)
	return signer{
		id, "ES256", fmt.Sprintf(`{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":%q,"x":%q,"y":%q}`, id, b64(point[1:33]), b64(point[33:])),
		func(signed string) []byte {
			digest := sha256.Sum256([]byte(signed))
			r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
			require.NoError(t, err)
			out := make([]byte, 64)
			r.FillBytes(out[:32])
			s.FillBytes(out[32:])
			return out
		},
	}
}

// publisher publishes keys, and can be away.
type publisher struct {
	*httptest.Server
	mu    sync.Mutex
	keys  []signer
	away  bool
	asked atomic.Int32
	now   atomic.Int64 // seconds after noon
}

func publish(t *testing.T, keys ...signer) *publisher {
	t.Helper()
	p := &publisher{keys: keys}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.away {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		jwks := []string{`{"kty":"RSA","kid":"other","n":"AQAB","e":"AQAB"}`}
		for _, k := range p.keys {
			jwks = append(jwks, k.jwk)
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(jwks, ","))
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) change(away bool, keys ...signer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away, p.keys = away, keys
}

func (p *publisher) clock() time.Time { return noon.Add(time.Duration(p.now.Load()) * time.Second) }

func (p *publisher) verifier(t *testing.T) *Verifier {
	t.Helper()
	v, err := New(Config{URL: p.URL, Issuer: "https://ums.example", Audience: "orders", Now: p.clock, RolePermissions: map[string][]string{"clerk": {"orders:*"}}})
	require.NoError(t, err)
	return v
}

// token signs good claims with some replaced, or left out where they are nil, under a header that may be replaced whole.
func (s signer) token(t *testing.T, header string, replace map[string]any) string {
	t.Helper()
	if header == "" {
		header = fmt.Sprintf(`{"alg":%q,"typ":"at+jwt","kid":%q}`, s.algorithm, s.id)
	}
	members := map[string]any{
		"iss": "https://ums.example", "aud": []string{"orders", "more"}, "sub": "ada", "client_id": "ums", "jti": "j", "sid": "s",
		"iat": noon.Unix(), "exp": noon.Unix() + 300, "auth_time": noon.Unix() - 60, "acr": "aal1", "amr": []string{"pwd"}, "roles": []string{"clerk"},
	}
	for name, value := range replace {
		members[name] = value
		if value == nil {
			delete(members, name)
		}
	}
	body, err := json.Marshal(members)
	require.NoError(t, err)
	signed := b64([]byte(header)) + "." + b64(body)
	return signed + "." + b64(s.sign(signed))
}

func TestTokenOfEitherAlgorithm(t *testing.T) {
	t.Parallel()
	ed, ec := edSigner(t, "ed"), ecSigner(t, "ec")
	v := publish(t, ed, ec).verifier(t)
	for _, s := range []signer{ed, ec} {
		p, err := v.Token(t.Context(), s.token(t, "", map[string]any{"aud": "orders"}))
		require.NoError(t, err)
		require.Equal(t, &Principal{
			UserID: "ada", SessionID: "s", AuthTime: noon.Add(-time.Minute), ACR: "aal1", AMR: []string{"pwd"}, Roles: []string{"clerk"},
			Permissions: []string{"orders:*"}, ExpiresAt: noon.Add(5 * time.Minute),
		}, p)
		require.True(t, p.HasPermission("orders:read") && p.HasRole("clerk"))
		require.False(t, p.IsKey() || p.HasPermission("ordersx:read") || p.HasPermission("users:read") || p.HasRole("admin"))
	}
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	ed, ec, stranger := edSigner(t, "ed"), ecSigner(t, "ec"), edSigner(t, "ed")
	v := publish(t, ed, ec).verifier(t)
	good := ed.token(t, "", nil)
	parts := strings.Split(good, ".")
	header := func(text string) string { return ed.token(t, text, nil) }
	claim := func(name string, value any) string { return ed.token(t, "", map[string]any{name: value}) }
	bad := map[string]string{
		"empty": "", "one part": "a", "two parts": parts[0] + "." + parts[1], "four parts": good + ".a", "JSON": `{"payload":"a"}`,
		"padded": good + "=", "line end": parts[0] + ".\n" + parts[1] + "." + parts[2], "blank": " " + good, "huge": good + strings.Repeat("A", maxToken),
		"unsigned": parts[0] + "." + parts[1] + ".", "other signature": stranger.token(t, "", nil),
		"changed body":            parts[0] + "." + strings.Split(claim("sub", "eve"), ".")[1] + "." + parts[2],
		"none":                    header(`{"alg":"none","typ":"at+jwt","kid":"ed"}`),
		"HS256":                   header(`{"alg":"HS256","typ":"at+jwt","kid":"ed"}`),
		"another key's algorithm": header(`{"alg":"ES256","typ":"at+jwt","kid":"ed"}`),
		"another key":             header(`{"alg":"ES256","typ":"at+jwt","kid":"ec"}`),
		"no kid":                  header(`{"alg":"EdDSA","typ":"at+jwt"}`),
		"unknown kid":             header(`{"alg":"EdDSA","typ":"at+jwt","kid":"new"}`),
		"plain JWT":               header(`{"alg":"EdDSA","typ":"JWT","kid":"ed"}`),
		"no typ":                  header(`{"alg":"EdDSA","kid":"ed"}`),
		"more behind the header":  header(`{"alg":"EdDSA","typ":"at+jwt","kid":"ed"} {}`),
		"expired":                 claim("exp", noon.Unix()-31), "no exp": claim("exp", nil), "exp as text": claim("exp", "2030"),
		"far exp": claim("exp", int64(maxDate)+1), "no iat": claim("iat", nil), "iat to come": claim("iat", noon.Unix()+31),
		"nbf to come": claim("nbf", noon.Unix()+31), "negative nbf": claim("nbf", -1),
		"other issuer": claim("iss", "https://ums.example/"), "no issuer": claim("iss", nil),
		"other audience": claim("aud", "ordersx"), "no audience": claim("aud", nil), "empty audience": claim("aud", []string{}),
		"no subject": claim("sub", nil), "no session": claim("sid", ""), "no client": claim("client_id", nil), "no id": claim("jti", nil),
		"no auth_time": claim("auth_time", nil),
	}
	for _, member := range []string{`"jwk":{}`, `"jku":"http://127.0.0.1:1/"`, `"x5u":"http://127.0.0.1:1/"`, `"x5c":["AA=="]`, `"crit":["exp"]`, `"b64":false`, `"zip":"DEF"`, `"cty":"JWT"`} {
		bad[member] = header(`{"alg":"EdDSA","typ":"at+jwt","kid":"ed",` + member + `}`)
	}
	for name, text := range bad {
		_, err := v.Token(t.Context(), text)
		require.ErrorIs(t, err, errToken, name)
	}
	_, err := v.Token(t.Context(), good)
	require.NoError(t, err)
}

// The keys are asked for once, again when they are old or a new one appears, and never more often than every 10 seconds.
func TestKeysAreAskedForSeldom(t *testing.T) {
	t.Parallel()
	first, second, third := edSigner(t, "1"), edSigner(t, "2"), edSigner(t, "3")
	p := publish(t, first)
	v := p.verifier(t)
	check := func(s signer, want error) {
		t.Helper()
		_, err := v.Token(t.Context(), s.token(t, "", map[string]any{"iat": p.clock().Unix(), "exp": p.clock().Unix() + 300}))
		require.ErrorIs(t, err, want)
	}
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() { check(first, nil) })
	}
	all.Wait()
	require.EqualValues(t, 1, p.asked.Load(), "whoever comes at once waits for one answer")
	for i := range 100 { // unknown ids, of which 1 in 10 seconds asks
		_, err := v.Token(t.Context(), first.token(t, fmt.Sprintf(`{"alg":"EdDSA","typ":"at+jwt","kid":"x%d"}`, i), nil))
		require.ErrorIs(t, err, errToken)
	}
	require.EqualValues(t, 1, p.asked.Load())

	p.change(false, first, second)
	check(second, errToken)
	p.now.Add(10)
	check(second, nil)
	require.EqualValues(t, 2, p.asked.Load())
	p.change(false, second) // the first is withdrawn
	p.now.Add(299)
	check(first, nil)
	p.now.Add(1)
	check(first, errToken)
	require.EqualValues(t, 3, p.asked.Load())

	p.change(true)
	p.now.Add(300)
	check(second, nil) // it waits for the first failure,
	check(third, errUnavailable)
	require.EqualValues(t, 4, p.asked.Load())
	p.now.Add(3300)
	check(second, nil) // and keeps what it has for an hour.
	p.now.Add(10)
	check(second, errUnavailable)
	p.change(false, third)
	p.now.Add(10)
	check(third, nil)
	check(second, errToken)
}

func TestNoKeysNoVerdict(t *testing.T) {
	t.Parallel()
	key := edSigner(t, "1")
	p := publish(t)
	v := p.verifier(t)
	ask := func() error {
		p.now.Add(10)
		_, err := v.Token(t.Context(), key.token(t, "", nil))
		return err
	}
	require.ErrorIs(t, ask(), errUnavailable, "an empty set")
	for _, jwk := range []string{
		`{"kty":"OKP","crv":"Ed25519","kid":"1","x":"AAAA"}`, `{"kty":"OKP","crv":"Ed25519","kid":"1","x":"!"}`,
		`{"kty":"EC","crv":"P-256","kid":"1","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}`,
		`{"kty":"oct","kid":"1","k":"AAAA"}`, key.jwk + "," + key.jwk, `nonsense`,
	} {
		p.change(false, signer{jwk: jwk})
		require.ErrorIs(t, ask(), errUnavailable, jwk)
	}
	p.change(false, key)
	require.NoError(t, ask())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.verifier(t).Token(ctx, key.token(t, "", nil))
	require.ErrorIs(t, err, errUnavailable)
}

func TestAgeOfTheKeys(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": defaultAge, "no-store": defaultAge, "public, max-age=60": time.Minute, "Max-Age=60": time.Minute, "max-age=0": minAge,
		"max-age=99999": maxAge, "max-age=-1": defaultAge, "max-age=99999999999999": defaultAge,
	} {
		require.Equal(t, want, age(header), header)
	}
}

package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

var b64 = base64.RawURLEncoding.EncodeToString

// forger makes tokens that the service could have made: it holds the service's own signing key.
type forger struct {
	key    token.Key
	claims jwt.MapClaims // of a good token
	good   string
}

// keysOf is the signing keys of a service, as one more replica sees them.
func keysOf(t *testing.T, s *apptest.Service) *signing.Service {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(s.DSN), ExecMode: "cache_statement", MaxConns: 1}, log)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	ring, err := keyring.Parse(apptest.MasterKey)
	require.NoError(t, err)
	keys := signing.New(signing.Deps{DB: pool, Ring: ring, Bus: postgres.NewBus(log), Algorithm: token.EdDSA, Clock: s.Clock, Log: log})
	require.NoError(t, keys.Load(t.Context()))
	return keys
}

func newForger(t *testing.T, s *apptest.Service, good string) forger {
	t.Helper()
	key, err := keysOf(t, s).Keys().Signing(s.Clock.Now())
	require.NoError(t, err)
	f := forger{key: key, good: good, claims: jwt.MapClaims{}}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[1])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(payload, &f.claims))
	return f
}

func (f forger) header() doc { return doc{"alg": "EdDSA", "typ": "at+jwt", "kid": f.key.ID} }

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b64(text)
}

// sign makes a token of any header and claims, signed as sign says.
func (f forger) sign(header doc, claims any, sign func(string) []byte) string {
	text := encode(header) + "." + encode(claims)
	return text + "." + b64(sign(text))
}

// own signs with the service's own key.
func (f forger) own(text string) []byte {
	return ed25519.Sign(f.key.Private.(ed25519.PrivateKey), []byte(text))
}

// with is a good token with other claims; nil takes one away.
func (f forger) with(changes doc) string {
	claims := maps.Clone(f.claims)
	for name, value := range changes {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return f.sign(f.header(), claims, f.own)
}

// refused checks that each token gets the very same refusal.
func refused(t *testing.T, s *apptest.Service, tokens map[string]string) {
	t.Helper()
	want := same(t, s.Bearer("nonsense").GET(t, "/users/me").Want(t, 401, "invalid_access_token"))
	for name, text := range tokens {
		a := s.Bearer(text).GET(t, "/users/me")
		require.Equal(t, 401, a.Status, "%s: %s", name, a.Body)
		require.Equal(t, want, same(t, a), name)
	}
}

func newTokens(t *testing.T, s *apptest.Service, name string) (id string, tokens *apptest.Answer, f forger) {
	t.Helper()
	id, _ = s.Person(t, s.Admin(t), name+"@token.test")
	tokens = s.POST(t, "/auth/login", doc{"email": name + "@token.test", "password": apptest.Password}).Want(t, 200)
	return id, tokens, newForger(t, s, tokens.String(t, "access_token"))
}

func TestTOK07_AlgorithmConfusion(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, _, f := newTokens(t, s, "tok07")
	s.Bearer(f.with(nil)).GET(t, "/users/me").Want(t, 200) // the forger's art is good
	head, rest, _ := strings.Cut(f.good, ".")
	require.NotEmpty(t, head)
	claims, signature, _ := strings.Cut(rest, ".")
	der, err := x509.MarshalPKIXPublicKey(f.key.Public)
	require.NoError(t, err)
	public := []byte(f.key.Public.(ed25519.PublicKey))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	tokens := map[string]string{}
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", nil, "HS256", "HS512", "RS256", "PS256", "ES256", "ES384", "Ed25519", "eddsa", "EDDSA", "EdDSA ", 1, []string{"EdDSA"}} {
		h := f.header()
		h["alg"] = alg
		name := encode(alg)
		tokens["alg "+name+" and the signature"] = encode(h) + "." + claims + "." + signature
		tokens["alg "+name+" and none"] = encode(h) + "." + claims + "."
		tokens["alg "+name+" signed by us"] = f.sign(h, f.claims, f.own)
	}
	for name, key := range map[string][]byte{
		"raw": public, "der": der, "pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "kid": []byte(f.key.ID), "empty": {},
		"jwk": []byte(`{"crv":"Ed25519","kty":"OKP","x":"` + b64(public) + `"}`), "x": []byte(b64(public)), "std": []byte(base64.StdEncoding.EncodeToString(der)),
	} {
		h := f.header()
		h["alg"] = "HS256"
		tokens["HS256 with the public key as "+name] = f.sign(h, f.claims, func(text string) []byte {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(text))
			return mac.Sum(nil)
		})
	}
	for alg, key := range map[string]any{"RS256": rsaKey, "PS256": rsaKey, "ES256": ecKey, "EdDSA": edKey} {
		for _, kid := range []string{f.key.ID, "mine"} {
			h := f.header()
			h["alg"], h["kid"] = alg, kid
			tokens["a stranger's "+alg+" "+kid] = f.sign(h, f.claims, func(text string) []byte {
				sig, err := jwt.GetSigningMethod(alg).Sign(text, key)
				require.NoError(t, err)
				return sig
			})
		}
	}
	for name, sig := range map[string][]byte{"empty": {}, "zero": make([]byte, 64), "short": make([]byte, 63), "der zero": {0x30, 6, 2, 1, 0, 2, 1, 0}} {
		for _, alg := range []string{"EdDSA", "ES256"} {
			h := f.header()
			h["alg"] = alg
			tokens[alg+" with the signature "+name] = f.sign(h, f.claims, func(string) []byte { return sig })
		}
	}
	refused(t, s, tokens)
}

func TestTOK08_HeadersThatBringAKey(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, _, f := newTokens(t, s, "tok08")
	var calls atomic.Int32
	mine := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer mine.Close()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	theirs := func(text string) []byte { return ed25519.Sign(private, []byte(text)) }
	jwk := doc{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "kid": f.key.ID}
	tokens := map[string]string{}
	for name, value := range map[string]any{
		"jwk": jwk, "jku": mine.URL, "x5u": mine.URL, "x5c": []string{base64.StdEncoding.EncodeToString(public)}, "x5t": "x", "x5t#S256": "x",
		"crit": []string{"b64"}, "b64": false, "zip": "DEF", "cty": "JWT", "enc": "A128GCM", "url": mine.URL, "iss": "x", "exp": 1, "": 1, "ALG": "none",
	} {
		h := f.header()
		h[name] = value
		tokens[name+" and a stranger's key"] = f.sign(h, f.claims, theirs)
		tokens[name+" and our key"] = f.sign(h, f.claims, f.own)
		delete(h, "kid")
		tokens[name+" without kid"] = f.sign(h, f.claims, theirs)
	}
	for _, kid := range []any{
		"../../../../dev/null", "/dev/null", "' OR 1=1 --", "1; SELECT pg_sleep(9)", strings.Repeat("k", 2000), "unknown", "", nil, 1,
		[]string{f.key.ID},
		mine.URL,
		f.key.ID + " ", strings.ToLower(f.key.ID) + "\u0000", "file:///etc/passwd",
	} {
		h := f.header()
		h["kid"] = kid
		tokens["kid "+encode(kid)] = f.sign(h, f.claims, f.own)
		tokens["kid "+encode(kid)+" and a stranger's key"] = f.sign(h, f.claims, theirs)
	}
	for _, typ := range []any{"JWT", "at+JWT ", "", nil, "dpop+jwt", "jwt", 1} {
		h := f.header()
		h["typ"] = typ
		tokens["typ "+encode(typ)] = f.sign(h, f.claims, f.own)
	}
	tokens["nested"] = f.sign(f.header(), f.good, f.own)
	tokens["JWE of five parts"] = f.good + ".AAAA.AAAA"
	tokens["detached"] = strings.Split(f.good, ".")[0] + ".." + strings.Split(f.good, ".")[2]
	tokens["duplicate member"] = b64([]byte(`{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"`+f.key.ID+`"}`)) + "." + strings.SplitN(f.good, ".", 2)[1]
	parts := strings.Split(f.good, ".")
	tokens["JSON serialisation"] = `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`
	refused(t, s, tokens)
	require.Zero(t, calls.Load(), "nothing is fetched")
}

func TestTOK09_OneSpelling(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, _, f := newTokens(t, s, "tok09")
	parts := strings.Split(f.good, ".")
	tokens := map[string]string{
		"padding": f.good + "=", "padding inside": parts[0] + "=." + parts[1] + "." + parts[2], "a dot more": f.good + ".", "a dot before": "." + f.good,
		"a part less": parts[0] + "." + parts[1], "one part": parts[0], "dots": strings.Repeat(".", 7000), "long": f.good + strings.Repeat("A", 7000),
		"a space inside": parts[0] + ". " + parts[1] + "." + parts[2], "standard alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(f.good) + "+",
		"upper case": strings.ToUpper(f.good), "scheme twice": "Bearer " + f.good, "comma": f.good + "," + f.good, "quoted": `"` + f.good + `"`, "null": "null",
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, f.good[len(f.good)-1])
	for i := range alphabet { // 64 bytes leave four bits of the last letter unused
		if i != last {
			tokens["last letter "+string(alphabet[i])] = f.good[:len(f.good)-1] + string(alphabet[i])
		}
	}
	refused(t, s, tokens)
	for _, value := range []string{f.good + "\r", "\x00" + f.good, strings.Replace(f.good, ".", "\n.", 1)} {
		res := wire(t, s, "GET /api/v1/users/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+value+"\r\nConnection: close\r\n\r\n")
		require.Contains(t, []int{400, 401}, res.StatusCode, "%q", value)
	}
	for _, size := range []int{20 << 10, 1 << 20} {
		res := wire(t, s, "GET /api/v1/users/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+strings.Repeat(".", size)+"\r\nConnection: close\r\n\r\n")
		require.Equal(t, 431, res.StatusCode)
	}
	s.Bearer(f.good).GET(t, "/users/me").Want(t, 200)
}

// TOK-11: times, issuer and audience; the leeway is 30 seconds and not one more.
func TestTOK11_TimesIssuerAudience(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	id, tokens, f := newTokens(t, s, "tok11")
	other, _ := s.Person(t, s.Admin(t), "other@token.test")
	now := s.Clock.Now().Unix()
	for name, text := range map[string]string{
		"as it is": f.with(nil), "ends in a second": f.with(doc{"exp": now + 1}), "ended within the leeway": f.with(doc{"exp": now - 29}),
		"made a moment from now": f.with(doc{"iat": now + 29}), "counts a moment from now": f.with(doc{"nbf": now + 29}),
		"for us too": f.with(doc{"aud": []string{"https://other.test", "http://localhost:8080"}}), "for us as a text": f.with(doc{"aud": "http://localhost:8080"}),
		"more claims than we know": f.with(doc{"scope": "x", "nonce": 1}), "roles do not count": f.with(doc{"roles": []string{"admin"}}),
	} {
		require.Equal(t, 200, s.Bearer(text).GET(t, "/users/me").Status, name)
	}
	s.Bearer(f.with(doc{"roles": []string{"admin"}})).GET(t, "/users").Want(t, 403, "permission_denied")
	refusals := map[string]string{
		"ended before the leeway": f.with(doc{"exp": now - 31}), "made later": f.with(doc{"iat": now + 32}), "counts later": f.with(doc{"nbf": now + 32}),
		"another issuer": f.with(doc{"iss": "http://localhost:8081"}), "the issuer with a slash": f.with(doc{"iss": "http://localhost:8080/"}),
		"for others": f.with(doc{"aud": []string{"https://other.test"}}), "for nobody": f.with(doc{"aud": []string{}}), "for a part of us": f.with(doc{"aud": "http://localhost:808"}),
		"ends as a text": f.with(doc{"exp": "2099-01-01"}), "ends never": f.with(doc{"exp": 0}), "ends beyond time": f.with(doc{"exp": 1e300}), "ends before time": f.with(doc{"exp": -1}),
		"of another": f.with(doc{"sub": other}), "of nobody": f.with(doc{"sub": unknownID}), "of no id": f.with(doc{"sub": "admin"}), "another session": f.with(doc{"sid": unknownID}),
		"no session": f.with(doc{"sid": ""}), "claims twice": strings.Split(f.good, ".")[0] + "." + b64([]byte(`{"sub":"x","sub":"y"}`)) + "." + strings.Split(f.good, ".")[2],
	}
	for _, claim := range []string{"exp", "iat", "iss", "aud", "sub", "sid", "jti", "client_id", "auth_time"} {
		refusals["without "+claim] = f.with(doc{claim: nil})
	}
	refused(t, s, refusals)

	// A remembered token ends like any other.
	c := s.Bearer(tokens.String(t, "access_token"))
	c.GET(t, "/users/me").Want(t, 200)
	s.Clock.Advance(5*time.Minute + 29*time.Second)
	c.GET(t, "/users/me").Want(t, 200)
	s.Clock.Advance(3 * time.Second)
	c.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	s.Clock.Advance(-10 * time.Minute) // and a clock that jumps back brings none to life that is not there yet
	c.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	s.Clock.Advance(5 * time.Minute)

	s.Admin(t).DELETE(t, "/users/"+id).Want(t, 204)
	refused(t, s, map[string]string{"of somebody who is gone": f.with(doc{"exp": now + 3600}), "as it was": f.good})
}

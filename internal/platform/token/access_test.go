package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/clock"
)

const ours = "https://ums.example"

// desk is an issuer and a verifier on one clock and one key set.
type desk struct {
	clock    *clock.Fake
	keys     *KeySet
	key      Key
	issuer   *Issuer
	verifier *Verifier
}

func newDesk(t testing.TB, algorithm string) desk {
	t.Helper()
	d := desk{clock: clock.NewFake(noon), key: testSigner(t, algorithm)}
	var err error
	d.keys, err = newKeySet([]Key{d.key})
	require.NoError(t, err)
	cfg := Config{Algorithm: algorithm, AccessTTL: 5 * time.Minute}
	require.NoError(t, cfg.Validate())
	d.issuer = NewIssuer(cfg, ours, d.keys, d.clock)
	d.verifier = NewVerifier(cfg, ours, d.keys, d.clock)
	return d
}

func someClaims() Claims {
	return Claims{
		Subject: "0195-user", SessionID: "0195-session", AuthTime: noon.Add(-time.Minute), ACR: "aal1",
		AMR: []string{"pwd"}, Roles: []string{"user", "editor"},
	}
}

func (d desk) sign(t testing.TB, c Claims) string {
	t.Helper()
	text, _, err := d.issuer.Sign(c)
	require.NoError(t, err)
	return text.Reveal()
}

// forge signs any header and body with the desk's key: what only a broken issuer could make.
func (d desk) forge(t testing.TB, header, body string) string {
	t.Helper()
	signed := b64(header) + "." + b64(body)
	signature, err := d.key.method().Sign(signed, d.key.Private)
	require.NoError(t, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func (d desk) header() string {
	return fmt.Sprintf(`{"alg":%q,"typ":"at+jwt","kid":%q}`, d.key.Algorithm, d.key.ID)
}

// body returns a good payload with members replaced by raw JSON, or left out where it is "".
func body(t testing.TB, replace map[string]string) string {
	t.Helper()
	members := map[string]json.RawMessage{
		"iss": json.RawMessage(`"` + ours + `"`), "aud": json.RawMessage(`["` + ours + `"]`), "sub": json.RawMessage(`"u"`),
		"client_id": json.RawMessage(`"ums"`), "jti": json.RawMessage(`"j"`), "sid": json.RawMessage(`"s"`),
		"iat": json.RawMessage(fmt.Sprint(noon.Unix())), "exp": json.RawMessage(fmt.Sprint(noon.Unix() + 300)),
		"auth_time": json.RawMessage(fmt.Sprint(noon.Unix())), "acr": json.RawMessage(`"aal1"`), "amr": json.RawMessage(`["pwd"]`),
	}
	for name, raw := range replace {
		members[name] = json.RawMessage(raw)
		if raw == "" {
			delete(members, name)
		}
	}
	out, err := json.Marshal(members)
	require.NoError(t, err)
	return string(out)
}

func TestAccessToken_roundTrips(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{EdDSA, ES256} {
		d := newDesk(t, algorithm)
		rapid.Check(t, func(t *rapid.T) {
			want := Claims{
				Subject: rapid.StringN(1, 40, 100).Draw(t, "sub"), SessionID: rapid.StringN(1, 40, 100).Draw(t, "sid"),
				AuthTime: noon.Add(-time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "ago"))),
				ACR:      rapid.SampledFrom([]string{"aal1", "aal2"}).Draw(t, "acr"),
				AMR:      rapid.SliceOfN(rapid.SampledFrom([]string{"pwd", "otp"}), 1, 2).Draw(t, "amr"),
				Roles:    rapid.SliceOfN(rapid.StringMatching(`[a-z_]{1,20}`), 0, 40).Draw(t, "roles"),
			}
			text, stated, err := d.issuer.Sign(want)
			require.NoError(t, err)
			require.LessOrEqual(t, len(text.Reveal()), maxIssued)
			got, err := d.verifier.Verify(text.Reveal())
			require.NoError(t, err)
			require.Equal(t, len(want.Roles) > maxRoles, got.RolesOmitted)
			require.Equal(t, want.Subject, got.Subject)
			require.Equal(t, want.SessionID, got.SessionID)
			require.Equal(t, want.AuthTime.Truncate(time.Second), got.AuthTime)
			require.Equal(t, noon.Add(5*time.Minute), got.ExpiresAt)
			if len(stated.Roles) == 0 {
				stated.Roles = got.Roles // nil and empty are the same to everyone
			}
			require.Equal(t, stated, *got)
		})
	}
}

func TestAccessToken_formIsRFC9068(t *testing.T) {
	t.Parallel()
	d := newDesk(t, EdDSA)
	parts := strings.Split(d.sign(t, someClaims()), ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	require.NoError(t, err)
	require.JSONEq(t, d.header(), string(header))
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(raw, &got))
	require.Len(t, got["jti"], 36)
	delete(got, "jti")
	require.Equal(t, map[string]any{
		"iss": ours, "sub": "0195-user", "aud": []any{ours}, "client_id": "ums", "sid": "0195-session",
		"iat": float64(noon.Unix()), "exp": float64(noon.Unix() + 300), "auth_time": float64(noon.Unix() - 60),
		"acr": "aal1", "amr": []any{"pwd"}, "roles": []any{"user", "editor"},
	}, got)
}

func TestAccessToken_staysSmall(t *testing.T) {
	t.Parallel()
	d := newDesk(t, EdDSA)
	c := someClaims()
	for range 30 {
		c.Roles = append(c.Roles, strings.Repeat("r", 3))
	}
	got, err := d.verifier.Verify(d.sign(t, c))
	require.NoError(t, err)
	require.True(t, got.RolesOmitted, "32 roles")
	require.Nil(t, got.Roles)

	c.Roles = []string{strings.Repeat("long", 400)}
	text, stated, err := d.issuer.Sign(c)
	require.NoError(t, err)
	require.True(t, stated.RolesOmitted, "few but long roles")
	require.Nil(t, stated.Roles)
	require.LessOrEqual(t, len(text.Reveal()), maxIssued)

	c.Subject = strings.Repeat("s", maxIssued)
	_, _, err = d.issuer.Sign(c)
	require.Error(t, err)
}

func TestSign_needsAKeyAndTheCallersClaims(t *testing.T) {
	t.Parallel()
	d := newDesk(t, EdDSA)
	for _, c := range []Claims{
		{SessionID: "s", AuthTime: noon},
		{Subject: "u", AuthTime: noon},
		{Subject: "u", SessionID: "s"},
		{Subject: "\xff", SessionID: "s", AuthTime: noon},
	} {
		_, _, err := d.issuer.Sign(c)
		require.Error(t, err)
	}
	require.NoError(t, d.keys.Replace(nil))
	_, _, err := d.issuer.Sign(someClaims())
	require.ErrorIs(t, err, ErrNoSigningKey)
}

func TestConfig_Validate(t *testing.T) {
	t.Parallel()
	err := Config{Algorithm: "HS256", AccessTTL: 2 * time.Hour, Audiences: []string{""}}.Validate()
	for _, name := range []string{"UMS_TOKEN_ALGORITHM", "UMS_ACCESS_TOKEN_TTL", "UMS_TOKEN_AUDIENCES"} {
		require.ErrorContains(t, err, name)
	}
	require.Error(t, Config{Algorithm: EdDSA}.Validate(), "no life at all")
}

func BenchmarkSign(b *testing.B) {
	d := newDesk(b, EdDSA)
	c := someClaims()
	b.ReportAllocs()
	for b.Loop() {
		d.sign(b, c)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{EdDSA, ES256} {
		d := newDesk(b, algorithm)
		text := d.sign(b, someClaims())
		b.Run(algorithm+"/first", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.verifier.cache.Purge()
				if _, err := d.verifier.Verify(text); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(algorithm+"/remembered", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.verifier.Verify(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// publicBytes are the shapes in which an attacker may use our public key as a symmetric one.
func (d desk) publicBytes(t testing.TB) [][]byte {
	t.Helper()
	der, err := d.key.MarshalPublic()
	require.NoError(t, err)
	jwk, err := d.key.jwk()
	require.NoError(t, err)
	pem := "-----BEGIN PUBLIC KEY-----\n" + base64.StdEncoding.EncodeToString(der) + "\n-----END PUBLIC KEY-----\n"
	out := [][]byte{der, jwk, []byte(pem)}
	if p, ok := d.key.Public.(ed25519.PublicKey); ok {
		out = append(out, p)
	}
	return out
}

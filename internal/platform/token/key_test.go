package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testSigner returns a key that signs from noon on.
func testSigner(t testing.TB, algorithm string) Key {
	t.Helper()
	k, err := GenerateKey(algorithm)
	require.NoError(t, err)
	k.ActiveFrom = noon
	return k
}

func TestKey_idIsTheThumbprintOfRFC8037AppendixA3(t *testing.T) {
	t.Parallel()
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	require.NoError(t, err)
	k, err := newKey(ed25519.NewKeyFromSeed(seed))
	require.NoError(t, err)
	require.Equal(t, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", k.ID)
	jwk, err := k.jwk()
	require.NoError(t, err)
	require.JSONEq(t, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		"use":"sig","alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}`, string(jwk))
}

func TestKey_survivesStorage(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{EdDSA, ES256} {
		k := testSigner(t, algorithm)
		der, err := k.MarshalPrivate()
		require.NoError(t, err)
		back, err := ParsePrivate(der)
		require.NoError(t, err)
		back.ActiveFrom = k.ActiveFrom
		require.Equal(t, k, back)

		der, err = k.MarshalPublic()
		require.NoError(t, err)
		parsed, err := x509.ParsePKIXPublicKey(der)
		require.NoError(t, err)
		require.Equal(t, k.Public, parsed)
		verifier := k
		verifier.Private = nil
		_, err = verifier.MarshalPrivate()
		require.Error(t, err)
		for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%x"} {
			require.Equal(t, "key "+k.ID, fmt.Sprintf(verb, k))
		}
	}
}

func TestKey_refusesOtherAlgorithms(t *testing.T) {
	t.Parallel()
	_, err := GenerateKey("HS256")
	require.ErrorContains(t, err, `unknown token algorithm "HS256"`)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	for _, private := range []any{rsaKey, p384} {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		require.NoError(t, err)
		_, err = ParsePrivate(der)
		require.Error(t, err)
	}
	_, err = ParsePrivate([]byte("garbage"))
	require.Error(t, err)
}

// newKeySet returns a set that holds list.
func newKeySet(list []Key) (*KeySet, error) {
	s := &KeySet{}
	return s, s.Replace(list)
}

func TestKeySet_signsWithTheNewestActiveKey(t *testing.T) {
	t.Parallel()
	old, current, next, public := testSigner(t, EdDSA), testSigner(t, ES256), testSigner(t, EdDSA), testSigner(t, EdDSA)
	old.ActiveFrom, old.RetiresAt = noon.Add(-48*time.Hour), noon.Add(time.Hour)
	next.ActiveFrom = noon.Add(24 * time.Hour)
	public.Private = nil
	s, err := newKeySet([]Key{next, old, current, public})
	require.NoError(t, err)
	for at, want := range map[time.Time]string{
		noon.Add(-time.Second):   old.ID,
		noon:                     current.ID,
		noon.Add(time.Hour):      current.ID,
		noon.Add(24 * time.Hour): next.ID,
	} {
		k, err := s.Signing(at)
		require.NoError(t, err)
		require.Equal(t, want, k.ID, at)
	}
	_, err = s.Signing(noon.Add(-49 * time.Hour))
	require.ErrorIs(t, err, ErrNoSigningKey)
	_, err = (&KeySet{}).Signing(noon)
	require.ErrorIs(t, err, ErrNoSigningKey)

	require.ElementsMatch(t, []string{old.ID, current.ID, next.ID, public.ID}, published(t, s, noon))
	require.ElementsMatch(t, []string{current.ID, next.ID, public.ID}, published(t, s, noon.Add(time.Hour)), "retired")
	require.Empty(t, published(t, &KeySet{}, noon))
}

// published returns the key ids of the JWKS, and checks that it holds public members alone.
func published(t *testing.T, s *KeySet, now time.Time) (ids []string) {
	t.Helper()
	body, err := s.JWKS(now)
	require.NoError(t, err)
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	require.NoError(t, json.Unmarshal(body, &set))
	require.NotNil(t, set.Keys)
	for _, k := range set.Keys {
		for member := range k {
			require.Contains(t, []string{"kty", "crv", "x", "y", "use", "alg", "kid"}, member)
		}
		require.Equal(t, "sig", k["use"])
		ids = append(ids, k["kid"])
	}
	return ids
}

func TestKeySet_keepsTheOldKeysOnAMixUp(t *testing.T) {
	t.Parallel()
	good, other := testSigner(t, EdDSA), testSigner(t, ES256)
	s, err := newKeySet([]Key{good})
	require.NoError(t, err)
	renamed, swapped, relabelled := good, good, good
	renamed.ID = "x"
	swapped.Private = other.Private
	relabelled.Algorithm = ES256
	for name, list := range map[string][]Key{
		"other id": {renamed}, "other private key": {swapped}, "other algorithm": {relabelled}, "twice": {good, good}, "empty key": {{}},
	} {
		require.Error(t, s.Replace(list), name)
	}
	k, err := s.Signing(noon)
	require.NoError(t, err)
	require.Equal(t, good.ID, k.ID)

	before := s.load()
	require.NoError(t, s.Replace([]Key{good}))
	require.Same(t, before, s.load(), "the same keys keep what is remembered under them")
	require.NoError(t, s.Replace([]Key{good, other}))
	require.NotSame(t, before, s.load())
}

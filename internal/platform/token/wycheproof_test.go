package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

type wycheproofKey struct {
	Kid, Kty, Alg, Use, Crv, X, Y string
}

// ours is the key as one of this service, or a stranger under its id where this service could not have made it: of
// another algorithm, for encryption, symmetric.
func (k wycheproofKey) ours(t *testing.T) (key Key, supported bool) {
	t.Helper()
	if k.Kty != "EC" || k.Crv != "P-256" || k.Alg != ES256 || k.Use != "sig" {
		key = testSigner(t, ES256)
		key.ID = k.Kid
		return key, false
	}
	point := []byte{4}
	for _, coordinate := range []string{k.X, k.Y} {
		raw, err := base64.RawURLEncoding.DecodeString(coordinate)
		require.NoError(t, err)
		point = append(point, slices.Concat(make([]byte, 32-len(raw)), raw)...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	require.NoError(t, err)
	key, err = newPublicKey(public)
	require.NoError(t, err)
	key.ID = k.Kid
	return key, true
}

// Project Wycheproof's vectors of JSON Web Signatures. What it calls valid passes when its key is one that this service
// could have; everything else is refused, above all what it calls invalid. The vectors 367, 370, 372 and 373 are
// disputed (two that it calls invalid are well-formed, two that it calls valid are not base64url): they are HMACs, which
// this service refuses in any form, so that they need no exemption.
func TestWycheproofJWS(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/wycheproof/json_web_signature_test.json")
	require.NoError(t, err)
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Comment         string
			Public, Private *wycheproofKey
			Tests           []struct {
				TcID         int `json:"tcId"`
				Comment, JWS string
				Result       string
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))
	anyType := func(string) bool { return true }
	ran, passed := 0, 0
	for _, group := range file.TestGroups {
		k := group.Public
		if k == nil {
			k = group.Private
		}
		key, supported := k.ours(t)
		set := &keys{byID: map[string]*Key{key.ID: &key}}
		for _, test := range group.Tests {
			ran++
			_, used, err := open(test.JWS, set, anyType)
			if supported && test.Result == "valid" {
				require.NoError(t, err, "%d %s %s", test.TcID, group.Comment, test.Comment)
				require.Same(t, &key, used)
				passed++
				_, _, err = open(test.JWS, set, typed)
				require.ErrorIs(t, err, ErrInvalid, "%d names no access token", test.TcID)
				continue
			}
			require.ErrorIs(t, err, ErrInvalid, "%d %s %s", test.TcID, group.Comment, test.Comment)
		}
	}
	require.Equal(t, file.NumberOfTests, ran)
	require.Equal(t, 2, passed, "of the valid ones two are ES256")
}

// The signatures themselves, as each algorithm's keys judge them: zero and oversized numbers, other encodings, truncated
// and lengthened ones.
func TestWycheproofSignatures(t *testing.T) {
	t.Parallel()
	for name, algorithm := range map[string]string{"ed25519_test.json": EdDSA, "ecdsa_secp256r1_sha256_p1363_test.json": ES256} {
		text, err := os.ReadFile("testdata/wycheproof/" + name)
		require.NoError(t, err)
		var file struct {
			NumberOfTests int
			TestGroups    []struct {
				PublicKeyDer string
				Tests        []struct {
					TcID         int `json:"tcId"`
					Comment, Msg string
					Sig, Result  string
					Flags        []string
				}
			}
		}
		require.NoError(t, json.Unmarshal(text, &file))
		ran := 0
		for _, group := range file.TestGroups {
			der, err := hex.DecodeString(group.PublicKeyDer)
			require.NoError(t, err)
			public, err := x509.ParsePKIXPublicKey(der)
			require.NoError(t, err)
			key, err := newPublicKey(public)
			require.NoError(t, err)
			require.Equal(t, algorithm, key.Algorithm)
			for _, test := range group.Tests {
				ran++
				msg, err := hex.DecodeString(test.Msg)
				require.NoError(t, err)
				sig, err := hex.DecodeString(test.Sig)
				require.NoError(t, err)
				err = key.method().Verify(string(msg), sig, key.Public)
				require.Equal(t, test.Result == "valid", err == nil, "%s %d %s %v", name, test.TcID, test.Comment, test.Flags)
			}
		}
		require.Equal(t, file.NumberOfTests, ran)
	}
}

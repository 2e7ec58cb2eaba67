package passkey_test

import (
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

func TestRelyingPartyFollowsFromTheSiteOrFitsIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, public, id, origins string
		cors                      []string
		offered                   bool
		fault                     string
	}{
		{name: "this machine", public: "http://localhost:8080", offered: true},
		{name: "a site", public: "https://id.example.com", cors: []string{"https://shop.test"}, offered: true},
		{name: "a domain above", public: "https://id.example.com", id: "example.com", cors: []string{"https://app.example.com"}, offered: true},
		{name: "reached by a number", public: "http://127.0.0.1:8080"},
		{name: "reached by a number of six", public: "http://[::1]:8080"},
		{name: "without https", public: "http://id.example.com"},
		{name: "an app beside it", public: "https://id.example.com", id: "example.com", origins: "https://app.example.com,https://example.com", offered: true},

		{name: "another domain", public: "https://id.example.com", id: "example.org", fault: "UMS_PASSKEY_RP_ID"},
		{name: "below the site", public: "https://example.com", id: "id.example.com", fault: "UMS_PASSKEY_RP_ID"},
		{name: "the end of a name", public: "https://notexample.com", id: "example.com", fault: "UMS_PASSKEY_RP_ID"},
		{name: "an address", public: "https://id.example.com", id: "192.0.2.1", fault: "UMS_PASSKEY_RP_ID"},
		{name: "a URL", public: "https://id.example.com", id: "https://id.example.com", fault: "UMS_PASSKEY_RP_ID"},
		{name: "upper case", public: "https://id.example.com", id: "Example.com", fault: "UMS_PASSKEY_RP_ID"},
		{name: "with a port", public: "https://id.example.com", id: "example.com:443", fault: "UMS_PASSKEY_RP_ID"},
		{name: "an origin elsewhere", public: "https://id.example.com", origins: "https://id.example.com,https://example.com", fault: "https://example.com is neither on"},
		{name: "an origin without https", public: "https://id.example.com", origins: "http://id.example.com", fault: "https alone"},
		{name: "origins, but a number", public: "http://127.0.0.1:8080", origins: "https://id.example.com", fault: "UMS_PASSKEY_ORIGINS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := passkey.Config{RPID: c.id}
			require.NoError(t, cfg.Origins.UnmarshalText([]byte(c.origins)))
			rp, err := cfg.For(passkey.Site{PublicURL: c.public, CORSOrigins: c.cors, ProductName: "UMS"})
			if c.fault != "" {
				require.ErrorContains(t, err, c.fault)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.offered, rp.Offered())
			s, err := passkey.NewService(nil, rp)
			require.NoError(t, err)
			if !c.offered {
				_, err = s.AssertionOptions(t.Context(), passkey.Login())
				require.ErrorIs(t, err, passkey.ErrNotOffered)
				_, err = s.Assert(t.Context(), passkey.Login(), nil)
				require.ErrorIs(t, err, passkey.ErrNotOffered)
			}
		})
	}
	var o passkey.Origins
	for _, text := range []string{"example.com", "https://example.com/", "https://Example.com", "https://a@example.com", "https://"} {
		require.Error(t, o.UnmarshalText([]byte(text)), text)
	}
}

// What strangers send is read without a fall, and comes to nothing without a challenge.
func FuzzAssertion(f *testing.F) {
	rp, err := passkey.Config{}.For(passkey.Site{PublicURL: "http://localhost:8080", ProductName: "UMS"})
	require.NoError(f, err)
	pool, err := postgres.Open(f.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(f)), ExecMode: "cache_statement", MaxConns: 4,
	}, slog.New(slog.DiscardHandler))
	require.NoError(f, err)
	f.Cleanup(pool.Close)
	s, err := passkey.NewService(pool, rp)
	require.NoError(f, err)
	client := base64.RawURLEncoding.EncodeToString([]byte(`{"type":"webauthn.get","challenge":"` + strings.Repeat("A", 43) + `","origin":"http://localhost:8080"}`))
	data := strings.Repeat("A", 50) // 37 bytes of authenticator data
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"` + client + `","authenticatorData":"` + data + `","signature":"AA","userHandle":"AA"}}`))
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`,
		`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"","signature":""}}`,
		`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"o2NmbXRkbm9uZQ"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		ctx := t.Context()
		if j, err := s.Assert(ctx, passkey.Login(), document); err == nil {
			require.Equal(t, passkey.Refused, j.Outcome)
		}
		_, err := s.CheckRegistration(ctx, passkey.Login(), passkey.Person{}, document)
		require.Error(t, err)
	})
}

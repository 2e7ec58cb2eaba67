package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/domain/actor"
)

// kidOf is the key that an access token names.
func kidOf(t *testing.T, text string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.SplitN(text, ".", 2)[0])
	require.NoError(t, err)
	var header struct{ Kid string }
	require.NoError(t, json.Unmarshal(raw, &header))
	return header.Kid
}

// published lists the ids of the keys that a replica publishes, and fails when it publishes more than public parts.
func published(t *testing.T, s *apptest.Service) (kids []string) {
	t.Helper()
	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(s.GET(t, "/.well-known/jwks.json").Want(t, 200).Body, &set))
	for _, k := range set.Keys {
		require.Contains(t, []any{"OKP", "EC"}, k["kty"])
		for member := range k {
			require.Contains(t, []string{"kty", "crv", "x", "y", "use", "alg", "kid"}, member)
		}
		kids = append(kids, k["kid"].(string))
	}
	return kids
}

// TOK-16: a key is published, then used, then its predecessor retires, under traffic over two replicas: no token that
// has not expired is refused at any moment. At its retirement, and not before, the old key ends.
func TestTOK16_RotationUnderTraffic(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	b := apptest.Start(t, apptest.Beside(a), apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	replicas := []*apptest.Service{a, b}
	_, tokens, f := newTokens(t, a, "tok16")
	old, refresh := f.key.ID, tokens.String(t, "refresh_token")
	require.Equal(t, []string{old}, published(t, a))

	type minted struct {
		text    string
		expires time.Time
	}
	var living []minted
	signed := map[string]int{}
	traffic := func(step int) { // one refresh, at the replicas by turns, then every living token at both
		t.Helper()
		r := replicas[step%2].POST(t, "/auth/refresh", doc{"refresh_token": refresh}).Want(t, 200)
		refresh = r.String(t, "refresh_token")
		text := r.String(t, "access_token")
		signed[kidOf(t, text)]++
		living = append(living, minted{text, a.Clock.Now().Add(time.Duration(r.Get(t, "expires_in").(float64) * 1e9))})
		living = slices.DeleteFunc(living, func(m minted) bool { return !a.Clock.Now().Before(m.expires) })
		for _, m := range living {
			for _, s := range replicas {
				s.Bearer(m.text).GET(t, "/users/me").Want(t, 200)
			}
		}
	}
	traffic(0)
	r, err := keysOf(t, a).Rotate(t.Context(), actor.Service("test"), false)
	require.NoError(t, err)
	require.Equal(t, []string{old}, r.Replaced)
	for _, s := range replicas { // each hears of it
		require.Eventually(t, func() bool { return slices.Contains(published(t, s), r.KID) }, 20*time.Second, 20*time.Millisecond)
		require.Contains(t, published(t, s), old)
	}
	step := 1
	for ; a.Clock.Now().Add(time.Minute).Before(r.ActiveFrom); step++ {
		traffic(step)
		a.Clock.Advance(time.Minute)
	}
	traffic(step)
	require.Equal(t, map[string]int{old: step + 1}, signed, "published, and not used yet")

	lasting := f.with(doc{"exp": r.RetiresAt.Unix() + 7200}) // no token of ours lives so long; it shows when the key ends
	for a.Clock.Advance(r.ActiveFrom.Sub(a.Clock.Now())); a.Clock.Now().Add(time.Minute).Before(r.RetiresAt); a.Clock.Advance(time.Minute) {
		step++
		traffic(step)
		require.Equal(t, r.KID, kidOf(t, living[len(living)-1].text))
	}
	a.Clock.Advance(r.RetiresAt.Sub(a.Clock.Now()) - time.Millisecond)
	for _, s := range replicas {
		s.Bearer(lasting).GET(t, "/users/me").Want(t, 200)
		require.Contains(t, published(t, s), old)
	}
	a.Clock.Advance(time.Millisecond)
	for _, s := range replicas {
		s.Bearer(lasting).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		require.Equal(t, []string{r.KID}, published(t, s))
	}
	traffic(step + 1)
}

// A key that has leaked ends at once: what it signed is refused at every replica as soon as that has heard of it, and
// the sessions live on.
func TestTOK16_RotationAtOnce(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.Start(t, apptest.Beside(a))
	_, tokens, f := newTokens(t, a, "tok16now")
	r, err := keysOf(t, a).Rotate(t.Context(), actor.Service("test"), true)
	require.NoError(t, err)
	for _, s := range []*apptest.Service{a, b} {
		require.Eventually(t, func() bool { return slices.Equal(published(t, s), []string{r.KID}) }, 20*time.Second, 20*time.Millisecond)
		s.Bearer(f.good).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	}
	next := b.POST(t, "/auth/refresh", doc{"refresh_token": tokens.String(t, "refresh_token")}).Want(t, 200).String(t, "access_token")
	require.Equal(t, r.KID, kidOf(t, next))
	a.Bearer(next).GET(t, "/users/me").Want(t, 200)
}

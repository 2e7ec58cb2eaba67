package verify

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsForPeopleAlone(t *testing.T) {
	t.Parallel()
	ed := edSigner(t, "ed")
	people := publish(t, ed).verifier(t)
	keys := newDesk(t, Config{})
	keys.says(`{"valid":true,"code":"valid","key_id":"k","user_id":"ada","scopes":["*"],"environment":"live"}`)
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "ada", From(r.Context()).UserID)
		w.WriteHeader(http.StatusNoContent)
	})
	for _, c := range []struct {
		name       string
		guard      func(http.Handler) http.Handler
		credential string
		want       int
	}{
		{"a session", people.RequireSession(), ed.token(t, "", nil), http.StatusNoContent},
		{"a session without roles", people.RequireSession(), ed.token(t, "", map[string]any{"roles": []string{}}), http.StatusNoContent},
		{"nobody", people.RequireSession(), "", http.StatusUnauthorized},
		{"a bad token", people.RequireSession(), "x", http.StatusUnauthorized},
		{"a key", keys.RequireSession(), aKey(), http.StatusForbidden},
		{"one of the roles", people.RequireRole("admin", "clerk"), ed.token(t, "", nil), http.StatusNoContent},
		{"another role", people.RequireRole("admin"), ed.token(t, "", nil), http.StatusForbidden},
		{"a key has no role", keys.RequireRole("clerk"), aKey(), http.StatusForbidden},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		if c.credential != "" {
			r.Header.Set("Authorization", "Bearer "+c.credential)
		}
		w := httptest.NewRecorder()
		c.guard(next).ServeHTTP(w, r)
		require.Equal(t, c.want, w.Code, c.name)
	}
}

package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// setCookie is the one cookie that the answer sets.
func setCookie(t *testing.T, a *apptest.Answer) *http.Cookie {
	t.Helper()
	require.Len(t, a.Header["Set-Cookie"], 1)
	c, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.Empty(t, c.Domain)
	return c
}

// inCookie is the refresh token of an answer that keeps it out of its body.
func inCookie(t *testing.T, a *apptest.Answer) *http.Cookie {
	t.Helper()
	require.Equal(t, 200, a.Status, "%s", a.Body)
	require.NotContains(t, a.JSON(t), "refresh_token")
	c := setCookie(t, a)
	require.NotEmpty(t, c.Value)
	require.NotContains(t, string(a.Body), c.Value)
	require.EqualValues(t, a.Get(t, "refresh_expires_in"), c.MaxAge)
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	return c
}

func with(c *apptest.Client, cookie *http.Cookie) *apptest.Client {
	return c.With("Cookie", "theme=dark; "+cookie.Name+"="+cookie.Value)
}

// From sign-in to sign-out with the refresh token in the cookie only.
func TestCookieSession(t *testing.T) {
	t.Parallel()
	s := common(t)
	s.Person(t, s.Admin(t), "cookie@cookie.test")
	in := doc{"email": "cookie@cookie.test", "password": apptest.Password, "cookie": true}
	login := s.POST(t, "/auth/login", in)
	first := inCookie(t, login)
	require.Equal(t, "ums_refresh", first.Name, "plain HTTP on this machine")
	require.False(t, first.Secure)

	second := inCookie(t, with(s.Client, first).POST(t, "/auth/refresh", nil))
	require.NotEqual(t, first.Value, second.Value)
	require.Equal(t, second.Value, inCookie(t, with(s.Client, first).POST(t, "/auth/refresh", doc{})).Value, "the parent, within the grace")
	third := inCookie(t, with(s.Bearer("broken"), second).POST(t, "/auth/refresh", doc{"refresh_token": ""}))

	// A reauthentication keeps to the cookie, and so does a refresh by body of such a session.
	ada := s.Bearer(login.String(t, "access_token"))
	again := inCookie(t, ada.POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}))
	require.Equal(t, third.Value, again.Value, "not rotated")
	fourth := inCookie(t, s.POST(t, "/auth/refresh", doc{"refresh_token": third.Value}))

	// The cookie is no credential elsewhere, and does not count as a second one.
	with(s.Client, fourth).GET(t, "/users/me").Want(t, 401, "unauthenticated")
	with(s.Client, fourth).POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}).Want(t, 401, "unauthenticated")
	with(ada, fourth).GET(t, "/users/me").Want(t, 200)
	require.Empty(t, with(ada, fourth).GET(t, "/auth/sessions").Want(t, 200).Header["Set-Cookie"])

	out := with(s.Client, fourth).POST(t, "/auth/logout", nil).Want(t, 204)
	cleared := setCookie(t, out)
	require.Equal(t, fourth.Name, cleared.Name)
	require.Empty(t, cleared.Value)
	require.Negative(t, cleared.MaxAge)
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	with(s.Client, fourth).POST(t, "/auth/refresh", nil).Want(t, 401, "invalid_refresh_token")
	with(s.Client, fourth).POST(t, "/auth/logout", nil).Want(t, 204)
	require.Empty(t, s.POST(t, "/auth/logout", nil).Want(t, 204).Header["Set-Cookie"])
}

// The body comes before the cookie; a session without a cookie stays without one.
func TestTokenInTheBody(t *testing.T) {
	t.Parallel()
	s := common(t)
	s.Person(t, s.Admin(t), "body@cookie.test")
	in := doc{"email": "body@cookie.test", "password": apptest.Password}
	login := s.POST(t, "/auth/login", in).Want(t, 200)
	require.Empty(t, login.Header["Set-Cookie"])
	in["cookie"] = true
	cookie := inCookie(t, s.POST(t, "/auth/login", in))

	refreshed := with(s.Client, cookie).POST(t, "/auth/refresh", doc{"refresh_token": login.String(t, "refresh_token")}).Want(t, 200)
	require.Equal(t, login.String(t, "session_id"), refreshed.String(t, "session_id"))
	require.NotEmpty(t, refreshed.String(t, "refresh_token"))
	require.Empty(t, refreshed.Header["Set-Cookie"])
	with(s.Client, cookie).POST(t, "/auth/refresh", doc{"refresh_token": "x"}).Want(t, 401, "invalid_refresh_token")

	// What came in a cookie goes back in one, whatever the session was begun as.
	moved := &http.Cookie{Name: cookie.Name, Value: refreshed.String(t, "refresh_token")}
	inCookie(t, with(s.Client, moved).POST(t, "/auth/refresh", nil))

	for _, nothing := range []string{"", "ums_refresh=", "__Host-ums_refresh=" + cookie.Value, "ums_refresh=x", "ums_refresh=\"", ";;;=", "Ums_Refresh=" + cookie.Value} {
		s.With("Cookie", nothing).POST(t, "/auth/refresh", nil).Want(t, 401, "invalid_refresh_token")
	}
	inCookie(t, with(s.Client, cookie).POST(t, "/auth/refresh", nil)) // and none of that has used it up
}

// Pages of other origins neither use the cookie nor get one: what browsers say of them is believed.
func TestCookieAndOtherOrigins(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_PUBLIC_URL=https://id.cookie.test", "UMS_ALLOWED_HOSTS=127.0.0.1",
		"UMS_CORS_ORIGINS=https://app.cookie.test"))
	s.Person(t, s.Admin(t), "ada@cookie.test")
	in := doc{"email": "ada@cookie.test", "password": apptest.Password, "cookie": true}
	cookie := inCookie(t, s.POST(t, "/auth/login", in))
	require.Equal(t, "__Host-ums_refresh", cookie.Name)
	require.True(t, cookie.Secure)

	page := func(origin, site string) *apptest.Client {
		c := s.Client
		if origin != "" {
			c = c.With("Origin", origin)
		}
		if site != "" {
			c = c.With("Sec-Fetch-Site", site)
		}
		return c
	}
	for _, evil := range []*apptest.Client{
		page("https://evil.test", "cross-site"), page("https://evil.cookie.test", "same-site"), page("https://evil.test", ""), page("", "cross-site"),
		page("null", "cross-site"), page("null", ""), page("https://app.cookie.test.evil.test", "cross-site"), page("http://app.cookie.test", "cross-site"),
		page("https://app.cookie.test:444", "same-site"),
	} {
		a := with(evil, cookie).POST(t, "/auth/refresh", nil).Want(t, 403, "permission_denied")
		require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, a.Header["Set-Cookie"])
		require.Empty(t, with(evil, cookie).POST(t, "/auth/logout", nil).Want(t, 403, "permission_denied").Header["Set-Cookie"])
		require.Empty(t, evil.POST(t, "/auth/login", in).Want(t, 403, "permission_denied").Header["Set-Cookie"])
		evil.POST(t, "/auth/refresh", nil).Want(t, 401, "invalid_refresh_token") // there is nothing to guard
	}
	for _, good := range []*apptest.Client{
		page("https://app.cookie.test", "same-site"), page("https://app.cookie.test", ""), page("https://id.cookie.test", "same-origin"),
		page("https://id.cookie.test", ""), page("", "same-origin"), page("", "none"), s.Client,
	} {
		a := with(good, cookie).POST(t, "/auth/refresh", nil)
		cookie = inCookie(t, a)
		require.NotEqual(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
		if a.Header.Get("Access-Control-Allow-Credentials") != "" {
			require.Equal(t, "https://app.cookie.test", a.Header.Get("Access-Control-Allow-Origin"))
		}
	}
	app := page("https://app.cookie.test", "same-site")
	require.Equal(t, "true", app.POST(t, "/auth/refresh", nil).Want(t, 401).Header.Get("Access-Control-Allow-Credentials"))
	require.True(t, setCookie(t, with(app, cookie).POST(t, "/auth/logout", nil).Want(t, 204)).Secure)
	with(app, cookie).POST(t, "/auth/refresh", nil).Want(t, 401, "invalid_refresh_token")
	require.NotContains(t, s.Log.String(), cookie.Value)
}

//go:build browser

package browser

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// elsewhere serves an empty page at a name of its own: every name below localhost is this machine.
func elsewhere(t *testing.T, name string) (origin string) {
	t.Helper()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>page</title>"))
	}))
	t.Cleanup(page.Close)
	return strings.Replace(page.URL, "127.0.0.1", name, 1)
}

// call is what a page does to call the service: its answer's status and body.
const call = `const call = async (path, body, more) => {
	try {
		const r = await fetch(API + "/api/v1" + path, {method: "POST", credentials: "include",
			headers: body ? {"Content-Type": "application/json"} : {}, body: body && JSON.stringify(body), ...more});
		return {status: r.status, body: await r.text()};
	} catch { return {status: 0}; } // the browser lets the page see nothing
};`

// A page of a listed origin signs in, refreshes and signs out by a cookie that it never sees. A page of another origin of
// the same site, which the browser gives the cookie, can do nothing with it; one of another site does not even have it.
func TestCookieFromAnotherOrigin(t *testing.T) {
	t.Parallel()
	app, evil, far := elsewhere(t, "app.ums.localhost"), elsewhere(t, "evil.ums.localhost"), elsewhere(t, "far.other.localhost")
	s := apptest.Start(t, apptest.Env("UMS_CORS_ORIGINS="+app, "UMS_ALLOWED_HOSTS=127.0.0.1,id.ums.localhost"))
	root := s.Admin(t)
	id, _ := s.Person(t, root, "ada@browser.test")
	api := strings.Replace(s.Base(), "127.0.0.1", "id.ums.localhost", 1)
	x := open(t)
	script := func(origin, body string) map[string]any {
		t.Helper()
		x.do(chromedp.Navigate(origin))
		out, ok := x.eval(`(async () => { const API = "` + api + `"; ` + call + body + ` })()`).(map[string]any)
		require.True(t, ok)
		return out
	}
	sessions := func() int {
		return len(root.GET(t, "/users/"+id+"/sessions").Want(t, 200).Get(t, "data").([]any))
	}
	const signIn = `const login = await call("/auth/login", {email: "ada@browser.test", password: "` + apptest.Password + `", cookie: true});`

	in := script(app, signIn+`
		const tokens = JSON.parse(login.body);
		const refreshed = await call("/auth/refresh");
		const me = await fetch(API + "/api/v1/users/me", {headers: {Authorization: "Bearer " + JSON.parse(refreshed.body).access_token}});
		const bare = await fetch(API + "/api/v1/users/me", {credentials: "include"});
		return {login: login.status, refreshed: refreshed.status, me: me.status, bare: bare.status, cookie: document.cookie,
			leaked: "refresh_token" in tokens || "refresh_token" in JSON.parse(refreshed.body)};`)
	require.Equal(t, map[string]any{"login": 200.0, "refreshed": 200.0, "me": 200.0, "bare": 401.0, "cookie": "", "leaked": false}, in)
	require.Equal(t, 2, sessions())

	for origin, answer := range map[string]string{evil: "permission_denied", far: "invalid_refresh_token"} {
		out := script(origin, signIn+`
			const refresh = await call("/auth/refresh"), logout = await call("/auth/logout");
			await call("/auth/refresh", null, {mode: "no-cors"});
			await call("/auth/logout", null, {mode: "no-cors"});
			await call("/auth/logout", null, {mode: "no-cors", body: new URLSearchParams({a: "b"})});
			return {login: login.status, refresh: refresh.status, logout: logout.status};`)
		require.Equal(t, map[string]any{"login": 0.0, "refresh": 0.0, "logout": 0.0}, out, origin)

		// A form needs no permission to be sent, and its answer is shown: the cookie came, or did not come, and was refused.
		x.eval(`(() => { const f = document.createElement("form"); f.method = "POST"; f.action = "` + api + `/api/v1/auth/refresh";
			document.body.append(f); f.submit(); })()`)
		x.do(chromedp.WaitVisible("pre"))
		require.Contains(t, x.eval("document.body.innerText"), answer, origin)
		require.Equal(t, 2, sessions(), origin)
	}
	refusals := root.GET(t, "/audit-events?action=session.reuse").Want(t, 200)
	require.Empty(t, refusals.Get(t, "data"))

	out := script(app, `
		const again = await call("/auth/refresh"), logout = await call("/auth/logout"), after = await call("/auth/refresh");
		return {again: again.status, logout: logout.status, after: after.status, code: JSON.parse(after.body).code};`)
	require.Equal(t, map[string]any{"again": 200.0, "logout": 204.0, "after": 401.0, "code": "invalid_refresh_token"}, out)
	require.Equal(t, 1, sessions())
}

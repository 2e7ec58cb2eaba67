//go:build browser

package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

const clientFolder = "../../../api/typescript"

// built makes the client, once: its files must not change under a page.
var built = sync.OnceValue(func() error {
	out, err := exec.Command("../../../scripts/typescript", "build").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the TypeScript client: %w\n%s", err, out)
	}
	return nil
})

// exampleOf serves the TypeScript client's example on an origin of its own, for a service at api.
func exampleOf(t *testing.T, api string) (page string) {
	t.Helper()
	require.NoError(t, built())
	files := httptest.NewServer(http.FileServer(http.Dir(clientFolder)))
	t.Cleanup(files.Close)
	return strings.Replace(files.URL, "127.0.0.1", "localhost", 1) + "/example/?api=" + url.QueryEscape(api)
}

// meeting is a proxy before the service that lets refreshes through in groups: each waits until so many are there, so
// that they carry the same cookie.
type meeting struct {
	*httptest.Server
	mu      sync.Mutex
	size    int
	waiting []chan struct{}
	cookies []string // of the refreshes since the last call of of
}

func meet(t *testing.T, s *apptest.Service) *meeting {
	t.Helper()
	target, err := url.Parse(s.Base())
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	m := &meeting{size: 1}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/api/v1/auth/refresh" {
			m.arrive(r)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// of sets the size of a group and forgets the refreshes so far.
func (m *meeting) of(size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size, m.cookies = size, nil
}

func (m *meeting) presented() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cookies
}

func (m *meeting) arrive(r *http.Request) {
	m.mu.Lock()
	m.cookies = append(m.cookies, r.Header.Get("Cookie"))
	if len(m.waiting)+1 >= m.size {
		for _, w := range m.waiting {
			close(w)
		}
		m.waiting = nil
		m.mu.Unlock()
		return
	}
	w := make(chan struct{})
	m.waiting = append(m.waiting, w)
	m.mu.Unlock()
	select {
	case <-w:
	case <-r.Context().Done():
	}
}

// another opens a second tab of the same browser: the same cookies.
func (x *tab) another() *tab {
	x.Helper()
	ctx, stop := chromedp.NewContext(x.ctx)
	x.Cleanup(stop)
	return &tab{x.T, ctx}
}

// tells waits until the page's status line has this text.
func (x *tab) tells(text string) {
	x.Helper()
	x.until("document.getElementById('status')?.textContent === " + quoted(text))
}

func (x *tab) until(condition string) {
	x.Helper()
	x.do(chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingInterval(20*time.Millisecond)))
}

func quoted(text string) string { return "'" + text + "'" }

// One person and the example of the TypeScript client: she signs up, reads the code in the development mailbox, signs
// in, opens a second tab, comes back when the access tokens of both have ended, and signs out.
func TestTypeScriptClientInTwoTabs(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_SMTP_URL="))
	front := meet(t, s)
	api := strings.Replace(front.URL, "127.0.0.1", "localhost", 1)
	page := exampleOf(t, api)
	const email = "grace@browser.test"

	first := open(t)
	first.do(chromedp.Navigate(page))
	first.tells("You are signed out.")
	first.do(chromedp.SendKeys("#new-email", email), chromedp.SendKeys("#new-password", "short"), chromedp.Click("#register button"))
	first.tells("Use at least 12 characters; several unrelated words are good.")
	first.do(chromedp.Evaluate[chromedp.Void]("document.getElementById('new-password').value = ''"),
		chromedp.SendKeys("#new-password", apptest.Password), chromedp.Click("#register button"))
	first.tells("If the address is new here, a code is on its way to it.")

	require.Eventually(t, func() bool {
		return strings.Contains(string(s.With("Accept", "application/json").GET(t, "/dev/mail").Body), email)
	}, patience, 20*time.Millisecond)
	mailbox := first.another()
	mailbox.do(chromedp.Navigate(api+"/dev/mail"), chromedp.Click("main a"), chromedp.WaitVisible("pre"))
	code := regexp.MustCompile(`(?m)^ *(\d{8})\s*$`).FindStringSubmatch(mailbox.eval("document.body.innerText").(string))
	require.NotNil(t, code)
	first.do(chromedp.SendKeys("#code", code[1]), chromedp.Click("#verify button"))
	first.tells("Your address is proven. You can sign in now.")

	first.do(chromedp.SendKeys("#email", email), chromedp.SendKeys("#password", apptest.Password), chromedp.Click("#login button"))
	first.tells("You are signed in.")
	require.Empty(t, first.eval("document.cookie + Object.keys(localStorage) + Object.keys(sessionStorage)"), "what a script could read")
	second := first.another()
	second.do(chromedp.Navigate(page))
	second.tells("You are signed in.")
	isHer := "document.getElementById('me').textContent.includes(" + quoted(email) + ")"
	for _, x := range []*tab{first, second} {
		x.do(chromedp.Click("#who"))
		x.until(isHer)
	}

	// Both tabs' tokens have ended. Each tab calls three times at once, and refreshes once; both present the same cookie.
	s.Clock.Advance(6 * time.Minute)
	front.of(2)
	for _, x := range []*tab{first, second} {
		x.do(chromedp.Evaluate[chromedp.Void]("for (let i = 0; i < 3; i++) document.getElementById('who').click()"))
	}
	for _, x := range []*tab{first, second} {
		x.until(isHer)
		x.tells("You are signed in.")
	}
	presented := front.presented()
	require.Len(t, presented, 2)
	require.Contains(t, presented[0], "ums_refresh=")
	require.Equal(t, presented[0], presented[1])
	require.Empty(t, s.Admin(t).GET(t, "/audit-events?action=session.reuse").Want(t, 200).Get(t, "data"))

	// One signs out; the other learns it at its next call.
	front.of(1)
	first.do(chromedp.Click("#logout"))
	first.tells("You are signed out.")
	second.do(chromedp.Click("#who"))
	second.tells("You are signed out.")
	first.do(chromedp.Navigate(page))
	first.tells("You are signed out.")
}

// Two tabs that keep the refresh token in localStorage take turns: each exchanges the newest one, and the last is kept.
func TestTypeScriptClientSharesAStoreBetweenTabs(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	const email = "grace@browser.test"
	s.Person(t, s.Admin(t), email)
	page := exampleOf(t, named(s))
	first := open(t)
	second := first.another()
	for _, x := range []*tab{first, second} {
		x.do(chromedp.Navigate(page))
		x.tells("You are signed out.")
		x.eval(`import("/dist/index.js").then(({createClient, webStore}) => {
			window.ums = createClient({baseUrl: "` + named(s) + `", store: webStore(localStorage)});
			window.me = () => ums.GET("/api/v1/users/me").then(({data}) => data?.email); })`)
	}
	const signIn = `ums.POST("/api/v1/auth/login", {body: {email: "` + email + `", password: "` + apptest.Password + `"}}).then(me)`
	require.Equal(t, email, first.eval(signIn))
	require.Equal(t, true, second.eval("ums.session.resume()"))

	for range 2 { // the second time with what the first has left
		s.Clock.Advance(6 * time.Minute)
		for _, x := range []*tab{first, second} {
			x.eval("void (window.both = Promise.all([me(), me()]))")
		}
		for _, x := range []*tab{first, second} {
			require.Equal(t, []any{email, email}, x.eval("both"))
		}
	}
	require.Empty(t, s.Admin(t).GET(t, "/audit-events?action=session.reuse").Want(t, 200).Get(t, "data"))
	require.Equal(t, email, second.eval(`ums.POST("/api/v1/auth/reauthenticate", {body: {password: "`+apptest.Password+`"}}).then(me)`))
	second.eval(`ums.POST("/api/v1/auth/logout")`)
	first.until(`localStorage.getItem("ums_refresh_token") === null`) // tabs see each other's writes a little later
	require.Nil(t, first.eval("me()"))
	require.Nil(t, first.eval("ums.session.id"))
}

//go:build browser

package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// A page of the service works under its own Content-Security-Policy, and calls its own origin.
func TestPageBehindAMailedLinkRunsInABrowser(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	x := open(t)
	x.do(chromedp.Navigate(named(s)+"/accept-invitation#token=x"), chromedp.WaitVisible("#form"),
		chromedp.SendKeys("#password", apptest.Password), chromedp.Click("#submit"), chromedp.WaitVisible("#alert"))
	require.Equal(t, named(s)+"/accept-invitation", x.eval("location.href"), "the token has left the address bar")
}

// From the mail to a new password: a weak one is explained beside its field and keeps the link, a good one signs in.
func TestPasswordIsResetInABrowser(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	const email, next = "ada@browser.test", "quiet otters juggle ripe plums"
	s.Person(t, s.Admin(t), email)
	s.POST(t, "/auth/password/forgot", map[string]any{"email": email}).Want(t, 202)
	x := open(t)
	x.do(chromedp.Navigate(named(s)+"/reset-password#token="+s.Mail.WaitFor(t, email, 1).Token()), chromedp.WaitVisible("#form"),
		chromedp.SendKeys("#password", "short"), chromedp.Click("#submit"), chromedp.WaitVisible("#password-error"))
	require.NotEmpty(t, x.eval("document.getElementById('password-error').textContent"))
	s.SignIn(t, email, apptest.Password)
	x.do(chromedp.Evaluate[chromedp.Void]("document.getElementById('password').value = ''"),
		chromedp.SendKeys("#password", next), chromedp.Click("#submit"), chromedp.WaitVisible("#status"))
	require.Equal(t, named(s)+"/reset-password", x.eval("location.href"))
	s.SignIn(t, email, next)
}

// A magic link does nothing before the button; then the browser holds a cookie that no script reads and that refreshes.
func TestMagicLinkSignsInABrowser(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_MAGIC_LINK=true"))
	const email = "ada@browser.test"
	s.Person(t, s.Admin(t), email)
	s.POST(t, "/auth/magic-link", map[string]any{"email": email}).Want(t, 202)
	x := open(t)
	x.do(chromedp.Navigate(named(s)+"/magic-link#token="+s.Mail.WaitFor(t, email, 1).Token()), chromedp.WaitVisible("#form"))
	const refresh = `fetch("/api/v1/auth/refresh", {method: "POST"}).then((r) => r.status)`
	require.EqualValues(t, 401, x.eval(refresh))
	x.do(chromedp.Click("#submit"), chromedp.WaitVisible("#status"))
	require.Empty(t, x.eval("document.cookie"))
	require.EqualValues(t, 200, x.eval(refresh))
}

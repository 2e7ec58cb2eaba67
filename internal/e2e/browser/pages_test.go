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

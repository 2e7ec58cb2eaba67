//go:build browser

package browser

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// patience bounds one test: a page that never gets where it should must not hold up the others.
const patience = 5 * time.Minute

// names under which a Chromium is installed, in the order in which they are tried.
var names = []string{
	"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
}

func find(t *testing.T) string {
	t.Helper()
	for _, name := range append([]string{os.Getenv("UMS_TEST_CHROMIUM")}, names...) {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.FailNow(t, "no browser", "These tests need Chromium or Google Chrome: install one (apt-get install chromium), "+
		"or name it in UMS_TEST_CHROMIUM. Looked for: %s", strings.Join(names, ", "))
	return ""
}

// tab is one tab of a browser with a profile of its own, which ends with the test.
type tab struct {
	*testing.T
	ctx context.Context
}

// open starts a headless Chromium that calls nobody by itself.
func open(t *testing.T, more ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(find(t)), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)
	ctx, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), append(options, more...)...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // ends the browser and waits for it, so that the profile can be removed
	require.NoError(t, chromedp.Do(ctx), "start the browser")
	bounded, stop := context.WithTimeout(ctx, patience)
	t.Cleanup(stop)
	return &tab{t, bounded}
}

// do runs actions one after the other.
func (x *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	x.Helper()
	if err := chromedp.Do(x.ctx, actions...); err != nil {
		page, _ := chromedp.Run(context.WithoutCancel(x.ctx), chromedp.Evaluate[string]("document.body.innerText"))
		require.NoError(x, err, "the page says:\n%s", page)
	}
}

// eval runs a script in the page, awaits the promise that it may give, and returns its value as JSON would decode it.
func (x *tab) eval(script string) any {
	x.Helper()
	v, err := chromedp.Run(x.ctx, chromedp.Evaluate[any](script, chromedp.EvalAwaitPromise))
	require.NoError(x, err, script)
	return v
}

// authenticator puts a virtual authenticator into the tab. It keeps discoverable credentials and answers every prompt
// at once, its user verified.
func (x *tab) authenticator() {
	x.Helper()
	_, err := chromedp.Call(x.ctx, webauthn.Enable, webauthn.EnableParams{})
	require.NoError(x, err)
	_, err = chromedp.Call(x.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		},
	})
	require.NoError(x, err)
}

// named is where the browser reaches the service: a host name, since cookies and passkeys belong to names.
func named(s *apptest.Service) string { return strings.Replace(s.Base(), "127.0.0.1", "localhost", 1) }

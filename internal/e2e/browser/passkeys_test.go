//go:build browser

package browser

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// signed waits until the page says so, and returns the assurance that it shows.
func (x *tab) signed(status string) (level, methods any) {
	x.Helper()
	x.says(status)
	return x.eval(`document.getElementById("level").textContent`), x.eval(`document.getElementById("methods").textContent`)
}

// says waits until the page's status is this.
func (x *tab) says(status string) {
	x.Helper()
	said, err := chromedp.Run(x.ctx, chromedp.PollFunction[string](
		`() => !document.getElementById("alert").hidden ? "alert: " + document.getElementById("alert").textContent :
			!document.querySelector("[aria-disabled]") && document.getElementById("status").textContent !== "One moment …" && document.getElementById("status").textContent`))
	require.NoError(x, err)
	require.Equal(x, status, said)
}

// A real browser makes passkeys from our options, and signs in with them: by itself, and after a password.
func TestPasskeysInARealBrowser(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	s.Person(t, s.Admin(t), "ada@browser.test")
	x := open(t)
	x.authenticator()
	x.do(chromedp.Navigate(named(s)+"/dev/passkeys"), chromedp.WaitVisible("#password-form"),
		chromedp.SendKeys("#email", "ada@browser.test"), chromedp.SendKeys("#password", apptest.Password), chromedp.Click("#password-login"))
	level, methods := x.signed("Signed in with the password.")
	require.Equal(t, "aal1", level)
	require.Equal(t, "pwd", methods)
	x.do(chromedp.SendKeys("#name", "Ada's laptop"), chromedp.Click("#register"))
	x.says("Added.")
	require.Contains(t, x.eval(`document.getElementById("list").textContent`), "Ada's laptop")
	require.NotEmpty(t, s.Mail.WaitFor(t, "ada@browser.test", 1))

	x.do(chromedp.Click("#logout"))
	x.says("Signed out.")
	x.do(chromedp.Click("#login"))
	level, methods = x.signed("Signed in with a passkey.")
	require.Equal(t, "aal2", level)
	require.Equal(t, "hwk, user, mfa", methods)
	require.Equal(t, "ada@browser.test", x.eval(`document.getElementById("account").textContent`), "nobody typed it")

	x.do(chromedp.Click("#logout"))
	x.says("Signed out.")
	x.do(chromedp.SendKeys("#password", apptest.Password), chromedp.Click("#password-login"))
	level, methods = x.signed("Signed in with the password.")
	require.Equal(t, "aal2", level)
	require.Equal(t, "pwd, hwk, user, mfa", methods)

	// The authenticator has the account's passkey already, and says so.
	x.do(chromedp.Click("#register"))
	said, err := chromedp.Run(x.ctx, chromedp.PollFunction[string](
		`() => !document.getElementById("alert").hidden && document.getElementById("alert").textContent`))
	require.NoError(t, err)
	require.NotEmpty(t, said)

	// What is too old for a removal, the passkey proves again.
	db, err := pgx.Connect(t.Context(), s.DSN)
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), "UPDATE sessions SET auth_time = now() - interval '1 hour'")
	require.NoError(t, err)
	require.NoError(t, db.Close(t.Context()))
	s.Clock.Advance(2 * time.Second) // what the service remembers of a session
	x.do(chromedp.Click("#list button"))
	x.says("Removed.")
	require.Contains(t, x.eval(`document.getElementById("list").textContent`), "None yet.")
	again := s.Admin(t).GET(t, "/audit-events?action=auth.reauthenticate").Want(t, 200)
	require.Len(t, again.Get(t, "data"), 1)
	require.Empty(t, x.eval(`performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith(location.origin))`), "no outside request")
}

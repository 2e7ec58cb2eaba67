//go:build browser

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// Every page that the service shows people works for everybody: on a telephone and a desk, light and dark, by keyboard,
// with a screen reader, and without a request to anybody else.

// page is one that people see, in the state in which it is looked at.
type page struct {
	name   string
	open   func(x *tab) // from a new tab to that state
	except []string     // rules of axe-core that do not count here
	light  bool         // it is the same in the dark
}

// axe is the source of axe-core, which finds what stands in the way of people who see or use a page differently.
var axe = sync.OnceValues(func() (string, error) {
	pins, err := os.ReadFile("../../../scripts/versions.env")
	if err != nil {
		return "", err
	}
	pin := regexp.MustCompile(`(?m)^AXE_VERSION=(.+)$`).FindSubmatch(pins)
	if pin == nil {
		return "", fmt.Errorf("scripts/versions.env pins no AXE_VERSION")
	}
	var errs strings.Builder
	install := exec.Command("../../../scripts/npm-file", "axe-core", string(pin[1]), "axe-core/axe.min.js")
	install.Stderr = &errs
	path, err := install.Output()
	if err != nil {
		return "", fmt.Errorf("axe-core comes from npm: %w\n%s", err, errs.String())
	}
	source, err := os.ReadFile(strings.TrimSpace(string(path)))
	return string(source), err
})

// requests are the addresses that a tab has asked for.
type requests struct {
	mu   sync.Mutex
	urls []string
}

func (x *tab) watch() *requests {
	x.Helper()
	r := &requests{}
	require.NoError(x, chromedp.Listen(x.ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.urls = append(r.urls, e.Request.URL)
		}
	}))
	_, err := chromedp.Call(x.ctx, network.Enable, network.EnableParams{})
	require.NoError(x, err)
	return r
}

func (r *requests) elsewhere(here ...string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.urls {
		origin := strings.TrimPrefix(u, "blob:")
		if !slices.ContainsFunc(here, func(h string) bool { return strings.HasPrefix(origin, h+"/") }) && u != "about:blank" && !strings.HasPrefix(u, "data:") {
			found = append(found, u)
		}
	}
	return found
}

// scheme makes the tab prefer light or dark.
func (x *tab) scheme(name string) {
	x.Helper()
	_, err := chromedp.Call(x.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	require.NoError(x, err)
}

// picture keeps what the tab shows in the folder UMS_TEST_SCREENSHOTS, for whoever wants to look.
func (x *tab) picture(name string) {
	x.Helper()
	dir := os.Getenv("UMS_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(x.ctx, chromedp.CaptureScreenshot())
	require.NoError(x, err)
	require.NoError(x, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

// violations runs axe-core with the rules of WCAG 2.2 AA and its own best practices.
func (x *tab) violations(except ...string) string {
	x.Helper()
	off := map[string]any{}
	for _, rule := range except {
		off[rule] = map[string]bool{"enabled": false}
	}
	rules, err := json.Marshal(off)
	require.NoError(x, err)
	source, err := axe()
	require.NoError(x, err)
	x.do(chromedp.Evaluate[chromedp.Void](source))
	found := x.eval(`axe.run(document, {iframes: false, rules: ` + string(rules) + `, runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then((r) => JSON.stringify(r.violations.map((v) => ({rule: v.id, help: v.help, nodes: v.nodes.slice(0, 5).map((n) =>
			n.target.join(" ") + " " + n.any.concat(n.all).map((c) => c.message).join("; "))})), null, 1))`)
	text, _ := found.(string)
	return text
}

// shows waits until something can be seen. It asks the page alone, which on a long one is much quicker than chromedp's way.
func (x *tab) shows(selector string) {
	x.Helper()
	require.Eventually(x, func() bool { // an error is that of a page which is just going
		seen, err := chromedp.Run(x.ctx, chromedp.Evaluate[bool](`!!document.querySelector("`+selector+`")?.getClientRects().length`))
		return err == nil && seen
	}, patience, 20*time.Millisecond, selector)
}

// loaded waits until the page and the frames in it are there.
func (x *tab) loaded() {
	x.Helper()
	require.Eventually(x, func() bool {
		done, err := chromedp.Run(x.ctx, chromedp.Evaluate[bool](`document.readyState === "complete"`))
		return err == nil && done
	}, patience, 20*time.Millisecond)
}

// focus walks through the page by Tab and returns what has it, with a fault for each thing whose focus cannot be seen.
func (x *tab) focus() (names, faults []string) {
	x.Helper()
	all, _ := x.eval(`[...document.querySelectorAll("a[href], button, input, select, textarea, summary, iframe, [tabindex]")]
		.filter((e) => e.tabIndex >= 0 && !e.disabled && e.getClientRects().length && getComputedStyle(e).visibility === "visible").length`).(float64)
	x.do(chromedp.Evaluate[chromedp.Void](`document.activeElement?.blur(); window.scrollTo(0, 0)`))
	for range min(int(all), 40) { // more are of a kind with these
		x.do(chromedp.KeyEvent("\t"))
		out, _ := x.eval(`(() => { const e = document.activeElement, s = getComputedStyle(e);
			return JSON.stringify({name: e.id || e.textContent.trim().slice(0, 30) || e.tagName, tag: e.tagName,
				seen: e.matches("iframe") || (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0)}); })()`).(string)
		var at struct {
			Name, Tag string
			Seen      bool
		}
		require.NoError(x, json.Unmarshal([]byte(out), &at))
		if at.Tag == "BODY" {
			break
		}
		names = append(names, at.Name)
		if !at.Seen {
			faults = append(faults, at.Name)
		}
	}
	return names, faults
}

func TestPagesAreForEverybody(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_SMTP_URL=", "UMS_MAGIC_LINK=true"))
	base := named(s)
	mails := mailed(t, s)
	mail := serving(t, string(s.GET(t, "/dev/mail/"+mails[0]+"/html").Want(t, 200).Body))
	at := func(path string, wait string) func(*tab) {
		return func(x *tab) {
			x.do(chromedp.Navigate(base + path))
			x.shows(wait)
		}
	}
	list := []page{
		{name: "mailbox", open: at("/dev/mail", ".mails")},
		{name: "mail", open: at("/dev/mail/"+mails[0], "pre")},
		{name: "mail-html", open: func(x *tab) { // in its frame no script runs, and so no axe: this is what a mail program shows
			x.do(chromedp.Navigate(mail))
			x.shows("a")
		}, except: []string{"landmark-one-main", "page-has-heading-one", "region"}}, // a mail is part of another program's page
		{name: "mail-missing", open: at("/dev/mail/0", ".notice")},
		{name: "problem", open: at("/problems/role_in_use", "main")},
		{name: "passkeys", open: at("/dev/passkeys", "#password-form")},
		{name: "reference", open: at("/docs", "h1"), except: []string{"heading-order"}, light: true}, // Redoc goes from h2 to h5
	}
	for _, name := range []string{"verify-email", "accept-invitation", "reset-password", "magic-link", "confirm-email-change", "undo-email-change"} {
		list = append(list, page{name: name, open: at("/"+name+"#token=x", "#form")},
			page{name: name + "-incomplete", open: at("/"+name, "#alert")},
			page{name: name + "-refused", open: func(x *tab) {
				x.do(chromedp.Navigate(base + "/" + name + "#token=x"))
				x.shows("#form")
				if x.eval(`!!document.getElementById("password")`) == true {
					x.do(chromedp.SendKeys("#password", apptest.Password))
				}
				x.do(chromedp.Click("#submit"))
				x.shows("#alert")
			}})
	}
	list = append(list, page{name: "reset-password-empty", open: func(x *tab) {
		x.do(chromedp.Navigate(base+"/reset-password#token=x"), chromedp.WaitVisible("#form"), chromedp.Click("#submit"))
		x.shows("#password-error")
	}})
	for _, width := range []int64{360, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d pixels, %s", width, scheme), func(t *testing.T) {
				t.Parallel()
				x := open(t)
				asked := x.watch()
				x.do(chromedp.EmulateViewport(width, 800))
				x.scheme(scheme)
				for _, p := range list {
					if p.light && scheme == "dark" {
						continue
					}
					t.Run(p.name, func(t *testing.T) {
						x := &tab{t, x.ctx}
						x.do(chromedp.Navigate("about:blank")) // another fragment alone would load nothing
						p.open(x)
						x.picture(fmt.Sprintf("%s-%d-%s", p.name, width, scheme))
						if got, _ := x.eval(`document.documentElement.scrollWidth`).(float64); got > float64(width) {
							t.Errorf("it scrolls sideways: %v pixels", got)
						}
						if found := x.violations(p.except...); found != "[]" {
							t.Error(found)
						}
						if names, faults := x.focus(); len(faults) > 0 {
							t.Errorf("the focus cannot be seen on %q of %q", faults, names)
						}
					})
				}
				require.Empty(t, asked.elsewhere(base, mail), "requests to others")
			})
		}
	}
}

// By keyboard alone: a mail is opened in the mailbox, its link followed from the text or from the HTML part, and the page
// behind it does what the mail is for.
func TestMailedLinkIsFollowedByKeyboard(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"text", "html"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Env("UMS_SMTP_URL="))
			mailed(t, s)
			const service = "http://localhost:8080" // as the service calls itself in mails
			x := open(t, chromedp.Flag("host-resolver-rules", "MAP localhost:8080 "+strings.TrimPrefix(s.Base(), "http://")))
			x.do(chromedp.Navigate(service + "/dev/mail"))
			x.shows(".mails a")
			x.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
			x.shows("pre a")
			email, _ := x.eval(`document.querySelector("dd").textContent`).(string)
			steps := map[string]int{"text": 2, "html": 3}[part] // past "All mails", and past the link in the text
			if part == "html" {
				x.loaded() // the part too: before, Tab passes by it
			}
			for range steps {
				x.do(chromedp.KeyEvent("\t"))
			}
			// The part is a process of its own, and a key that comes before the focus is there is lost.
			require.Eventually(t, func() bool {
				if there, err := chromedp.Run(x.ctx, chromedp.Evaluate[bool](`location.pathname === "/verify-email"`)); err != nil || there {
					return there
				}
				return chromedp.Do(x.ctx, chromedp.KeyEvent("\r")) != nil
			}, patience, 200*time.Millisecond)
			x.shows("#form")
			require.Equal(t, service+"/verify-email", x.eval("location.href"))
			x.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent(apptest.Password), chromedp.KeyEvent("\r"))
			x.shows("#status")
			require.Equal(t, "title", x.eval("document.activeElement.id"), "whoever does not see the page is where it says what happened")
			s.SignIn(t, email, apptest.Password)
		})
	}
}

// serving serves one page, at an origin of its own.
func serving(t *testing.T, html string) (origin string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(html))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// mailed has the service write some mails, and returns their ids in the mailbox.
func mailed(t *testing.T, s *apptest.Service) (ids []string) {
	t.Helper()
	for _, name := range []string{"ada", "a.person.with.a.long.address.that.does.not.break"} {
		s.POST(t, "/auth/register", map[string]any{"email": name + "@browser.test", "password": apptest.Password}).Want(t, 202)
	}
	require.Eventually(t, func() bool {
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Base()+"/dev/mail", http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Accept", "application/json")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		var box struct{ Data []struct{ ID string } }
		if json.NewDecoder(resp.Body).Decode(&box) != nil || len(box.Data) < 2 {
			return false
		}
		for _, m := range box.Data {
			ids = append(ids, m.ID)
		}
		return true
	}, patience, 50*time.Millisecond, "mails")
	return ids
}

// TestLookFindsFaults shows the look itself pages that it must not let pass.
func TestLookFindsFaults(t *testing.T) {
	t.Parallel()
	origin := serving(t, `<!doctype html><title>t</title><main><h1>t</h1><p style="color:#999;background:#fff">pale</p><input id=nameless>
		<button style="outline:none">dark</button><p style="width:900px">wide</p><img src="http://far.other.localhost:1/x.png" alt=""></main>`)
	x := open(t)
	asked := x.watch()
	x.do(chromedp.EmulateViewport(360, 800), chromedp.Navigate(origin))
	x.shows("button")
	found := x.violations()
	for _, rule := range []string{"color-contrast", "label", "html-has-lang"} {
		require.Contains(t, found, `"`+rule+`"`)
	}
	names, faults := x.focus()
	require.Equal(t, []string{"nameless", "dark"}, names)
	require.Equal(t, []string{"dark"}, faults)
	require.Greater(t, x.eval(`document.documentElement.scrollWidth`), 360.0)
	require.Len(t, asked.elsewhere(origin), 1)
}

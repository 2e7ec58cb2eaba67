// Package pages serves what a person opens: the pages behind mailed links, while no frontend of the operator's has them
// (UMS_LINK_BASE_URL is empty), and the development mailbox.
//
// The pages are static. A mailed token stands in the URL's fragment, so it never reaches this server by itself: a script
// takes it out of the address bar, keeps it in memory, and posts it when the button is pressed. Link scanners that
// fetch the page, or even run its script, change nothing.
package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

//go:embed assets
var assets embed.FS

var parsed = template.Must(template.ParseFS(assets, "assets/*.html"))

// pagePolicy lets the page load its own script and style, call this origin, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// page is one of the pages behind mailed links.
type page struct {
	Name     string // its path, and which texts and call the script takes
	Title    string
	Lead     string
	New      bool // asks for a new password, not for the account's
	AskName  bool
	Action   string // what the button says
	Password string // the field's label; empty: the token alone is enough
}

var linked = []page{
	{
		Name: "verify-email", Title: "Confirm your e-mail address", Action: "Confirm address", Password: "Password",
		Lead: "Enter the password of your account. It shows that the account is yours as well as the mailbox.",
	},
	{
		Name: "accept-invitation", Title: "Accept your invitation", Action: "Accept invitation", Password: "New password",
		Lead: "Choose a password for your account.", New: true, AskName: true,
	},
	{
		Name: "reset-password", Title: "Choose a new password", Action: "Set password", Password: "New password",
		Lead: "You will be signed out everywhere, and the API keys of your account will be revoked.", New: true,
	},
	{
		Name: "magic-link", Title: "Sign in", Action: "Sign in",
		Lead: "You will be signed in with this browser. If you did not ask for this, close this page.",
	},
	{
		Name: "confirm-email-change", Title: "Confirm your new e-mail address", Action: "Confirm new address",
		Lead: "From now on you sign in with this address, and mails go to it. If you did not ask for this, close this page: you would give your address to somebody else's account.",
	},
	{
		Name: "undo-email-change", Title: "Keep your e-mail address", Action: "Keep this address",
		Lead: "Your account keeps the address that this mail was sent to, or gets it back. All sessions of the account end.",
	},
}

// Mount adds the pages behind mailed links and their two assets, for GET and HEAD.
func Mount(r chi.Router) {
	for _, p := range linked {
		var body bytes.Buffer
		if err := parsed.ExecuteTemplate(&body, "link.html", p); err != nil {
			panic(fmt.Sprintf("page %s: %v", p.Name, err)) // embedded and constant: a test renders it
		}
		get(r, "/"+p.Name, func(w http.ResponseWriter, req *http.Request) { serveHTML(w, req, pagePolicy, body.Bytes()) })
	}
	get(r, "/pages/pages.css", asset("pages.css", "text/css; charset=utf-8"))
	get(r, "/pages/link.js", asset("link.js", "text/javascript; charset=utf-8"))
}

func get(r chi.Router, path string, h http.HandlerFunc) {
	r.Get(path, h)
	r.Head(path, h)
}

// serveHTML answers with a page that is not stored anywhere and not framed by anyone.
func serveHTML(w http.ResponseWriter, r *http.Request, policy string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// asset serves an embedded file that browsers keep for five minutes and then revalidate.
func asset(name, contentType string) http.HandlerFunc {
	body, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // embedded: it is there or the program does not build
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("ETag", etag)
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

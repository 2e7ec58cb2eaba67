package pages

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/mail"
)

const (
	mailboxPath = "/dev/mail"
	// The mailbox frames the HTML part of a mail, which comes from this origin but is sandboxed out of it.
	mailboxPolicy = "default-src 'none'; style-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	// A mail's HTML gets an opaque origin without scripts; a click on a link opens it in the whole window.
	mailPolicy = "sandbox allow-top-navigation-by-user-activation; default-src 'none'; style-src 'unsafe-inline'; img-src data:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

// DevMail shows the development mailbox at /dev/mail, one mail at /dev/mail/{id} and its HTML part at
// /dev/mail/{id}/html, as pages or, with Accept: application/json, as data: {"data": [newest first]}.
// The mails hold live tokens and nobody is asked for a credential: it belongs on a loopback listener in development.
func DevMail(box *mail.Mailbox, problems *problem.Writer) http.HandlerFunc {
	style := asset("pages.css", "text/css; charset=utf-8")
	m := mailbox{box, problems}
	return func(w http.ResponseWriter, r *http.Request) {
		rest := strings.Trim(strings.TrimPrefix(r.URL.Path, mailboxPath), "/")
		name, part, _ := strings.Cut(rest, "/")
		switch rest {
		case "":
			m.list(w, r)
		case "pages.css":
			style(w, r)
		default:
			m.one(w, r, name, part)
		}
	}
}

type mailbox struct {
	box      *mail.Mailbox
	problems *problem.Writer
}

// view is what the mailbox's template shows.
type view struct {
	Mails   []shownMail
	Mail    *shownMail
	Missing bool
	Kept    int
}

type shownMail struct {
	mail.Stored
	Parts []textPart
}

// Human is the time as people read it.
func (m shownMail) Human() string { return m.CreatedAt.Local().Format("2006-01-02 15:04:05") }

// Machine is the time for the datetime attribute.
func (m shownMail) Machine() string { return m.CreatedAt.Format(time.RFC3339) }

// textPart is a stretch of a mail's text, or a link in it.
type textPart struct {
	Text string
	Link bool
}

func (b mailbox) list(w http.ResponseWriter, r *http.Request) {
	mails, err := b.box.List(r.Context())
	if err != nil {
		b.problems.Write(w, r, err)
		return
	}
	if wantsJSON(w, r) {
		writeJSON(w, map[string]any{"data": mails})
		return
	}
	v := view{}
	for _, m := range mails {
		v.Mails = append(v.Mails, shownMail{Stored: m})
	}
	b.show(w, r, v)
}

func (b mailbox) one(w http.ResponseWriter, r *http.Request, name, part string) {
	asJSON := wantsJSON(w, r)
	i, ok := id.Parse(name)
	m, err := mail.Stored{}, mail.ErrNoMessage
	if ok && (part == "" || part == "html") {
		m, err = b.box.Get(i)
	}
	switch {
	case errors.Is(err, mail.ErrNoMessage) && (asJSON || part != ""):
		b.problems.Write(w, r, fault.ErrNotFound)
	case errors.Is(err, mail.ErrNoMessage):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", mailboxPolicy)
		w.WriteHeader(http.StatusNotFound)
		_ = parsed.ExecuteTemplate(w, "mailbox.html", view{Missing: true, Kept: mail.Kept}) // the client may be gone
	case err != nil:
		b.problems.Write(w, r, err)
	case part == "html":
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
		// Links leave the frame: the pages behind them refuse to be framed.
		serveHTML(w, r, mailPolicy, []byte(strings.Replace(m.HTML, "<head>", `<head><base target="_top">`, 1)))
	case asJSON:
		writeJSON(w, m)
	default:
		b.show(w, r, view{Mail: &shownMail{m, linkify(m.Text)}})
	}
}

var link = regexp.MustCompile(`https?://[^\s<>"]+`)

// linkify splits a text at its links.
func linkify(text string) []textPart {
	var parts []textPart
	end := 0
	for _, at := range link.FindAllStringIndex(text, -1) {
		parts = append(parts, textPart{text[end:at[0]], false}, textPart{text[at[0]:at[1]], true})
		end = at[1]
	}
	return append(parts, textPart{text[end:], false})
}

// wantsJSON decides by the Accept header alone: browsers never name application/json.
func wantsJSON(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Vary", "Accept")
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

func (b mailbox) show(w http.ResponseWriter, r *http.Request, v view) {
	var body bytes.Buffer
	if err := parsed.ExecuteTemplate(&body, "mailbox.html", v); err != nil {
		b.problems.Write(w, r, err)
		return
	}
	serveHTML(w, r, mailboxPolicy, body.Bytes())
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) //nolint:errchkjson // strings and times always encode; the client may be gone
}

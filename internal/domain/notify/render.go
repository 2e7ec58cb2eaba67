package notify

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"maps"
	"strings"
	texttemplate "text/template"
)

//go:embed templates
var templateFiles embed.FS

// rendered is a mail's subject and its two bodies.
type rendered struct{ subject, text, html string }

type parsed struct {
	text *texttemplate.Template
	html *htmltemplate.Template
}

// templates holds every template in every language, by "name.language".
type templates map[string]parsed

var names = []string{
	"verify_email",
	"already_registered",
	"invitation",
	"password_reset",
	"password_recovered",
	"password_changed",
	"magic_link",
	"session_reuse",
	"new_sign_in",
	"passkey",
	"second_factor",
	"recovery_code_used",
	"email_corrected_old",
	"email_corrected_new",
	"email_change_confirm",
	"email_change_notice",
	"email_change_taken",
	"account_deleted",
	"key_leaked",
	"key_expires",
	"key_secret_in_use",
}

// parse reads the embedded templates. A template that lacks a language is an error at the start, not at the first mail.
func parse() (templates, error) {
	t := templates{}
	for _, l := range languages {
		for _, name := range names {
			key := name + "." + string(l)
			file := "templates/" + key
			text, err := texttemplate.New("layout.txt").Option("missingkey=error").
				ParseFS(templateFiles, "templates/layout.txt", "templates/phrases."+string(l)+".txt", file+".txt")
			if err != nil {
				return nil, fmt.Errorf("mail template %s: %w", key, err)
			}
			html, err := htmltemplate.New("layout.html").Option("missingkey=error").
				ParseFS(templateFiles, "templates/layout.html", "templates/phrases."+string(l)+".txt", file+".html")
			if err != nil {
				return nil, fmt.Errorf("mail template %s: %w", key, err)
			}
			t[key] = parsed{text, html}
		}
	}
	return t, nil
}

// render fills a template. A variable that it names and that is not there is an error.
func (t templates) render(name string, l language, product string, values map[string]string) (rendered, error) {
	var r rendered
	p, ok := t[name+"."+string(l)]
	if !ok {
		return r, fmt.Errorf("there is no mail template %s.%s", name, l)
	}
	data := maps.Clone(values)
	data["product"], data["language"] = product, string(l)
	var subject, text, html strings.Builder
	if err := p.text.ExecuteTemplate(&subject, "subject", data); err != nil {
		return r, fmt.Errorf("render the subject: %w", err)
	}
	r.subject = subject.String()
	if err := p.text.Execute(&text, data); err != nil {
		return r, fmt.Errorf("render the text part: %w", err)
	}
	data["subject"] = r.subject
	if err := p.html.Execute(&html, data); err != nil {
		return r, fmt.Errorf("render the HTML part: %w", err)
	}
	r.text, r.html = text.String(), html.String()
	return r, nil
}

package problem

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"path"
	"strings"

	"github.com/user-management-service/ums/internal/platform/fault"
)

const style = `body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;` +
	`overflow-wrap:anywhere}html{color-scheme:light dark}h1{margin-bottom:0}code{font-size:1.1em}dt{font-weight:600;margin-top:1rem}dd{margin:0}`

var page = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} ({{.Code}})</title>
<style>` + style + `</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<p><code>{{.Code}}</code>, status {{.Status}}</p>
<dl>
<dt>What it means</dt>
<dd>{{.Meaning}}</dd>
<dt>What to do</dt>
<dd>{{.Action}}</dd>
</dl>
</main>
</body>
</html>
`))

// Reference serves GET /problems/{code}: what the code means and what to do, as HTML, or as JSON when the client
// prefers that. An unknown code is a 404 problem.
func (w *Writer) Reference() http.Handler {
	sum := sha256.Sum256([]byte(style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		entry, ok := w.catalogue[path.Base(r.URL.Path)]
		if !ok {
			w.Write(rw, r, fault.ErrNotFound)
			return
		}
		h := rw.Header()
		h.Set("Cache-Control", "public, max-age=3600")
		h.Add("Vary", "Accept")
		var body bytes.Buffer
		var err error
		if wantsJSON(r.Header.Get("Accept")) {
			h.Set("Content-Type", "application/json")
			err = json.NewEncoder(&body).Encode(entry)
		} else {
			h.Set("Content-Type", "text/html; charset=utf-8")
			h.Set("Content-Security-Policy", policy)
			err = page.Execute(&body, entry)
		}
		if err != nil {
			w.Write(rw, r, err)
			return
		}
		_, _ = rw.Write(body.Bytes())
	})
}

// wantsJSON holds when the client names JSON and not HTML, which browsers always name.
func wantsJSON(accept string) bool {
	return strings.Contains(accept, "json") && !strings.Contains(accept, "text/html")
}

// Package reference is the page that shows the contract of this installation: Redoc, embedded, so that it needs no
// outside network, which its Content-Security-Policy proves.
package reference

import (
	"bytes"
	_ "embed"
	"net/http"
	"sync"
)

//go:embed redoc.standalone.js
var redoc []byte

// script is Redoc without the picture that it would load from its maker.
var script = sync.OnceValue(func() []byte {
	return bytes.ReplaceAll(redoc, []byte("https://cdn.redoc.ly/redoc/logo-mini.svg"), []byte("data:,"))
})

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API reference</title>
<style>
body { margin: 0; }
a:focus-visible, button:focus-visible, [tabindex]:focus-visible, input:focus-visible { outline: 3px solid #1f5fbf !important; outline-offset: 2px; }
.collapser { min-width: 24px; min-height: 24px; }
.collapsible li { line-height: 26px; }
img[alt="redocly logo"] { display: none; }
</style>
</head>
<body>
<main>
<redoc spec-url="/openapi.json" hide-loading></redoc>
</main>
<noscript>This page needs JavaScript. The contract itself is at <a href="/openapi.yaml">/openapi.yaml</a>.</noscript>
<script src="/docs/redoc.js"></script>
</body>
</html>
`

const policy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
	"connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Page serves GET /docs.
func Page(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write([]byte(page)) // the client may be gone
}

// Script serves GET /docs/redoc.js.
func Script(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=86400")
	_, _ = w.Write(script()) // the client may be gone
}

package middleware

import "net/http"

// SecureHeaders sets what every answer carries. The defaults fit an API whose answers are data: nothing may be loaded,
// framed, sniffed or stored; a page or a cacheable resource sets its own Content-Security-Policy or Cache-Control.
// HSTS (RFC 6797) is said only when the public URL is https, since a browser ignores it over http.
func SecureHeaders(https bool) func(http.Handler) http.Handler {
	type header struct {
		name  string
		value []string
	}
	headers := []header{
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"X-Frame-Options", []string{"DENY"}},
		{"Referrer-Policy", []string{"no-referrer"}},
		{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
		{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
		{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
		{"Cache-Control", []string{"no-store"}},
	}
	if https {
		headers = append(headers, header{"Strict-Transport-Security", []string{"max-age=31536000; includeSubDomains"}})
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			for i := range headers {
				// The slices are shared by all answers: Set and Del replace them, Add copies, since they are full.
				h[headers[i].name] = headers[i].value
			}
			next.ServeHTTP(w, r)
		})
	}
}

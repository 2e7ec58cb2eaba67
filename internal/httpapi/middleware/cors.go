package middleware

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Origins is a list of web origins, scheme and host with a port where it is not the scheme's own:
// "https://app.example.com, http://localhost:5173". There are no wildcards, since answers carry credentials.
type Origins []string

// UnmarshalText reads Origins from the configuration.
func (o *Origins) UnmarshalText(value []byte) error {
	var out Origins
	for text := range strings.SplitSeq(string(value), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Hostname() == "" ||
			text != u.Scheme+"://"+u.Host || text != strings.ToLower(text) || strings.Contains(u.Host, "*") {
			return fmt.Errorf("%q is no origin: write it like https://app.example.com, in lower case, without a path", text)
		}
		out = append(out, text)
	}
	*o = out
	return nil
}

const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, X-API-Key, Idempotency-Key, If-Match, If-None-Match, X-Request-Id, traceparent"
	corsExposed = "ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, Idempotency-Replayed"
	corsMaxAge  = "7200" // the longest that any browser honours
)

// CORS lets pages of the listed origins call (Fetch, section 3.2), and in development pages of this machine. It answers
// preflights itself: 204, without permission for an origin that is not listed, which the browser takes for a no. Other
// answers get their headers before the handler runs, so that errors carry them too. It stands behind Host.
func CORS(origins Origins, development bool) func(http.Handler) http.Handler {
	if len(origins) == 0 && !development {
		return func(next http.Handler) http.Handler { return next }
	}
	allowed := func(origin string) bool {
		return slices.Contains(origins, origin) || development && Local(origin)
	}
	varies := []string{"Origin"} // shared by all answers: Add copies it, since it is full
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h["Vary"] = varies
			origin := r.Header.Get("Origin")
			if origin == "" {
				next.ServeHTTP(w, r)
				return
			}
			ok := len(r.Header["Origin"]) == 1 && allowed(origin)
			if ok {
				h.Set("Access-Control-Allow-Origin", origin)
				h.Set("Access-Control-Allow-Credentials", "true")
			}
			if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
				if ok {
					h.Set("Access-Control-Expose-Headers", corsExposed)
				}
				next.ServeHTTP(w, r)
				return
			}
			h.Add("Vary", "Access-Control-Request-Method")
			h.Add("Vary", "Access-Control-Request-Headers")
			if ok {
				h.Set("Access-Control-Allow-Methods", corsMethods)
				h.Set("Access-Control-Allow-Headers", corsHeaders)
				h.Set("Access-Control-Max-Age", corsMaxAge)
			}
			RecordFrom(r.Context()).Route = "preflight"
			w.WriteHeader(http.StatusNoContent)
		})
	}
}

// Local holds for http and https origins on localhost or a loopback address, on any port.
func Local(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || origin != u.Scheme+"://"+u.Host {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}

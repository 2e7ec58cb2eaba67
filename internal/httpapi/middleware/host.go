package middleware

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// ErrMisdirected is the fault of a request for a host that this service does not answer for (RFC 9110, 15.5.20).
var ErrMisdirected = fault.New(fault.Misdirected, "misdirected_request", "This service does not answer for that host.")

// Hosts is a list of host names or addresses, without ports: "id.example.com, 192.0.2.7".
type Hosts []string

// UnmarshalText reads Hosts from the configuration.
func (h *Hosts) UnmarshalText(value []byte) error {
	var out Hosts
	for text := range strings.SplitSeq(string(value), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if strings.ContainsAny(text, "/*@ ") || hostname(text) != strings.ToLower(strings.Trim(text, "[].")) {
			return fmt.Errorf("%q is no host: write a name or an address, without scheme, port, path or wildcard", text)
		}
		out = append(out, hostname(text))
	}
	*h = out
	return nil
}

// Host refuses what is not addressed to us: a Host outside the list (empty: the public URL's, and loopback's names and
// addresses), which stops DNS rebinding and poisoned links; TRACE and CONNECT; and paths in a form that a proxy and the
// router may read differently. /livez and /readyz answer to any Host, since probes use addresses.
// A request line in absolute form names the host itself; net/http has put that into r.Host (RFC 9112, section 3.2.2).
func Host(allowed Hosts, publicHost string, problems *problem.Writer) func(http.Handler) http.Handler {
	loopback := len(allowed) == 0
	if loopback {
		allowed = Hosts{hostname(publicHost)}
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodTrace || r.Method == http.MethodConnect:
				w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
				problems.Write(w, r, problem.ErrMethodNotAllowed)
			case !HealthPath(r.URL.Path) && !hostAllowed(r.Host, allowed, loopback):
				problems.Write(w, r, ErrMisdirected)
			case !canonical(r.URL.Path, r.URL.RawPath):
				problems.Write(w, r, fault.ErrNotFound)
			default:
				// What is left of escapes is harmless (users%3Aread); the router must see the decoded path, as it
				// would have seen users:read.
				r.URL.RawPath = ""
				next.ServeHTTP(w, r)
			}
		})
	}
}

// Admit says whether Host lets requests for host pass, for a service whose public URL has publicHost.
func (h Hosts) Admit(host, publicHost string) bool {
	if len(h) == 0 {
		return hostAllowed(host, Hosts{hostname(publicHost)}, true)
	}
	return hostAllowed(host, h, false)
}

// HealthPath says whether a path is for the probes of whoever runs the service, which name no host.
func HealthPath(path string) bool { return path == "/livez" || path == "/readyz" }

func hostAllowed(host string, allowed Hosts, loopback bool) bool {
	name := hostname(host)
	if slices.Contains(allowed, name) {
		return name != ""
	}
	if !loopback {
		return false
	}
	if name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// hostname returns the host of an authority in the form that is compared: without port, brackets and final dot, in
// lower case; "" when it is none.
func hostname(authority string) string {
	host := authority
	switch {
	case strings.HasPrefix(host, "["):
		end := strings.IndexByte(host, ']')
		if rest := host[end+1:]; end < 0 || rest != "" && (rest[0] != ':' || !digits(rest[1:])) {
			return ""
		}
		host = host[1:end]
	case strings.Count(host, ":") == 1:
		name, port, err := net.SplitHostPort(host)
		if err != nil || !digits(port) {
			return ""
		}
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" && len(s) <= 5 }

// canonical says whether a path has one reading only: absolute, no empty or dot segment, no final slash, no backslash
// or control character, valid UTF-8, and nothing of that behind an escape.
func canonical(path, raw string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	if path == "/" {
		return raw == "" || raw == "/"
	}
	segment := 1 // where the current one begins
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if c := path[i]; c < 0x20 || c == 0x7f || c == '\\' {
				return false
			}
			continue
		}
		if s := path[segment:i]; s == "" || s == "." || s == ".." {
			return false
		}
		segment = i + 1
	}
	if !utf8.ValidString(path) {
		return false
	}
	// RawPath is set only when the path was not escaped in the usual way: an escaped slash or dot shows up there.
	for rest := raw; ; {
		i := strings.IndexByte(rest, '%')
		if i < 0 || i+2 >= len(rest) {
			return true
		}
		switch rest[i+1 : i+3] {
		case "2f", "2F", "2e", "2E":
			return false
		}
		rest = rest[i+3:]
	}
}

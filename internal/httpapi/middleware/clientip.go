package middleware

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	chimiddleware "github.com/go-chi/chi/v5/middleware"
)

// Prefixes is a list of networks, from "10.0.0.0/8, 192.0.2.7": a bare address is that address alone.
type Prefixes []netip.Prefix

// UnmarshalText reads Prefixes from the configuration.
func (p *Prefixes) UnmarshalText(value []byte) error {
	var out Prefixes
	for text := range strings.SplitSeq(string(value), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil || addr.Zone() != "" {
				return fmt.Errorf("%q is no network: write it like 10.0.0.0/8 or 192.0.2.7", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix.Addr().Is4In6() {
			return fmt.Errorf("%q is an IPv4-mapped network: write it as IPv4", text)
		}
		out = append(out, prefix.Masked())
	}
	*p = out
	return nil
}

// ClientIP puts the client's address into the record: the peer, or, behind trusted proxies, the right-most address in
// X-Forwarded-For that is not one of them. Other headers are never read. What does not parse means the peer's address,
// never none: limits and audit always have one. Zones are cut, IPv4-mapped addresses are IPv4.
func ClientIP(trusted Prefixes) func(http.Handler) http.Handler {
	if len(trusted) == 0 {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				RecordFrom(r.Context()).ClientIP = peer(r.RemoteAddr)
				next.ServeHTTP(w, r)
			})
		}
	}
	texts := make([]string, len(trusted))
	for i, prefix := range trusted {
		texts[i] = prefix.String()
	}
	forwarded := chimiddleware.ClientIPFromXFF(texts...)
	return func(next http.Handler) http.Handler {
		return forwarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			addr := chimiddleware.GetClientIPAddr(r.Context()).WithZone("")
			if !addr.IsValid() {
				addr = peer(r.RemoteAddr)
			}
			RecordFrom(r.Context()).ClientIP = addr
			next.ServeHTTP(w, r)
		}))
	}
}

// Peer returns the address at the other end of the connection.
func Peer(r *http.Request) netip.Addr { return peer(r.RemoteAddr) }

// Contain says whether a network has the address.
func (p Prefixes) Contain(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(addr.Unmap().WithZone("")) })
}

// peer returns the address of the connection; one without an address, such as a Unix socket's, is 0.0.0.0.
func peer(remote string) netip.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	if addr, err := netip.ParseAddr(remote); err == nil {
		return addr.Unmap().WithZone("")
	}
	return netip.IPv4Unspecified()
}

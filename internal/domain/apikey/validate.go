package apikey

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/token"
)

// The bounds of a key's members.
const (
	MaxName       = 100 // code points
	maxScopes     = 100
	maxAllowedIPs = 100
	MaxRateLimit  = 1_000_000
	MaxRateWindow = 86_400 // seconds
)

var scopePattern = regexp.MustCompile(`^([a-z][a-z0-9_-]{0,62}:([a-z][a-z0-9_-]{0,62}|\*)|\*)$`)

func checkName(v *fault.Validation, name string) {
	switch n := utf8.RuneCountInString(name); {
	case n > MaxName:
		v.Add("/name", "too_long", "Use at most 100 characters.")
	case strings.TrimSpace(name) == "":
		v.Add("/name", "required", "Give the key a name by which you will know it.")
	case strings.ContainsFunc(name, unicode.IsControl):
		v.Add("/name", "control_character", "Leave out control characters and line breaks.")
	}
}

// checkScopes returns scopes sorted and without repetitions. Whether they are registered is known in the transaction.
func checkScopes(v *fault.Validation, scopes []string) []string {
	switch {
	case len(scopes) == 0:
		v.Add("/scopes", "too_few", "Give at least one permission.")
	case len(scopes) > maxScopes:
		v.Add("/scopes", "too_many", "Use at most 100 scopes; a wildcard holds more.")
		return nil
	}
	for i, s := range scopes {
		if !scopePattern.MatchString(s) {
			v.Add(fmt.Sprintf("/scopes/%d", i), "unknown_permission", "Use a registered permission, resource:* or *.")
		}
	}
	out := slices.Clone(scopes)
	slices.Sort(out)
	return slices.Compact(out)
}

// collect adds the faults of a validation to v. What is another error comes back.
func collect(v *fault.Validation, err error) error {
	if !errors.Is(err, fault.ErrValidation) {
		return err
	}
	for _, f := range fault.As(err).Fields {
		v.Add(f.Pointer, f.Code, f.Detail)
	}
	return nil
}

// checkNetworks returns the networks in their one spelling, sorted: mapped IPv4 as IPv4, a single address as a network
// of its own. No network at all is nil: from anywhere.
func checkNetworks(v *fault.Validation, texts []string) []netip.Prefix {
	if len(texts) > maxAllowedIPs {
		v.Add("/allowed_ips", "too_many", "Use at most 100 networks.")
		return nil
	}
	var out []netip.Prefix
	for i, text := range texts {
		p, code, detail := parseNetwork(text)
		if code != "" {
			v.Add(fmt.Sprintf("/allowed_ips/%d", i), code, detail)
			continue
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	return slices.Compact(out)
}

func parseNetwork(text string) (p netip.Prefix, code, detail string) {
	const invalid, hostBits = "invalid_format", "host_bits_set"
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, invalid, "Use a network such as 192.0.2.0/24 or 2001:db8::/32, or a single address."
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), "", ""
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, invalid, "Use a network such as 192.0.2.0/24 or 2001:db8::/32, or a single address."
	}
	if p != p.Masked() {
		return netip.Prefix{}, hostBits, "The address has bits set outside its network; write the network's own address."
	}
	if p.Addr().Is4In6() {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96) // masked and mapped: at least 96 bits
	}
	return p, "", ""
}

func checkRateLimit(v *fault.Validation, l *RateLimit) {
	if l == nil {
		return
	}
	if l.Limit < 1 || l.Limit > MaxRateLimit {
		v.Add("/rate_limit/limit", "out_of_range", "Give a whole number from 1 to 1000000.")
	}
	if l.WindowSeconds < 1 || l.WindowSeconds > MaxRateWindow {
		v.Add("/rate_limit/window_seconds", "out_of_range", "Give a whole number of seconds from 1 to 86400.")
	}
}

// mergeMetadata applies a merge patch. An absent one leaves what is there.
func mergeMetadata(v *fault.Validation, current, change jsontext.Value) jsontext.Value {
	if change == nil && current != nil {
		return current
	}
	merged, err := patch.Merge(current, change)
	var tooLarge *patch.TooLargeError
	switch {
	case errors.As(err, &tooLarge):
		v.Add("/metadata", "too_large", "Metadata may have 16 KiB and 8 levels.")
	case err != nil:
		v.Add("/metadata", "invalid_type", "Metadata must be an object.")
	}
	return merged
}

func checkEnvironment(v *fault.Validation, e token.Environment) {
	if e != token.Live && e != token.Test {
		v.Add("/environment", "not_allowed", "Use live or test.")
	}
}

// expiry returns when a key of this field expires, for a secret that was made at issued; now is the database's.
// Absent means the default life from issued on.
func (c Config) expiry(v *fault.Validation, f patch.Field[time.Time], issued, now time.Time) *time.Time {
	at := issued.Add(c.DefaultTTL)
	switch {
	case f.Set && f.Null:
		if c.MaxTTL > 0 {
			v.Add("/expires_at", "required", "Every key must expire here; give a time.")
		}
		return nil
	case f.Set:
		at = f.Value.UTC().Truncate(time.Millisecond)
	}
	if !at.After(now) {
		v.Add("/expires_at", "out_of_range", "Give a time in the future; to end a key revoke it.")
	}
	if c.MaxTTL > 0 && at.After(issued.Add(c.MaxTTL)) {
		v.Add("/expires_at", "out_of_range",
			fmt.Sprintf("A key may live at most %s after it was made.", days(c.MaxTTL)))
	}
	return &at
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

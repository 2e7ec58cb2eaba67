package apikey

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/fault"
)

func TestParseNetwork(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.0/24":            "192.0.2.0/24",
		"192.0.2.7":               "192.0.2.7/32",
		"0.0.0.0/0":               "0.0.0.0/0",
		"::/0":                    "::/0",
		"2001:DB8::":              "2001:db8::/128",
		"::ffff:192.0.2.1":        "192.0.2.1/32",
		"::ffff:192.0.2.0/120":    "192.0.2.0/24",
		"::ffff:0:0/96":           "0.0.0.0/0",
		"192.0.2.1/24":            "host_bits_set",
		"2001:db8::1/64":          "host_bits_set",
		"::ffff:192.0.2.1/95":     "host_bits_set",
		"":                        "invalid_format",
		"192.0.2.0/33":            "invalid_format",
		"192.0.2.0/024":           "invalid_format",
		"192.0.2.01":              "invalid_format",
		"fe80::1%eth0":            "invalid_format",
		"fe80::%eth0/64":          "invalid_format",
		"192.0.2.0/255.255.255.0": "invalid_format",
		"example.com":             "invalid_format",
	} {
		p, code, _ := parseNetwork(text)
		if code == "" {
			code = p.String()
		}
		require.Equal(t, want, code, text)
	}
}

// What is taken has one spelling, and that spelling is taken as it is.
func FuzzParseNetwork(f *testing.F) {
	for _, seed := range []string{"192.0.2.0/24", "::ffff:192.0.2.0/120", "2001:db8::", "192.0.2.1/24", "/", "::/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, code, _ := parseNetwork(text)
		if code != "" {
			return
		}
		require.True(t, p.IsValid())
		require.Equal(t, p, p.Masked())
		require.False(t, p.Addr().Is4In6())
		again, code, _ := parseNetwork(p.String())
		require.Empty(t, code)
		require.Equal(t, p, again)
		var v fault.Validation
		require.Len(t, checkNetworks(&v, []string{text, p.String()}), 1)
	})
}

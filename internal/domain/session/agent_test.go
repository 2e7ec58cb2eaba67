package session_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/session"
)

// A family is a program and a system, whatever their versions.
func TestAgent(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                        "Firefox on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                         "Chrome on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1": "Safari on iOS",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                         "Chrome on Android",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36":                           "Headless Chrome on Linux",
		"curl/8.14.1":                   "curl",
		"curl/8.9.0":                    "curl",
		"Go-http-client/1.1":            "Go-http-client",
		"python-requests/2.32.3":        "python-requests",
		"our-app":                       "our-app",
		"":                              session.UnknownAgent,
		"\x00\x1b":                      session.UnknownAgent,
		strings.Repeat("x", 3000):       strings.Repeat("x", 60),
		"   ":                           session.UnknownAgent,
		"Mozilla/5.0":                   "Mozilla/5.0",
		"our-app is what I am":          "our-app",
		"\xff\xfe curl/1 (\xc3\x28; [)": "",
	} {
		got := session.Agent(header)
		if want != "" {
			require.Equal(t, want, got, header)
		}
		require.NotEmpty(t, got)
	}
}

// Whoever calls may send any bytes: a family is short, printable text, whatever it is made from.
func FuzzAgent(f *testing.F) {
	for _, seed := range []string{"", "a/1 (b; c) d/2", "Mozilla/5.0 (Linux; Android 10;", "CrOS x86_64 1", "(((", "XiaoMi/x", "https://x:1", "\x00/\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := session.Agent(header)
		require.NotEmpty(t, got)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, utf8.RuneCountInString(got), 80)
		require.NotContains(t, got, "\x00")
		require.NotContains(t, got, "\n")
	})
}

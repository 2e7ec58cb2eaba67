package notify

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/secret"
)

var update = flag.Bool("update", false, "write the golden files anew")

const hour = time.Hour

var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))

// samples holds each content, with all it can say.
func samples(name string) map[string]Content {
	token, code := secret.New("dG9rZW4tdG9rZW4_LQ"), secret.New("01234567")
	return map[string]Content{
		"verify_email":        VerifyEmail{Name: name, Token: token, Life: 24 * hour, Code: code, CodeLife: 10 * time.Minute},
		"already_registered":  AlreadyRegistered{Name: name},
		"invitation":          Invitation{Name: name, InvitedBy: name, Token: token, Life: 7 * 24 * hour},
		"password_reset":      PasswordReset{Name: name, Token: token, Life: 30 * time.Minute},
		"password_recovered":  PasswordRecovered{Name: name, KeysRevoked: true, At: at},
		"password_changed":    PasswordChanged{Name: name, At: at},
		"magic_link":          MagicLink{Name: name, Token: token, Life: 15 * time.Minute},
		"passkey":             Passkey{Name: name, Event: PasskeyAdded, Passkey: name, At: at},
		"second_factor":       SecondFactor{Name: name, Event: FactorAdded, Factor: name, At: at},
		"recovery_code_used":  RecoveryCodeUsed{Name: name, Left: 7, At: at},
		"session_reuse":       SessionReuse{Name: name, Device: name, At: at},
		"new_sign_in":         NewSignIn{Name: name, Device: name, Address: netip.MustParseAddr("2001:db8::7"), At: at},
		"email_corrected_old": EmailCorrectedOld{Name: name, At: at},
		"email_corrected_new": EmailCorrectedNew{Name: name, Token: token, Life: 24 * hour},

		"email_change_confirm": EmailChangeConfirm{Name: name, Token: token, Life: 24 * hour},
		"email_change_notice":  EmailChangeNotice{Name: name, At: at, Token: token, Life: 72 * hour},
		"email_change_taken":   EmailChangeTaken{Name: name},
		"account_deleted":      AccountDeleted{Name: name, Until: at},
		"key_leaked":           KeyLeaked{Name: name, Key: name, Last4: "x9Qz", At: at},
		"key_expires":          KeyExpires{Name: name, Key: name, Last4: "x9Qz", At: at},
		"key_secret_in_use":    KeySecretInUse{Name: name, Key: name, Last4: "x9Qz", Ends: at, UsedAt: at, From: "192.0.2.7", By: name},
	}
}

func renderAll(t require.TestingT, product, name string) map[string]rendered {
	all, err := parse()
	require.NoError(t, err)
	links, err := NewLinks("https://app.x.test/account/")
	require.NoError(t, err)
	out := map[string]rendered{}
	for key, content := range samples(name) {
		require.Equal(t, key, content.template())
		for _, l := range languages {
			out[key+"."+string(l)], err = all.render(key, l, product, content.values(links, l))
			require.NoError(t, err)
		}
	}
	return out
}

func TestEveryTemplateRendersAsItsGoldenFile(t *testing.T) {
	t.Parallel()
	all := renderAll(t, "Ünion & Söhne", "Zoë <b>O'Neil</b>")
	require.Len(t, all, len(names)*len(languages))
	for key, r := range all {
		got := "Subject: " + r.subject + "\n\n" + r.text + "\n=== HTML ===\n" + r.html
		file := filepath.Join("testdata", key+".golden")
		if *update {
			require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), got, "go test -update writes it anew")
		for _, leak := range []string{"<no value>", "{{", "[redacted]", "%!"} {
			require.NotContains(t, got, leak, key)
		}
		require.NotContains(t, r.subject, "\n")
		for line := range strings.SplitSeq(r.text, "\n") {
			require.LessOrEqual(t, len([]rune(line)), 100, "%s: %s", key, line)
		}
		// api.md "Mails": the product's name is in both parts, a token comes with its life in words.
		require.Contains(t, r.text, "Ünion & Söhne")
		require.Contains(t, r.html, "Ünion &amp; Söhne")
		if strings.Contains(r.text, "#token=") {
			require.Regexp(t, `24 hours|24 Stunden|[37] days|[37] Tage|(15|30) (minutes|Minuten)`, r.text)
			require.Regexp(t, `24 hours|24 Stunden|[37] days|[37] Tage|(15|30) (minutes|Minuten)`, r.html)
		}
	}
}

func TestMailsWithoutNameOrCodeReadWell(t *testing.T) {
	t.Parallel()
	all, err := parse()
	require.NoError(t, err)
	links, err := NewLinks("https://x.test")
	require.NoError(t, err)
	for _, l := range languages {
		c := VerifyEmail{Token: secret.New("t"), Life: hour}
		r, err := all.render(c.template(), l, "UMS", c.values(links, l))
		require.NoError(t, err)
		require.NotRegexp(t, `(?i)code`, r.text+r.html)
		require.NotContains(t, r.text, "\n\n\n")
		require.Regexp(t, `^(Hello|Guten Tag),\n\n`, r.text)
	}
	for key, r := range renderAll(t, "UMS", "") {
		require.NotContains(t, r.text, " ,", key)
		require.NotContains(t, r.html, "<bdi></bdi>", key)
	}
}

func TestEachPasskeyEventHasItsWords(t *testing.T) {
	t.Parallel()
	all, err := parse()
	require.NoError(t, err)
	for _, l := range languages {
		seen := map[string]bool{}
		for _, e := range []PasskeyEvent{PasskeyAdded, PasskeyRemoved, PasskeyRefused} {
			r, err := all.render("passkey", l, "UMS", Passkey{Name: "Zoë", Event: e, Passkey: "Phone", At: at}.values(Links{}, l))
			require.NoError(t, err)
			seen[r.subject], seen[r.text] = true, true
			require.Contains(t, r.text, "Phone")
			require.NotContains(t, r.text, "\n\n\n")
		}
		require.Len(t, seen, 6)
	}
}

func TestAMissingVariableIsAnError(t *testing.T) {
	t.Parallel()
	all, err := parse()
	require.NoError(t, err)
	for _, l := range languages {
		for name, content := range samples("Zoë") {
			links, err := NewLinks("https://x.test")
			require.NoError(t, err)
			for variable := range content.values(links, l) {
				values := content.values(links, l)
				delete(values, variable)
				_, err := all.render(name, l, "UMS", values)
				require.ErrorContains(t, err, variable, "%s.%s does not use it", name, l)
			}
		}
	}
}

// REG-09: a name is shown, escaped, and makes no link, no element and no second line.
func TestREG09NamesCannotBreakOut(t *testing.T) {
	t.Parallel()
	for name, shown := range map[string]string{
		"<script>alert(1)</script>":       "<script>alert(1)</script>",
		"http://evil.example/x":           "http//evil․example/x",
		"visit www.evil.example":          "visit www․evil․example",
		"a@evil.example":                  "a@evil․example",
		"Ada\r\nBcc: eve@x.test":          "Ada Bcc: eve@x․test",
		"\u202egnissap\u202c \u2066x":     "gnissap x",
		"Zoë O'Neil Jr.":                  "Zoë O'Neil Jr.",
		"J. R. R. Tolkien":                "J. R. R. Tolkien",
		"محمد":                            "محمد",
		"👩\u200d👧":                        "👩\u200d👧",
		"{{.link}}":                       "{{․link}}",
		strings.Repeat("x", 500):          strings.Repeat("x", 64) + "…",
		"\u0000\u0007":                    "",
		"javascript:alert(1)":             "javascript:alert(1)",
		"\" onmouseover=alert(1) x=\"":    "\" onmouseover=alert(1) x=\"",
		"https:\\\\evil.example":          "https\\\\evil․example",
		"line\u2028separator\u2029and\ta": "line separator and a",
	} {
		require.Equal(t, shown, harmless(name))
	}
	rapid.Check(t, func(r *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[<>"'&a-z:/.@ \n\x{202e}-]{0,80}`)).Draw(r, "name")
		plain := renderAll(r, "UMS", "name")
		for key, m := range renderAll(r, "UMS", name) {
			require.Equal(r, plain[key].subject, m.subject, "no name in a subject")
			if harmless(name) != "" {
				require.Equal(r, elements(r, plain[key].html), elements(r, m.html), key)
				require.Equal(r, strings.Count(plain[key].text, "\n"), strings.Count(m.text, "\n"), key)
			}
			require.Equal(r, strings.Count(plain[key].text, "://"), strings.Count(m.text, "://"), key)
			require.NotContains(r, m.text+m.html, "\u202e")
		}
	})
}

// elements lists the tags of a page with the attributes' names and links.
func elements(t require.TestingT, page string) []string {
	var tags []string
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return tags
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			require.NotEqual(t, "script", token.Data)
			tag := token.Data
			for _, a := range token.Attr {
				tag += " " + a.Key
				if a.Key == "href" {
					tag += "=" + a.Val
				}
			}
			tags = append(tags, tag)
		}
	}
}

func TestLanguageFallsBack(t *testing.T) {
	t.Parallel()
	for locale, want := range map[string]language{
		"": "en", "en": "en", "en-GB": "en", "de": "de", "de-AT": "de", "de_CH": "de", "DE": "de",
		"fr": "en", "den": "en", "-": "en", "../../x": "en", "de-Latn-DE-1996": "de",
	} {
		require.Equal(t, want, languageOf(locale), locale)
	}
}

func TestDurationsAreWorded(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration][2]string{
		time.Minute:      {"1 minute", "1 Minute"},
		10 * time.Minute: {"10 minutes", "10 Minuten"},
		hour:             {"1 hour", "1 Stunde"},
		90 * time.Minute: {"90 minutes", "90 Minuten"},
		24 * hour:        {"24 hours", "24 Stunden"},
		36 * hour:        {"36 hours", "36 Stunden"},
		48 * hour:        {"2 days", "2 Tage"},
		7 * 24 * hour:    {"7 days", "7 Tage"},
	} {
		require.Equal(t, want[0], language("en").duration(d))
		require.Equal(t, want[1], language("de").duration(d))
	}
}

func TestLinksComeFromConfigurationAlone(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"http://localhost:8080":    "http://localhost:8080/verify-email#token=a-b_c",
		"https://x.test/":          "https://x.test/verify-email#token=a-b_c",
		"https://x.test/account//": "https://x.test/account/verify-email#token=a-b_c",
	} {
		links, err := NewLinks(base)
		require.NoError(t, err)
		require.Equal(t, want, links.VerifyEmail(secret.New("a-b_c")))
	}
	for _, base := range []string{"", "x.test", "ftp://x.test", "//x.test", "https://", "https://x.test?a=b", "https://x.test/#a", "https://u:p@x.test", "javascript:alert(1)"} {
		_, err := NewLinks(base)
		require.Error(t, err, base)
	}
}

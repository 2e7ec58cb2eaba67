package user_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
)

func TestParseEmail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for in, want := range map[string][2]string{
		"ada@example.org":              {"ada@example.org", "ada@example.org"},
		"Ada.Lovelace@Example.ORG":     {"Ada.Lovelace@example.org", "ada.lovelace@example.org"},
		"ada+news@example.org":         {"ada+news@example.org", "ada+news@example.org"},
		"o'neil/dev=x@sub.example.org": {"o'neil/dev=x@sub.example.org", "o'neil/dev=x@sub.example.org"},
		"ada@bücher.example":           {"ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"},
		"ada@BÜCHER.example":           {"ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"},
		"ada@xn--bcher-kva.example":    {"ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"},
		"ada@straße.example":           {"ada@xn--strae-oqa.example", "ada@xn--strae-oqa.example"},
		"admin@localhost":              {"admin@localhost", "admin@localhost"},
		long + "@example.org":          {long + "@example.org", long + "@example.org"},
	} {
		email, norm, err := user.ParseEmail(in)
		require.NoError(t, err, in)
		require.Equal(t, want, [2]string{email, norm}, in)
	}
	for _, in := range []string{
		"", "@", "ada", "ada@", "@example.org", "ada@example", "ada@@example.org", "a@b@example.org",
		"Ada <ada@example.org>", "<ada@example.org>", `"ada"@example.org`, "ada(x)@example.org", "ada@example.org,b@example.org",
		".ada@example.org", "ada.@example.org", "a..a@example.org", "a da@example.org", " ada@example.org", "ada@example.org ",
		"ada@example.org\r\nBcc: x@y.test", "ada@exam\x00ple.org", "ada@example.org\n", "ádá@example.org", "ada@[127.0.0.1]", "ada@127.0.0.1",
		"ada@example.org.", "ada@.example.org", "ada@exa..mple.org", "ada@-example.org", "ada@example-.org", "ada@exa_mple.org",
		"ada@ｅxample.org", "ada@example。org", "ada@\u212aelvin.org", "ada@e\u0301.example\u200b", "ada@xn--a.example", "ada\xff@example.org",
		long + "a@example.org", "ada@" + strings.Repeat(long[:63]+".", 4) + "org",
	} {
		_, _, err := user.ParseEmail(in)
		require.ErrorIs(t, err, fault.ErrValidation, "%q", in)
		if in != "" && in != "@" {
			require.NotContains(t, err.Error(), in)
		}
	}
}

func FuzzParseEmail(f *testing.F) {
	for _, s := range []string{"ada@example.org", "Ada <a@b.c>", "a@bücher.example", "\"a\"@b.c", "a@b\u212a.c", "a@İ.example", "a@xn--.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		email, norm, err := user.ParseEmail(in)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(email), 254)
		require.Equal(t, strings.ToLower(email), norm)
		require.Equal(t, 1, strings.Count(email, "@"))
		for _, c := range []byte(email) {
			require.True(t, c > ' ' && c < 0x7f, "%q", email)
		}
		require.False(t, strings.ContainsAny(email, `"<>(),:;\[]`), email)
		again, normAgain, err := user.ParseEmail(email)
		require.NoError(t, err)
		require.Equal(t, email, again)
		require.Equal(t, norm, normAgain)
		_, folded, err := user.ParseEmail(norm)
		require.NoError(t, err)
		require.Equal(t, norm, folded, "one identity whatever the spelling")
	})
}

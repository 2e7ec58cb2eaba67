package password

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/secret"
)

type knownAnswer struct{ source, password, hash string }

// knownAnswers are hashes that other programs made; testdata/README.md has their sources.
func knownAnswers(t require.TestingT) (all []knownAnswer) {
	text, err := os.ReadFile("testdata/foreign.tsv")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(t, parts, 3)
		password, err := strconv.Unquote(`"` + parts[1] + `"`)
		require.NoError(t, err, line)
		all = append(all, knownAnswer{parts[0], password, parts[2]})
	}
	return all
}

func TestForeign_knownAnswersOfOtherPrograms(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	for _, k := range knownAnswers(t) {
		require.NoError(t, ParseForeign(k.hash), k.hash)
		ok, rehash, err := h.Verify(t.Context(), secret.New(k.password), k.hash)
		require.NoError(t, err, k.hash)
		require.True(t, ok, "%s %s", k.source, k.hash)
		require.True(t, rehash, "the first sign-in replaces it")
		for _, other := range []string{k.password + "x", "x" + k.password, strings.ToUpper(k.password) + "é"} {
			ok, rehash, err = h.Verify(t.Context(), secret.New(other), k.hash)
			require.NoError(t, err)
			require.False(t, ok, "%s %s", k.source, k.hash)
			require.False(t, rehash)
		}
	}
	require.EqualValues(t, 4*len(knownAnswers(t)), h.Stats().Verifications, "each is one verification")
}

// Over 72 bytes bcrypt reads the beginning alone: such a password is refused, also where that beginning is the very
// password that was hashed.
func TestPWD02_bcryptNeverTruncates(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	const hash = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui" // Openwall's, of a longer one: "chars after 72 are ignored"
	const whole = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored"
	for password, want := range map[string]bool{
		whole[:72]: true, whole: false, whole[:73]: false, whole[:72] + "x": false, whole[:71]: false, whole[:72] + "\x00": false,
		whole[:71] + "é": false,
	} {
		ok, _, err := h.Verify(t.Context(), secret.New(password), hash)
		require.NoError(t, err)
		require.Equal(t, want, ok, password)
	}
	require.EqualValues(t, 7, h.Stats().Verifications, "a refusal costs what a verification costs")
}

func TestParseForeign_boundsCostsBeforeAnyWork(t *testing.T) {
	t.Parallel()
	good := map[string]string{}
	for _, k := range knownAnswers(t) {
		good[k.source+" "+strings.SplitN(strings.TrimPrefix(k.hash, "$"), "$", 2)[0]] = k.hash
	}
	bcrypt, passlib, django := good["passwap 2b"], good["passlib pbkdf2-sha256"], good["django pbkdf2_sha256"]
	scrypt, djangoScrypt, firebase, argon2i := good["passwap scrypt"], good["django scrypt"], good["firebase firebase-scrypt"], good["argon2 argon2i"]
	sha512, keycloak := good["passlib pbkdf2-sha512"], good["keycloak pbkdf2-sha256"]
	for _, c := range []struct{ text, old, new string }{
		{bcrypt, "$12$", "$15$"},
		{bcrypt, "$12$", "$31$"},
		{bcrypt, "$12$", "$03$"},
		{bcrypt, "$12$", "$1$"},
		{bcrypt, "$12$", "$+2$"},
		{bcrypt, "$2b$", "$2x$"},
		{bcrypt, "$2b$", "$2$"},
		{bcrypt, "HQdq", "HQd"},
		{bcrypt, "HQdq", "HQdqq"},
		{bcrypt, "HQdq", "HQd\n"},
		{bcrypt, "HQdq", "HQd="},
		{argon2i, "m=256", "m=262145"},
		{argon2i, "t=2", "t=17"},
		{argon2i, "v=19", "v=16"},
		{argon2i, "$argon2i", "$argon2d"},
		{passlib, "$29000$", "$6000001$"},
		{passlib, "$29000$", "$4294967296$"},
		{passlib, "$29000$", "$18446744073709551617$"},
		{passlib, "$29000$", "$0$"},
		{passlib, "$29000$", "$-1$"},
		{passlib, "$29000$", "$029000$"},
		{passlib, "$29000$", "$$"},
		{passlib, "$29000$", "$i=29000,l=64$"},
		{passlib, "$29000$", "$l=32,i=29000$"},
		{passlib, "$Vcq5N2YMwZgzxliLEeKcEw$", "$$"},
		{passlib, "$Vcq5N2YMwZgzxliLEeKcEw$", "$" + strings.Repeat("AAAA", 43) + "$"},
		{passlib, "NWM", "NW"},
		{passlib, "NWM", "NWN"},
		{passlib, "NWM", "NWM$"},
		{passlib, "NWM", "NW\nM"},
		{passlib, "s0clgmR70WK1yOIMGxi2LqUfiJ01U5nMhIk3xupdNWM", "s0clgmR7"},
		{passlib, "s0clgmR70WK1yOIMGxi2LqUfiJ01U5nMhIk3xupdNWM", strings.Repeat("AAAA", 43)},
		{passlib, "-sha256", "-sha384"},
		{sha512, "$1212$", "$2500001$"},
		{keycloak, "$27500$", "$3000001$"}, // two blocks cost twice
		{django, "$870000$", "$6000001$"},
		{django, "$seasalt$", "$sea$"},
		{django, "$seasalt$", "$$"},
		{django, "$seasalt$", "$" + strings.Repeat("s", 129) + "$"},
		{scrypt, "ln=16", "ln=19"},
		{scrypt, "ln=16", "ln=0"},
		{scrypt, "ln=16", "ln=63"},
		{scrypt, "r=8", "r=33"},
		{scrypt, "r=8", "r=0"},
		{scrypt, "p=1", "p=17"},
		{scrypt, "p=1", "p=9"},
		{scrypt, "p=1", "p=0"},
		{scrypt, "ln=16,r=8", "r=8,ln=16"},
		{scrypt, "p=1", "p=1,x=1"},
		{djangoScrypt, "$16384$", "$16383$"},
		{djangoScrypt, "$16384$", "$1$"},
		{djangoScrypt, "$16384$", "$0$"},
		{djangoScrypt, "$16384$", "$1073741824$"},
		{djangoScrypt, "$8$1$", "$8$64$"},
		{firebase, "ln=14", "ln=22"},
		{firebase, "r=8", "r=999999"},
		{firebase, "sk=jxsp", "sk="},
		{firebase, ",ss=Bw==", ""},
		{firebase, "WmXA==$", "WmXB==$"},
		{firebase, "lSrfV15c", ""},
	} {
		require.NotEmpty(t, c.text)
		require.NoError(t, ParseForeign(c.text))
		text := strings.Replace(c.text, c.old, c.new, 1)
		require.NotEqual(t, c.text, text, c.old)
		require.Error(t, ParseForeign(text), text)
	}
	for _, unknown := range []string{
		"", "$", "x", "5f4dcc3b5aa765d61d8327deb882cf99", "$1$abc$def", "$6$rounds=5000$x$y", "{SSHA}xyz", "md5$salt$hash", "$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$RV/wL4VdAuoGbwr3+U9msg",
	} {
		err := ParseForeign(unknown)
		require.ErrorIs(t, err, ErrUnsupported, unknown)
		for _, name := range []string{"Argon2id", "Argon2i,", "bcrypt", "PBKDF2", "scrypt", "Firebase"} {
			require.ErrorContains(t, err, name)
		}
	}
	require.Error(t, ParseForeign("$2b$12$"+strings.Repeat("a", 2000)))
	require.NoError(t, ParseForeign(goodPHC))
	require.Error(t, ParseForeign(strings.Replace(goodPHC, "t=2", "t=200", 1)))
}

// Foreign hashes wait in the same bounded queue.
func TestForeign_takesASlot(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	var wg sync.WaitGroup
	h.limit = 0
	wg.Go(func() {
		for _, k := range knownAnswers(t) {
			_, _, err := h.Verify(t.Context(), secret.New(k.password), k.hash)
			if !errors.Is(err, ErrOverloaded) {
				t.Errorf("%s: %v", k.hash, err)
			}
		}
	})
	wg.Wait()
	require.Zero(t, h.Stats().Verifications)
	require.Len(t, h.slots, cap(h.slots))
}

// FuzzParseForeign: nothing panics, nothing that is accepted costs more than its bound, and errors never hold the hash.
func FuzzParseForeign(f *testing.F) {
	f.Add(goodPHC)
	f.Add("$pbkdf2-sha256$i=1,l=16$AAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	for _, k := range knownAnswers(f) {
		f.Add(k.hash)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := ParseForeign(text)
		if _, other := parseForeign(text); err == nil && other != nil && !strings.HasPrefix(text, "$argon2id$") {
			t.Fatalf("accepted and not parsed: %q", text)
		}
		if err != nil && len(text) > 24 && strings.Contains(err.Error(), text) {
			t.Fatalf("the error holds the hash: %v", err)
		}
	})
}

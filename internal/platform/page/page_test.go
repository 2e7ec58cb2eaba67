package page_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/page"
)

// ring stands for the service's key ring: AES-GCM with the purpose in the additional data.
type ring struct{ aead cipher.AEAD }

func newRing(t require.TestingT) ring {
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(t, err)
	aead, err := cipher.NewGCMWithRandomNonce(block)
	require.NoError(t, err)
	return ring{aead}
}

func (r ring) Seal(purpose string, aad, plaintext []byte) []byte {
	return r.aead.Seal(nil, nil, plaintext, append([]byte(purpose+"\x00"), aad...))
}

func (r ring) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < r.aead.Overhead() {
		return nil, errors.New("short")
	}
	return r.aead.Open(nil, nil, sealed, append([]byte(purpose+"\x00"), aad...))
}

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	codec := page.NewCodec(newRing(t))
	rapid.Check(t, func(t *rapid.T) {
		binding := rapid.String().Draw(t, "binding")
		keys := rapid.SliceOfN(rapid.String(), 0, 8).Draw(t, "keys")
		got, err := codec.Decode(binding, codec.Encode(binding, keys...))
		require.NoError(t, err)
		require.Equal(t, append([]string{}, keys...), got)
	})
}

func TestAZ11_CursorOfAnotherListIsRefused(t *testing.T) {
	t.Parallel()
	codec := page.NewCodec(newRing(t))
	binding := page.Binding("user:a", "GET /users", "-created_at", "status", "active")
	cursor := codec.Encode(binding, "2026-01-02T03:04:05.000Z", "0190")
	require.NotContains(t, cursor, "2026")
	for name, other := range map[string]string{
		"another caller": page.Binding("user:b", "GET /users", "-created_at", "status", "active"),
		"another route":  page.Binding("user:a", "GET /roles", "-created_at", "status", "active"),
		"another sort":   page.Binding("user:a", "GET /users", "created_at", "status", "active"),
		"another filter": page.Binding("user:a", "GET /users", "-created_at", "status", "pending"),
		"fewer filters":  page.Binding("user:a", "GET /users", "-created_at"),
		"shifted parts":  page.Binding("user:a", "GET /users", "-created_at", "statusa", "ctive"),
	} {
		_, err := codec.Decode(other, cursor)
		require.ErrorIs(t, err, page.ErrInvalidCursor, name)
	}
}

func TestAZ11_TamperedCursorIsRefused(t *testing.T) {
	t.Parallel()
	codec := page.NewCodec(newRing(t))
	cursor := codec.Encode("b", "key", "id")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range cursor { // every other spelling of every character, the spare bits of the last one included
		for _, c := range alphabet {
			if byte(c) != cursor[i] {
				_, err := codec.Decode("b", cursor[:i]+string(c)+cursor[i+1:])
				require.ErrorIs(t, err, page.ErrInvalidCursor)
			}
		}
	}
	for _, text := range []string{
		"", "x", "null", cursor + "=", cursor + "A", " " + cursor, cursor + "\n", cursor[:8] + "\r\n" + cursor[8:],
		cursor[1:], strings.Repeat("A", 5000), "' OR 1=1 --",
	} {
		_, err := codec.Decode("b", text)
		require.ErrorIs(t, err, page.ErrInvalidCursor, text)
		require.Equal(t, fault.Malformed, fault.As(err).Kind)
	}
}

func TestAZ11_CursorOfAnotherVersionIsRefused(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	codec := page.NewCodec(r)
	for name, plain := range map[string][]byte{
		"empty":       {},
		"version 0":   {0, 1, 'a'},
		"version 2":   {2, 1, 'a'},
		"length lies": {1, 9, 'a'},
		"huge length": {1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 'a'},
		"no length":   {1, 128},
		"nine keys":   {1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		text := base64.RawURLEncoding.EncodeToString(r.Seal("cursor", []byte("b"), plain))
		_, err := codec.Decode("b", text)
		require.ErrorIs(t, err, page.ErrInvalidCursor, name)
	}
	text := base64.RawURLEncoding.EncodeToString(r.Seal("cookie", []byte("b"), []byte{1, 1, 'a'}))
	_, err := codec.Decode("b", text)
	require.ErrorIs(t, err, page.ErrInvalidCursor, "what was sealed for another purpose is no cursor")
}

func TestBindingIsInjective(t *testing.T) {
	t.Parallel()
	parts := rapid.SliceOfN(rapid.StringMatching(`[a\x00-\x02]{0,3}`), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		require.Equal(t, strings.Join(a, "\xff")+strconv.Itoa(len(a)) == strings.Join(b, "\xff")+strconv.Itoa(len(b)),
			page.Binding(a...) == page.Binding(b...))
	})
}

func FuzzDecode(f *testing.F) {
	codec := page.NewCodec(newRing(f))
	f.Add("binding", codec.Encode("binding", "k"))
	f.Add("", "AAAA")
	f.Fuzz(func(t *testing.T, binding, text string) {
		if _, err := codec.Decode(binding, text); err != nil {
			require.ErrorIs(t, err, page.ErrInvalidCursor)
		}
	})
}

func TestAZ10_OnlyListedFieldsSort(t *testing.T) {
	t.Parallel()
	def := page.Sort{Field: "created_at", Descending: true}
	for text, want := range map[string]page.Sort{
		"":            def,
		"email":       {Field: "email"},
		"-email":      {Field: "email", Descending: true},
		"-created_at": def,
	} {
		got, err := page.ParseSort(text, def, "created_at", "email")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"password_hash", "mfa_secret", "Email", "--email", "email,created_at", "+email", "-", "email;drop"} {
		_, err := page.ParseSort(text, def, "created_at", "email")
		require.ErrorIs(t, err, fault.ErrValidation, text)
		require.NotContains(t, err.Error(), "mfa_secret", "the rejected value is not echoed")
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	cursor := func(n int) string { return "after" + strconv.Itoa(n) }
	encode := func(p page.Page[int]) string {
		b, err := json.Marshal(p)
		require.NoError(t, err)
		return string(b)
	}
	require.JSONEq(t, `{"data":[],"next_cursor":null}`, encode(page.New(nil, 2, cursor)))
	require.JSONEq(t, `{"data":[1,2],"next_cursor":null}`, encode(page.New([]int{1, 2}, 2, cursor)))
	require.JSONEq(t, `{"data":[1,2],"next_cursor":"after2"}`, encode(page.New([]int{1, 2, 3}, 2, cursor)))
}

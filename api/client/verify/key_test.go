package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/token"
)

// desk answers questions about keys as it is told.
type desk struct {
	*Verifier
	asked  atomic.Int32
	answer http.HandlerFunc
	now    time.Time
}

func newDesk(t *testing.T, cfg Config) *desk {
	t.Helper()
	d := &desk{now: noon}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.asked.Add(1)
		d.answer(w, r)
	}))
	t.Cleanup(server.Close)
	cfg.URL, cfg.APIKey, cfg.Now = server.URL, "mine", func() time.Time { return d.now }
	var err error
	d.Verifier, err = New(cfg)
	require.NoError(t, err)
	return d
}

func (d *desk) says(verdict string) {
	d.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, verdict) }
}

const validVerdict = `{"valid":true,"code":"valid","key_id":"k","user_id":"ada","scopes":["orders:*"],"environment":"live","expires_at":%s,"rate_limit":%s}`

func aKey() string { return token.NewAPIKey(token.Live).Text.Reveal() }

func TestTheQuestionAboutAKey(t *testing.T) {
	t.Parallel()
	d, key := newDesk(t, Config{Environment: "live"}), aKey()
	d.answer = func(w http.ResponseWriter, r *http.Request) {
		var asked map[string]any
		require.NoError(t, json.NewDecoder(r.Body).Decode(&asked))
		require.Equal(t, map[string]any{"key": key, "environment": "live", "ip": "192.0.2.7", "permissions": []any{"orders:read"}}, asked)
		require.Equal(t, "POST /api/v1/api-keys/verify mine", r.Method+" "+r.URL.Path+" "+r.Header.Get("X-API-Key"))
		_, _ = fmt.Fprintf(w, validVerdict, `"2026-03-02T12:00:00Z"`, "null")
	}
	p, err := d.Key(t.Context(), key, "::ffff:192.0.2.7", "orders:read")
	require.NoError(t, err)
	require.Equal(t, &Principal{UserID: "ada", KeyID: "k", Environment: "live", Permissions: []string{"orders:*"}, ExpiresAt: noon.Add(24 * time.Hour)}, p)
	require.True(t, p.IsKey())

	for _, noise := range []string{"", "x", key[:80], key + "0", key[:80] + "!", "ums_prod" + key[8:], key[:40] + "0" + key[41:80] + "_"} {
		_, err = d.Key(t.Context(), noise, "")
		require.ErrorIs(t, err, errKey, noise)
	}
	require.EqualValues(t, 1, d.asked.Load(), "what is no key is not asked about")
	d.cfg.APIKey = ""
	_, err = d.Key(t.Context(), key, "")
	require.ErrorIs(t, err, errKey, "without a key of its own it accepts none")
}

func TestWhatTheAnswerMeans(t *testing.T) {
	t.Parallel()
	d := newDesk(t, Config{})
	refusal := func() *Refusal {
		t.Helper()
		var r *Refusal
		_, err := d.Key(t.Context(), aKey(), "")
		require.ErrorAs(t, err, &r)
		return r
	}
	for code, want := range map[string]*Refusal{
		"not_found": errKey, "revoked": errKey, "quarantined": errKey, "expired": errKey, "owner_suspended": errKey, "wrong_environment": errKey,
		"something_new": errKey, "": errKey, "ip_denied": errAddress, "insufficient_scope": errPermission,
		"valid": errKey, // but valid is false, and no key is named
	} {
		d.says(`{"valid":false,"code":"` + code + `","key_id":null,"user_id":null}`)
		require.Same(t, want, refusal(), code)
	}
	d.says(`{"valid":false,"code":"rate_limited","rate_limit":{"reset_seconds":7}}`)
	require.Equal(t, 7*time.Second, refusal().RetryAfter)
	require.Equal(t, "rate_limited", refusal().Code)

	for _, status := range []int{301, 400, 401, 403, 422, 429, 500, 503} {
		d.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/api/v1/elsewhere")
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(status)
		}
		before := d.asked.Load()
		require.Equal(t, Refusal{503, "unavailable", errUnavailable.Detail, 9 * time.Second}, *refusal(), status)
		require.Equal(t, before+1, d.asked.Load(), "redirects are not followed")
	}
	d.says("<html>")
	require.Equal(t, 503, refusal().Status)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Key(ctx, aKey(), "")
	require.ErrorContains(t, err, "unavailable")
}

// Only good answers without a limit are used twice, for the very same question, and for KeyCache alone.
func TestAnswersAboutKeysAreKeptForAMoment(t *testing.T) {
	t.Parallel()
	d, key := newDesk(t, Config{KeyCache: time.Second}), aKey()
	ask := func(want int32, ip string, permissions ...string) {
		t.Helper()
		before := d.asked.Load()
		_, err := d.Key(t.Context(), key, ip, permissions...)
		require.NoError(t, err)
		require.Equal(t, want, d.asked.Load()-before)
	}
	d.says(fmt.Sprintf(validVerdict, "null", "null"))
	ask(1, "192.0.2.7")
	ask(0, "192.0.2.7")
	ask(1, "192.0.2.8")
	ask(1, "192.0.2.7", "orders:read")
	d.now = d.now.Add(time.Second - 1)
	ask(0, "192.0.2.7", "orders:read")
	d.now = d.now.Add(1)
	ask(1, "192.0.2.7", "orders:read")

	d.now = d.now.Add(time.Second)
	d.says(fmt.Sprintf(validVerdict, `"`+d.now.Add(time.Millisecond).Format(time.RFC3339Nano)+`"`, "null"))
	ask(1, "")
	d.now = d.now.Add(time.Millisecond)
	ask(1, "") // the key has ended, which the service has to say
	d.now = d.now.Add(time.Second)
	d.says(fmt.Sprintf(validVerdict, "null", `{"limit":5,"remaining":4,"reset_seconds":1}`))
	ask(1, "")
	ask(1, "")

	d.says(fmt.Sprintf(validVerdict, "null", "null"))
	for range maxAnswers + 10 {
		d.answers.put([32]byte(([]byte)(aKey())), &Principal{}, d.now, d.now.Add(time.Second))
	}
	require.Len(t, d.answers.known, maxAnswers)
	d.now = d.now.Add(time.Second)
	ask(1, "")
	require.Len(t, d.answers.known, 1, "old answers make room")
}

func TestFaultsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{
		{},
		{URL: "ums.example.com"},
		{URL: "ftp://ums.example.com"},
		{URL: "https://"},
		{URL: "https://a:b@ums.example.com"},
		{URL: "https://ums.example.com?a"},
		{URL: "https://ums.example.com", Environment: "prod"},
		{URL: "https://ums.example.com", KeyCache: 1001 * time.Millisecond},
		{URL: "https://ums.example.com", KeyCache: -1},
	} {
		_, err := New(cfg)
		require.Error(t, err, "%+v", cfg)
	}
	v, err := New(Config{URL: "https://ums.example.com/"})
	require.NoError(t, err)
	require.Equal(t, []string{"https://ums.example.com", "https://ums.example.com"}, []string{v.cfg.Issuer, v.cfg.Audience})
	for _, wrong := range []string{"", "orders", "orders:", "Orders:read", "*:read", "orders:read "} {
		require.Panics(t, func() { v.Require("orders:read", wrong) }, wrong)
	}
	require.NotPanics(t, func() { v.Require("orders:read", "orders:*", "*") })
}

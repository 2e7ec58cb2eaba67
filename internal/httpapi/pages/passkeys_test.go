package pages_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPasskeyPageIsStaticAndSelfContained(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	resp, body := s.do(t, http.MethodGet, "/dev/passkeys", browser)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
	require.NotContains(t, resp.Header.Get("Content-Security-Policy"), "unsafe")
	inlineFree(t, body)
	require.NotContains(t, body, "://", "no outside request")
	found := assetPath.FindAllStringSubmatch(body, -1)
	require.Len(t, found, 2)
	for _, m := range found {
		resp, asset := s.do(t, http.MethodGet, m[1], "*/*")
		require.Equal(t, http.StatusOK, resp.StatusCode, m[1])
		require.NotContains(t, asset, "://")
	}
	// Everything has a name, for those who do not see it: fields by their labels, buttons by their words.
	for _, field := range regexp.MustCompile(`<input id="([a-z]+)"`).FindAllStringSubmatch(body, -1) {
		require.Contains(t, body, `<label for="`+field[1]+`">`)
	}
	require.Regexp(t, `<div[^>]+role="status"`, body)
	require.Regexp(t, `<div[^>]+role="alert"`, body)
}

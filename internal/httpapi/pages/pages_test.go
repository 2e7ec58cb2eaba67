package pages_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/user-management-service/ums/internal/httpapi/pages"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/mail"
)

type site struct {
	*httptest.Server
	box *mail.Mailbox
}

func newSite(t *testing.T) *site {
	t.Helper()
	box, err := mail.NewMailbox(t.TempDir())
	require.NoError(t, err)
	r := chi.NewRouter()
	pages.Mount(r)
	pages.MountPasskeys(r)
	problems := problem.New(problem.Config{
		PublicURL: "http://x.test", Log: slog.New(slog.DiscardHandler),
		Note: func(context.Context, string) string { return "" }, Unavailable: func(error) *fault.Error { return nil },
	})
	r.Get("/dev/mail", pages.DevMail(box, problems))
	r.Get("/dev/mail/*", pages.DevMail(box, problems))
	s := &site{httptest.NewServer(r), box}
	t.Cleanup(s.Close)
	return s
}

func (s *site) do(t *testing.T, method, path, accept string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Accept", accept)
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// inlineFree fails on what the policy would block: inline script and style, handlers, and anything from elsewhere.
func inlineFree(t *testing.T, page string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			require.NotEqual(t, "style", token.Data)
			source := false
			for _, a := range token.Attr {
				require.NotEqual(t, "style", a.Key)
				require.False(t, strings.HasPrefix(a.Key, "on"), a.Key)
				if a.Key == "src" || (a.Key == "href" && token.Data == "link") {
					require.True(t, strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "//"), a.Val)
					source = true
				}
			}
			if token.Data == "script" {
				require.True(t, source, "inline script")
			}
		default:
		}
	}
}

var assetPath = regexp.MustCompile(`(?:src|href)="(/[^"]+\.(?:css|js))"`)

func TestPagesAreStaticAndSelfContained(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/verify-email", "/accept-invitation", "/reset-password", "/magic-link", "/confirm-email-change", "/undo-email-change"} {
		resp, body := s.do(t, http.MethodGet, path, browser)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		require.Equal(t, "no-referrer", resp.Header.Get("Referrer-Policy"))
		policy := resp.Header.Get("Content-Security-Policy")
		for _, part := range []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "form-action 'self'",
			"frame-ancestors 'none'", "base-uri 'none'",
		} {
			require.Contains(t, policy, part)
		}
		require.NotContains(t, policy, "unsafe")
		inlineFree(t, body)
		require.NotContains(t, body, "://", "no outside request")
		// Without the script the form must not put a password into an address.
		require.Regexp(t, `<form [^>]*method="post" hidden`, body)

		found := assetPath.FindAllStringSubmatch(body, -1)
		require.Len(t, found, 2)
		for _, m := range found {
			resp, asset := s.do(t, http.MethodGet, m[1], "*/*")
			require.Equal(t, http.StatusOK, resp.StatusCode, m[1])
			require.Equal(t, "public, max-age=300", resp.Header.Get("Cache-Control"))
			require.NotContains(t, asset, "://", "no outside request")
			require.NotContains(t, asset, "innerHTML")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+m[1], http.NoBody)
			require.NoError(t, err)
			req.Header.Set("If-None-Match", resp.Header.Get("ETag"))
			again, err := s.Client().Do(req)
			require.NoError(t, err)
			require.NoError(t, again.Body.Close())
			require.Equal(t, http.StatusNotModified, again.StatusCode)
		}
	}
}

// OTT-02: what a scanner does to a link never carries the token, and every page answers alike.
func TestOTT02ScannersGetThePageAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, want := s.do(t, http.MethodGet, "/verify-email", browser)
	for range 10 {
		resp, body := s.do(t, http.MethodGet, "/verify-email?token=whatever", browser)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, want, body)
		resp, body = s.do(t, http.MethodHead, "/verify-email", browser)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Empty(t, body)
	}
	resp, _ := s.do(t, http.MethodPost, "/verify-email", browser)
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

func TestMailboxAsData(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, body := s.do(t, http.MethodGet, "/dev/mail", "application/json")
	require.JSONEq(t, `{"data":[]}`, body)
	for _, subject := range []string{"first", "second"} {
		require.NoError(t, s.box.Send(t.Context(), mail.Message{
			ID: subject + "@x.test", To: "alice@x.test", Subject: subject, Text: "see http://x.test/verify-email#token=abc\n", HTML: "<p>&amp;</p>",
		}))
	}
	resp, body := s.do(t, http.MethodGet, "/dev/mail", "application/json")
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	var got struct {
		Data []map[string]string `json:"data"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Len(t, got.Data, 2)
	require.Equal(t, "second", got.Data[0]["subject"], "newest first")
	for _, member := range []string{"id", "to", "subject", "text", "html", "created_at", "message_id"} {
		require.NotEmpty(t, got.Data[0][member], member)
	}
	require.Equal(t, "second@x.test", got.Data[0]["message_id"])
	require.Contains(t, body, "<p>&amp;</p>", "readable for a person with curl")

	_, body = s.do(t, http.MethodGet, "/dev/mail/"+got.Data[1]["id"], "application/json")
	require.Contains(t, body, `"subject":"first"`)
	for _, unknown := range []string{id.New().String(), "x", "../../etc/passwd", got.Data[1]["id"] + "/x"} {
		resp, body = s.do(t, http.MethodGet, "/dev/mail/"+unknown, "application/json")
		require.Equal(t, http.StatusNotFound, resp.StatusCode, unknown)
		require.Contains(t, body, `"code":"not_found"`)
	}
	resp, _ = s.do(t, http.MethodDelete, "/dev/mail", "application/json")
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

func TestMailboxAsPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	hostile := "<script>alert(1)</script>"
	require.NoError(t, s.box.Send(t.Context(), mail.Message{
		ID: "1@x.test", To: "alice@x.test", Subject: "Hi " + hostile,
		Text: hostile + "\nhttps://x.test/verify-email#token=abc\nend",
		HTML: "<html><head></head><body>" + hostile + "</body></html>",
	}))
	mails, err := s.box.List(t.Context())
	require.NoError(t, err)
	address := "/dev/mail/" + mails[0].ID.String()

	resp, body := s.do(t, http.MethodGet, "/dev/mail", browser)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, body, `href="`+address+`"`)
	inlineFree(t, body)

	resp, body = s.do(t, http.MethodGet, address, browser)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Contains(t, body, `<a href="https://x.test/verify-email#token=abc" rel="noreferrer">`)
	require.Contains(t, body, `src="`+address+`/html" sandbox="allow-top-navigation-by-user-activation"`)
	require.NotContains(t, body, "<script")
	inlineFree(t, body)

	resp, body = s.do(t, http.MethodGet, address+"/html", browser)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	policy := resp.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "sandbox allow-top-navigation-by-user-activation;")
	require.NotContains(t, policy, "allow-scripts")
	require.NotContains(t, policy, "allow-same-origin")
	require.NotContains(t, policy, "script-src")
	require.Contains(t, policy, "frame-ancestors 'self'")
	require.Contains(t, body, `<base target="_top">`)

	resp, body = s.do(t, http.MethodGet, "/dev/mail/"+id.New().String(), browser)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Contains(t, body, "There is no such mail")
	resp, _ = s.do(t, http.MethodGet, "/dev/mail/pages.css", browser)
	require.Equal(t, "text/css; charset=utf-8", resp.Header.Get("Content-Type"))
}

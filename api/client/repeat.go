package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"mime"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	headerKey = "Idempotency-Key"

	firstPause = 100 * time.Millisecond // before the first repeat that nobody gave a time for; it doubles
	maxPause   = 5 * time.Second
	maxHeld    = 4 << 20 // bytes of an answer that is read before it is handed on, so that a loss can be repaired
)

// takeKey are the POSTs that honour Idempotency-Key. A test holds them against the contract.
var takeKey = []string{
	"/api/v1/auth/register", "/api/v1/users", "/api/v1/users/import", "/api/v1/roles", "/api/v1/permissions", "/api/v1/api-keys", "/api/v1/api-keys/*/rotate",
}

// harmless are the POSTs that change nothing, or the same when they are sent again. A refresh is one: the service answers a
// repeat by the same successor.
var harmless = []string{
	"/api/v1/auth/refresh", "/api/v1/auth/logout", "/api/v1/auth/introspect", "/api/v1/auth/revoke", "/api/v1/authz/check",
	"/api/v1/api-keys/verify", "/api/v1/api-keys/leaked",
}

// caller sends requests until one has an answer: the generated operations' way out.
type caller struct {
	cfg    Config
	http   http.Client
	server string // with a slash at its end
	path   string // of the URL: what stands before /api/v1
}

// Do implements HttpRequestDoer. An answer that is no success is an error, a *Problem.
func (c *caller) Do(req *http.Request) (*http.Response, error) {
	if c.is(req, takeKey) && req.Header.Get(headerKey) == "" {
		req.Header.Set(headerKey, rand.Text())
	}
	if c.cfg.Session == nil {
		return c.repeat(req, c.cfg.APIKey)
	}
	token, err := c.cfg.Session.token(req.Context(), "", c.refresh)
	if err != nil {
		return nil, err
	}
	res, err := c.repeat(req, token)
	var p *Problem
	if !errors.As(err, &p) || p.Code != "invalid_access_token" || !rewind(req) {
		return res, err
	}
	// The clocks differ, or the session's rights were cut: a new token tells.
	if token, err = c.cfg.Session.token(req.Context(), token, c.refresh); err != nil {
		return nil, err
	}
	return c.repeat(req, token)
}

// repeat sends the request, again while it was not answered and may be repeated.
func (c *caller) repeat(req *http.Request, credential string) (*http.Response, error) {
	if credential != "" && req.Header.Get("Authorization") == "" {
		req = req.Clone(req.Context()) // the next attempt of Do has another one
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	for attempt := 1; ; attempt++ {
		res, err := c.send(req)
		if err == nil {
			return res, nil
		}
		wait, again := c.again(req, err, attempt)
		if !again || !rewind(req) {
			return nil, err
		}
		if ended := c.cfg.sleep(req.Context(), wait); ended != nil {
			return nil, fmt.Errorf("%w, while waiting after: %w", ended, err)
		}
	}
}

// send sends the request once.
func (c *caller) send(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ums: %w", err)
	}
	if res.StatusCode >= 300 && res.StatusCode != http.StatusNotModified {
		return nil, readProblem(res)
	}
	// What comes in one piece is read here, so that a connection that is lost in its middle is one that can be repeated.
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if media != "application/json" || res.ContentLength < 0 || res.ContentLength > maxHeld {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("ums: read the answer: %w", err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// again says whether the request is to be sent once more, and after which time.
func (c *caller) again(req *http.Request, err error, attempt int) (time.Duration, bool) {
	ctx := req.Context()
	if attempt >= c.cfg.Attempts || ctx.Err() != nil {
		return 0, false
	}
	var asked time.Duration
	var p *Problem
	if errors.As(err, &p) {
		if !p.passes() && (!p.unsure() || !c.repeatable(req)) {
			return 0, false
		}
		asked = p.After
	} else if !c.repeatable(req) && !notSent(err) {
		return 0, false
	}
	wait := asked + jitter(asked/10)
	if asked == 0 {
		pause := min(firstPause<<min(attempt-1, 10), maxPause)
		wait = pause/2 + jitter(pause/2)
	}
	deadline, bounded := ctx.Deadline()
	return wait, asked <= c.cfg.MaxWait && (!bounded || time.Until(deadline) > wait)
}

// passes says that the service has done nothing and will do it later, so that every request may be repeated.
func (p *Problem) passes() bool {
	switch p.Code {
	case "rate_limited", "unavailable", "overloaded", "idempotency_in_progress":
		return true
	}
	return p.Status == http.StatusTooManyRequests
}

// unsure says that nobody knows whether the request was done.
func (p *Problem) unsure() bool {
	switch p.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// repeatable says whether a request that may have been done has the same effect, and the same answer, when it is sent
// again. With If-Match it has not: the repeat of what was done is refused.
func (c *caller) repeatable(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPut, http.MethodDelete:
		return req.Header.Get("If-Match") == ""
	case http.MethodPost:
		return c.is(req, takeKey) || c.is(req, harmless)
	}
	return false
}

func (c *caller) is(req *http.Request, routes []string) bool {
	route := strings.TrimPrefix(req.URL.Path, c.path)
	return req.Method == http.MethodPost && slices.ContainsFunc(routes, func(pattern string) bool {
		ok, _ := path.Match(pattern, route)
		return ok
	})
}

// notSent says that no connection was made, so that the service knows nothing of the request.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// rewind makes the body ready to be sent once more. One that can be read only once cannot.
func rewind(req *http.Request) bool {
	if req.Body == nil || req.Body == http.NoBody {
		return true
	}
	if req.GetBody == nil {
		return false
	}
	body, err := req.GetBody()
	req.Body = body
	return err == nil
}

// jitter keeps clients that were refused together from coming back together: a random time below most.
func jitter(most time.Duration) time.Duration {
	return mathrand.N(max(most, 1)) //nolint:gosec // jitter needs no secrecy
}

// refresh exchanges a refresh token.
func (c *caller) refresh(ctx context.Context, token string) (*Tokens, error) {
	req, err := NewRefreshRequest(c.server, RefreshJSONRequestBody{RefreshToken: &token})
	if err != nil {
		return nil, err
	}
	res, err := c.repeat(req.WithContext(ctx), "") //nolint:bodyclose // ParseRefreshResponse closes it
	if err != nil {
		return nil, err
	}
	got, err := ParseRefreshResponse(res)
	if err != nil {
		return nil, err
	}
	if got.JSON200 == nil {
		return nil, errors.New("ums: the answer to a refresh has no tokens")
	}
	return got.JSON200, nil
}

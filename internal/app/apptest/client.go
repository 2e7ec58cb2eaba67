package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi"
)

// Client calls the service as one caller.
type Client struct {
	base    string
	headers http.Header
	foreign bool // it calls another version, whose contract is not ours
}

// NewClient calls the service at base, without a credential.
func NewClient(base string) *Client { return &Client{base: base, headers: http.Header{}} }

// Base is where the service is.
func (c *Client) Base() string { return c.base }

// With returns a client that sends one more header.
func (c *Client) With(name, value string) *Client {
	h := c.headers.Clone()
	h.Set(name, value)
	return &Client{base: c.base, headers: h, foreign: c.foreign}
}

// Foreign returns a client for a service of another version: its answers are not held against the contract.
func (c *Client) Foreign() *Client { return &Client{base: c.base, headers: c.headers, foreign: true} }

// Bearer returns a client with this access token or key.
func (c *Client) Bearer(token string) *Client { return c.With("Authorization", "Bearer "+token) }

// At returns the same caller at another replica.
func (c *Client) At(other *Service) *Client { return &Client{base: other.base, headers: c.headers} }

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body into a value of maps and slices.
func (a *Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal(a.Body, &v), "%s", a.Body)
	return v
}

// String returns the body's member at a path such as "data.0.id", "" when there is none or it is no string.
func (a *Answer) String(t testing.TB, path string) string {
	t.Helper()
	s, _ := a.Get(t, path).(string)
	return s
}

// Get returns the body's member at a path such as "data.0.id", nil when there is none.
func (a *Answer) Get(t testing.TB, path string) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(a.Body, &v), "%s", a.Body)
	for part := range strings.SplitSeq(path, ".") {
		switch node := v.(type) {
		case map[string]any:
			v = node[part]
		case []any:
			i := 0
			for _, c := range part {
				i = i*10 + int(c-'0')
			}
			if i >= len(node) {
				return nil
			}
			v = node[i]
		default:
			return nil
		}
	}
	return v
}

// Code is the code of a problem, "" for another answer.
func (a *Answer) Code(t testing.TB) string {
	t.Helper()
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/problem+json") {
		return ""
	}
	return a.String(t, "code")
}

// Want checks the status, and the code when one is given.
func (a *Answer) Want(t testing.TB, status int, code ...string) *Answer {
	t.Helper()
	require.Equal(t, status, a.Status, "%s", a.Body)
	if len(code) > 0 {
		require.Equal(t, code[0], a.Code(t), "%s", a.Body)
	}
	return a
}

// GET calls a path below /api/v1, or an absolute one such as /livez.
func (c *Client) GET(t testing.TB, path string) *Answer { t.Helper(); return c.Do(t, "GET", path, nil) }

// POST sends body as JSON; a string or []byte is sent as it is.
func (c *Client) POST(t testing.TB, path string, body any) *Answer {
	t.Helper()
	return c.Do(t, "POST", path, body)
}

// PATCH sends body as JSON.
func (c *Client) PATCH(t testing.TB, path string, body any) *Answer {
	t.Helper()
	return c.Do(t, "PATCH", path, body)
}

// PUT sends body as JSON.
func (c *Client) PUT(t testing.TB, path string, body any) *Answer {
	t.Helper()
	return c.Do(t, "PUT", path, body)
}

// DELETE calls a path.
func (c *Client) DELETE(t testing.TB, path string) *Answer {
	t.Helper()
	return c.Do(t, "DELETE", path, nil)
}

var transport = &http.Transport{MaxIdleConnsPerHost: 64}

// Do sends a request and checks its answer against the contract.
func (c *Client) Do(t testing.TB, method, path string, body any) *Answer {
	t.Helper()
	a, req, err := c.Try(method, path, body)
	require.NoError(t, err)
	if !c.foreign {
		checkContract(t, req, a)
	}
	return a
}

// Try sends a request from any goroutine, unchecked.
func (c *Client) Try(method, path string, body any) (*Answer, *http.Request, error) {
	var payload []byte
	switch b := body.(type) {
	case nil:
	case string:
		payload = []byte(b)
	case []byte:
		payload = b
	default:
		var err error
		if payload, err = json.Marshal(b); err != nil {
			return nil, nil, err
		}
	}
	url := c.base + path
	if !absolute(path) {
		url = c.base + "/api/v1" + path
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(payload))
	if err != nil {
		return nil, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range c.headers {
		req.Header[name] = values
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, req, err
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: content}, req, err
}

// absolute says whether the path is none of the API's own.
func absolute(path string) bool {
	for _, p := range []string{"/livez", "/readyz", "/.well-known/", "/openapi.", "/docs", "/problems/", "/dev/", "/avatars/", "/api/", "/verify-email", "/accept-invitation", "/reset-password", "/magic-link", "/confirm-email-change", "/undo-email-change"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

var contract = sync.OnceValues(func() (routers.Router, error) {
	doc, err := httpapi.Contract(true)
	if err != nil {
		return nil, err
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	spec, err := openapi3.NewLoader().LoadFromData(doc)
	if err != nil {
		return nil, err
	}
	spec.Servers = nil
	return gorillamux.NewRouter(spec)
})

// checkContract holds an answer against the contract: its status is one of the operation's, and its body has the schema.
func checkContract(t testing.TB, req *http.Request, a *Answer) {
	t.Helper()
	router, err := contract()
	require.NoError(t, err)
	route, params, err := router.FindRoute(req)
	if err != nil {
		return // not an operation: a page, or a path that the contract does not know
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.Status, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	require.NoError(t, err, "%s %s answers %d, which the contract does not have:\n%s", req.Method, req.URL.Path, a.Status, a.Body)
}

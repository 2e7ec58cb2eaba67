// Package client calls the User Management Service. Its operations are generated from the contract (client.gen.go); what
// is written here makes them fit for use: problems are errors, what can be repeated is repeated, and the access token of
// a signed-in person is renewed in time.
//
//	ums, err := client.New(client.Config{URL: "https://ums.example.com", APIKey: os.Getenv("UMS_API_KEY")})
//	made, err := ums.CreateUserWithResponse(ctx, nil, client.NewUser{Email: &email})
//	var p *client.Problem
//	switch {
//	case errors.As(err, &p) && p.Code == "email_taken":
//		// …
//	case err != nil:
//		return err
//	}
//	fmt.Println(made.JSON201.ID)
//
// Without an error, the member of the answer that is named after its status is set. A GET with If-None-Match may also be
// answered by 304: then there is none, and HTTPResponse.StatusCode says so.
//
// The operations that end in WithResponse read the whole answer. For exports take those without, and read the Body of
// what they return. To set a field to null in a PATCH take those with WithBody: a pointer that is nil leaves it as it is.
package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultAttempts = 4
	defaultMaxWait  = 30 * time.Second
	answerTime      = 30 * time.Second // for the head of an answer; the service gives a request 10s
)

// Config says which service is called, and as whom. At most one of APIKey and Session is set; with neither, only what
// needs no credential can be called, such as Login.
type Config struct {
	// URL is where the service is reached, without /api/v1.
	URL string
	// APIKey is sent with each request.
	APIKey string
	// Session is whom each request speaks for. Clients of one service may share it.
	Session *Session

	// Attempts is how often a request is sent at most; 0 = 4, 1 = it is never repeated.
	Attempts int
	// MaxWait is how long a request waits at most before it is repeated; when the service asks for more, its refusal is
	// returned at once. 0 = 30s.
	MaxWait time.Duration

	// HTTP sends the requests; nil = one that waits 30s for the head of an answer, and without end for the body, which
	// the context bounds. Redirects are never followed.
	HTTP *http.Client

	sleep func(context.Context, time.Duration) error // for tests; nil = in real time
}

// New returns a client. It asks the service nothing before the first call.
func New(cfg Config) (*ClientWithResponses, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("client: URL has to be that of the service, such as https://ums.example.com")
	}
	if cfg.APIKey != "" && cfg.Session != nil {
		return nil, errors.New("client: take an APIKey or a Session, not both")
	}
	if cfg.Attempts < 0 || cfg.MaxWait < 0 {
		return nil, errors.New("client: Attempts and MaxWait cannot be negative")
	}
	c := &caller{cfg: cfg, server: strings.TrimRight(cfg.URL, "/") + "/", path: strings.TrimRight(u.Path, "/")}
	if c.cfg.Attempts == 0 {
		c.cfg.Attempts = defaultAttempts
	}
	if c.cfg.MaxWait == 0 {
		c.cfg.MaxWait = defaultMaxWait
	}
	if c.cfg.sleep == nil {
		c.cfg.sleep = sleep
	}
	if cfg.HTTP != nil {
		c.http = *cfg.HTTP
	} else {
		c.http.Transport = transport()
	}
	// Whoever redirects us gets no credential.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return NewClientWithResponses(c.server, WithHTTPClient(c))
}

func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: answerTime,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

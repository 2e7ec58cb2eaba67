package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

// line is a service that answers as it is told, one request after the other, and notes what it was sent.
type line struct {
	answers []func(*http.Request) (*http.Response, error)
	sent    []*http.Request
	bodies  []string
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
	}
	l.sent, l.bodies = append(l.sent, r), append(l.bodies, body)
	answer := l.answers[min(len(l.sent), len(l.answers))-1]
	return answer(r)
}

func answer(status int, header http.Header, body string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
		}, nil
	}
}

func refusal(status int, code, after string) func(*http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/problem+json"}}
	if after != "" {
		h.Set("Retry-After", after)
	}
	return answer(status, h, `{"type":"https://ums.example.com/problems/`+code+`","title":"T","status":400,"detail":"Do better.","code":"`+code+`","request_id":"r-1","required":"users:write"}`)
}

func success(status int, body string) func(*http.Request) (*http.Response, error) {
	return answer(status, http.Header{"Content-Type": {"application/json"}}, body)
}

func broken(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
}

func unreachable(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
}

// cut answers with a body that ends before its length.
func cut(r *http.Request) (*http.Response, error) {
	res, err := success(http.StatusOK, `{"data":[`)(r)
	res.Body = io.NopCloser(io.MultiReader(res.Body, failing{}))
	return res, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

const aUser = `{"id":"01a21788-3fcc-7715-ae28-e7e88f273525","email":"ada@example.com","roles":[],"metadata":{},"app_metadata":{}}`

// What is repeated is what cannot have two effects; as often as allowed, and after the time that was asked for.
func TestWhatIsRepeated(t *testing.T) {
	t.Parallel()
	type answers []func(*http.Request) (*http.Response, error)
	email := "ada@example.com"
	read := func(ctx context.Context, c *ClientWithResponses) error {
		_, err := c.GetMeWithResponse(ctx, nil)
		return err
	}
	list := func(ctx context.Context, c *ClientWithResponses) error {
		_, err := c.ListUsersWithResponse(ctx, &ListUsersParams{Email: &email})
		return err
	}
	create := func(ctx context.Context, c *ClientWithResponses) error {
		_, err := c.CreateUserWithResponse(ctx, nil, NewUser{Email: &email})
		return err
	}
	login := func(ctx context.Context, c *ClientWithResponses) error {
		_, err := c.LoginWithResponse(ctx, Login{Email: email, Password: "copper lantern drifts north"})
		return err
	}
	change := func(ctx context.Context, c *ClientWithResponses) error {
		_, err := c.UpdateMeWithResponse(ctx, nil, MePatch{DisplayName: &email})
		return err
	}
	suspend := func(ctx context.Context, c *ClientWithResponses) error {
		_, err := c.DeleteUserWithResponse(ctx, "01a21788-3fcc-7715-ae28-e7e88f273525", nil)
		return err
	}
	ifMatch := func(ctx context.Context, c *ClientWithResponses) error {
		tag := `"3"`
		_, err := c.DeleteUserWithResponse(ctx, "01a21788-3fcc-7715-ae28-e7e88f273525", &DeleteUserParams{IfMatch: &tag})
		return err
	}
	verify := func(ctx context.Context, c *ClientWithResponses) error {
		_, err := c.VerifyAPIKeyWithResponse(ctx, KeyQuestion{Key: "k"})
		return err
	}
	stream := func(ctx context.Context, c *ClientWithResponses) error {
		res, err := c.ImportUsersWithBody(ctx, nil, "application/x-ndjson", io.MultiReader(strings.NewReader("{}\n")))
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	const second = time.Second
	for name, c := range map[string]struct {
		call    func(context.Context, *ClientWithResponses) error
		answers answers
		sent    int
		wait    time.Duration // at least; at most a tenth and half a second more
		code    string        // of the error; "-" = some other one
	}{
		"a success is final":                 {read, answers{success(200, aUser)}, 1, 0, ""},
		"a refusal is final":                 {read, answers{refusal(404, "not_found", "")}, 1, 0, "not_found"},
		"a fault is final":                   {read, answers{refusal(500, "internal_error", "")}, 1, 0, "internal_error"},
		"a redirect is a refusal":            {read, answers{answer(302, http.Header{"Location": {"https://example.org"}}, "")}, 1, 0, "-"},
		"a limit is waited for":              {read, answers{refusal(429, "rate_limited", "7"), success(200, aUser)}, 2, 7 * second, ""},
		"with a change, too":                 {change, answers{refusal(429, "rate_limited", "7"), success(200, aUser)}, 2, 7 * second, ""},
		"an overload is waited for":          {login, answers{refusal(503, "overloaded", "1"), refusal(503, "unavailable", "2"), success(200, "{}")}, 3, 3 * second, ""},
		"not for too long":                   {read, answers{refusal(429, "rate_limited", "31")}, 1, 0, "rate_limited"},
		"not for ever":                       {read, answers{refusal(503, "unavailable", "1")}, 4, 3 * second, "unavailable"},
		"without a time it is a moment":      {read, answers{refusal(503, "unavailable", ""), success(200, aUser)}, 2, 50 * time.Millisecond, ""},
		"a proxy's 503, too":                 {read, answers{answer(503, http.Header{}, "busy"), success(200, aUser)}, 2, 50 * time.Millisecond, ""},
		"a proxy may have passed it on":      {change, answers{answer(503, http.Header{"Retry-After": {"1"}}, "busy")}, 1, 0, "-"},
		"a lost read is repeated":            {list, answers{broken, cut, success(200, `{"data":[],"next_cursor":null}`)}, 3, 150 * time.Millisecond, ""},
		"a lost creation is repeated":        {create, answers{broken, success(201, aUser)}, 2, 50 * time.Millisecond, ""},
		"and one that still runs":            {create, answers{broken, refusal(409, "idempotency_in_progress", "1"), success(201, aUser)}, 3, second, ""},
		"and one whose outcome is unknown":   {create, answers{refusal(503, "outcome_unknown", "1"), success(201, aUser)}, 2, second, ""},
		"a lost deletion is repeated":        {suspend, answers{broken, success(204, "")}, 2, 50 * time.Millisecond, ""},
		"a lost question is repeated":        {verify, answers{broken, success(200, "{}")}, 2, 50 * time.Millisecond, ""},
		"a lost change is not":               {change, answers{broken}, 1, 0, "-"},
		"nor one whose outcome is unknown":   {change, answers{refusal(503, "outcome_unknown", "1")}, 1, 0, "outcome_unknown"},
		"nor a lost sign-in":                 {login, answers{broken}, 1, 0, "-"},
		"nor what its repeat would refuse":   {ifMatch, answers{broken}, 1, 0, "-"},
		"what was not sent is repeated":      {change, answers{unreachable, success(200, aUser)}, 2, 50 * time.Millisecond, ""},
		"what can be read only once is not":  {stream, answers{refusal(503, "overloaded", "1")}, 1, 0, "overloaded"},
		"no problem document is half a one":  {read, answers{answer(400, http.Header{"Content-Type": {"application/problem+json"}}, `{"code":"x"`)}, 1, 0, "-"},
		"a date does as well as a number":    {read, answers{refusal(429, "rate_limited", "Sat, 01 Jan 2000 00:00:05 GMT"), success(200, aUser)}, 2, 5 * second, ""},
		"a time that is past is a moment":    {read, answers{refusal(429, "rate_limited", "Fri, 31 Dec 1999 23:00:00 GMT"), success(200, aUser)}, 2, 50 * time.Millisecond, ""},
		"a limit in the way of a sign-in is": {login, answers{refusal(429, "rate_limited", "1"), refusal(401, "invalid_credentials", "")}, 2, second, "invalid_credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &line{answers: c.answers}
				ums, err := New(Config{URL: "https://ums.example.com/", APIKey: "ums_live_mine", HTTP: &http.Client{Transport: l}})
				require.NoError(t, err)
				begin := time.Now()
				err = c.call(t.Context(), ums)
				took := time.Since(begin)
				var p *Problem
				switch c.code {
				case "":
					require.NoError(t, err)
				case "-":
					require.Error(t, err)
				default:
					require.ErrorAs(t, err, &p)
					require.Equal(t, c.code, p.Code)
				}
				require.Len(t, l.sent, c.sent)
				require.GreaterOrEqual(t, took, c.wait)
				require.LessOrEqual(t, took, c.wait+c.wait/10+500*time.Millisecond)
				for i, r := range l.sent {
					require.Equal(t, l.bodies[0], l.bodies[i])
					require.Equal(t, l.sent[0].Header, r.Header)
					require.Equal(t, "Bearer ums_live_mine", r.Header.Get("Authorization"))
				}
			})
		})
	}
}

// A key of idempotency is made for what takes one, another for each call; one's own is left alone.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	l := &line{answers: []func(*http.Request) (*http.Response, error){success(201, aUser)}}
	ums, err := New(Config{URL: "https://ums.example.com/below", HTTP: &http.Client{Transport: l}})
	require.NoError(t, err)
	mine := "mine"
	for range 2 {
		_, err = ums.CreateUserWithResponse(t.Context(), nil, NewUser{})
		require.NoError(t, err)
	}
	_, err = ums.CreateUserWithResponse(t.Context(), &CreateUserParams{IdempotencyKey: &mine}, NewUser{})
	require.NoError(t, err)
	_, err = ums.RotateAPIKeyWithResponse(t.Context(), "01a21788-3fcc-7715-ae28-e7e88f273525", nil, KeyRotation{})
	require.NoError(t, err)
	_, err = ums.SuspendUserWithResponse(t.Context(), "01a21788-3fcc-7715-ae28-e7e88f273525", Suspension{})
	require.NoError(t, err)
	keys := make([]string, len(l.sent))
	for i, r := range l.sent {
		keys[i] = r.Header.Get("Idempotency-Key")
	}
	require.Equal(t, "/below/api/v1/users", l.sent[0].URL.Path)
	require.Regexp(t, "^[A-Z2-7]{26}$", keys[0])
	require.Regexp(t, "^[A-Z2-7]{26}$", keys[1])
	require.NotEqual(t, keys[0], keys[1])
	require.Equal(t, "mine", keys[2])
	require.Regexp(t, "^[A-Z2-7]{26}$", keys[3])
	require.Empty(t, keys[4])
}

// Whoever gives up does not wait to the end, and learns of both: that time was up, and why it was waited.
func TestACallerWhoGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &line{answers: []func(*http.Request) (*http.Response, error){refusal(503, "unavailable", "20")}}
		ums, err := New(Config{URL: "https://ums.example.com", HTTP: &http.Client{Transport: l}})
		require.NoError(t, err)
		begin := time.Now()
		var p *Problem

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = ums.GetAuthConfigWithResponse(ctx)
		require.ErrorAs(t, err, &p)
		require.Zero(t, time.Since(begin), "the wait would be longer than the time that is left")

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		_, err = ums.GetAuthConfigWithResponse(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorAs(t, err, &p)
		require.Equal(t, 3*time.Second, time.Since(begin))
		require.Len(t, l.sent, 2)
	})
}

func TestProblems(t *testing.T) {
	t.Parallel()
	l := &line{answers: []func(*http.Request) (*http.Response, error){refusal(403, "permission_denied", ""), answer(502, http.Header{}, "<html>")}}
	ums, err := New(Config{URL: "https://ums.example.com", Attempts: 1, HTTP: &http.Client{Transport: l}})
	require.NoError(t, err)
	var p *Problem
	_, err = ums.GetMeWithResponse(t.Context(), nil)
	require.ErrorAs(t, err, &p)
	require.Equal(t, "ums: 403 permission_denied: Do better. (request r-1)", err.Error())
	require.Contains(t, string(p.Body), `"required":"users:write"`)
	_, err = ums.GetMeWithResponse(t.Context(), nil)
	require.ErrorAs(t, err, &p)
	require.Equal(t, "ums: 502 Bad Gateway", err.Error())
	require.Equal(t, "<html>", string(p.Body))
}

func TestConfigurations(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"no address": {}, "no scheme": {URL: "ums.example.com"}, "another scheme": {URL: "ftp://ums.example.com"},
		"a credential": {URL: "https://ada@ums.example.com"}, "a query": {URL: "https://ums.example.com?x=1"},
		"two callers":      {URL: "https://ums.example.com", APIKey: "k", Session: NewSession(Tokens{}, nil)},
		"negative numbers": {URL: "https://ums.example.com", Attempts: -1}, "negative times": {URL: "https://ums.example.com", MaxWait: -1},
	} {
		_, err := New(cfg)
		require.Error(t, err, name)
	}
}

// What is written here of the operations is what the contract says.
func TestTheListsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromFile("../openapi.yaml")
	require.NoError(t, err)
	c := caller{}
	found := 0
	for route, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			takes := op.Parameters.GetByInAndName("header", headerKey) != nil
			r, err := http.NewRequestWithContext(t.Context(), method, "https://ums.example.com"+strings.ReplaceAll(route, "{id}", "1"), http.NoBody)
			require.NoError(t, err)
			require.Equal(t, takes, c.is(r, takeKey), "%s %s", method, route)
			if takes || c.is(r, harmless) {
				found++
			}
		}
	}
	require.Len(t, append(takeKey, harmless...), found)
}

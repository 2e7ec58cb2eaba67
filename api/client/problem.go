package client

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxProblem is how much of a refusal is read, in bytes.
const maxProblem = 1 << 20

// Problem is an answer that is no success: a problem document of the service (RFC 9457), or whatever something before it
// answered, which has a Status and no Code.
type Problem struct {
	Type      string        `json:"type"` // URL of the page that explains the code
	Title     string        `json:"title"`
	Status    int           `json:"status"`
	Detail    string        `json:"detail"`
	Code      string        `json:"code"` // stable: what a program decides by
	RequestID string        `json:"request_id"`
	Faults    []Fault       `json:"errors"` // all that is wrong with the input
	Body      []byte        `json:"-"`      // the whole document: some codes add members, such as required or mfa_token
	After     time.Duration `json:"-"`      // what Retry-After asks for; 0 = nothing
}

// Fault is one thing that is wrong with the input.
type Fault struct {
	Pointer string `json:"pointer"` // JSON Pointer into the body, or query/NAME, path/NAME, header/NAME
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// Error implements error. The body is not part of it, since it may hold a token.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ums: %d", p.Status)
	if p.Code == "" {
		return b.String() + " " + http.StatusText(p.Status)
	}
	fmt.Fprintf(&b, " %s: %s", p.Code, p.Detail)
	for _, f := range p.Faults {
		fmt.Fprintf(&b, " %s: %s", f.Pointer, f.Detail)
	}
	fmt.Fprintf(&b, " (request %s)", p.RequestID)
	return b.String()
}

// readProblem makes an error of an answer, and closes it.
func readProblem(res *http.Response) *Problem {
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	p := &Problem{Body: body}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || media != "application/problem+json" || json.Unmarshal(body, p) != nil {
		*p = Problem{Body: body}
	}
	p.Status, p.After = res.StatusCode, retryAfter(res.Header.Get("Retry-After"))
	return p
}

// retryAfter reads either form of the header (RFC 9110, section 10.2.3).
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

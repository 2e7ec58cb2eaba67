// Package problem turns errors into answers: RFC 9457 problem documents. It is the only place that knows which kind of
// fault is which status, and the only one that decides what of an error a client sees.
package problem

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// ContentType is the media type of every problem (RFC 9457, section 3).
const ContentType = "application/problem+json"

// Status returns the HTTP status of a kind: the one table.
func Status(kind fault.Kind) int {
	switch kind {
	case fault.Malformed:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case fault.Conflict:
		return http.StatusConflict
	case fault.PreconditionFailed:
		return http.StatusPreconditionFailed
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case fault.Misdirected:
		return http.StatusMisdirectedRequest
	case fault.Invalid:
		return http.StatusUnprocessableEntity
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Internal:
	}
	return http.StatusInternalServerError
}

// Document is a problem document. It has the methods of an error that carries its own status and headers, so that an
// API layer can return it as one.
type Document struct {
	Type      string        `json:"type"` // URL of the code's page
	Title     string        `json:"title"`
	Status    int           `json:"status"`
	Detail    string        `json:"detail"`
	Code      string        `json:"code"`
	RequestID string        `json:"request_id"`
	Errors    []fault.Field `json:"errors,omitempty"`

	extra      map[string]any
	retryAfter time.Duration
}

// Error returns the code and the public detail.
func (d *Document) Error() string { return d.Code + ": " + d.Detail }

// GetStatus returns the HTTP status.
func (d *Document) GetStatus() int { return d.Status }

// ContentType returns the media type of problems, whatever was negotiated.
func (d *Document) ContentType(string) string { return ContentType }

// GetHeaders returns the headers that belong to the document, Content-Type apart.
func (d *Document) GetHeaders() http.Header {
	h := http.Header{}
	d.setHeaders(h)
	return h
}

func (d *Document) setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	if d.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge(d.Code))
	}
	if d.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((d.retryAfter+time.Second-1)/time.Second), 10))
	}
}

// challenge returns the WWW-Authenticate value of a 401 (RFC 9110, section 11.6.1; RFC 6750, section 3): error is said
// only of a credential that was presented as one.
func challenge(code string) string {
	switch code {
	case "invalid_access_token", "invalid_api_key":
		return `Bearer error="invalid_token"`
	default:
		return "Bearer"
	}
}

// MarshalJSON writes the standard members, then the fault's own in alphabetical order. A fault cannot replace a
// standard member.
func (d *Document) MarshalJSON() ([]byte, error) {
	type members Document // without this method
	var b bytes.Buffer
	if err := encode(&b, (*members)(d)); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(d.extra)) {
		if standard[name] {
			continue
		}
		b.Truncate(b.Len() - 1) // the closing brace
		b.WriteByte(',')
		if err := encode(&b, name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encode(&b, d.extra[name]); err != nil {
			return nil, err
		}
		b.WriteByte('}')
	}
	return b.Bytes(), nil
}

var standard = map[string]bool{
	"type": true, "title": true, "status": true, "detail": true, "code": true, "request_id": true, "errors": true,
}

// encode appends v as JSON without escaping for HTML, and without the encoder's line feed.
func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1)
	return nil
}

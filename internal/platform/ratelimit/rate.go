// Package ratelimit is the general request limiter: one generic cell rate algorithm (GCRA) behind an interface that
// a store in this process implements, and one that replicas share can. General limits fail open: the caller lets a
// request pass when Allow returns an error. The limits that guard credentials are rows in PostgreSQL, not these.
package ratelimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The bounds of a rate. One request a microsecond is beyond what one process answers; a month is the longest window
// that still means something in a store that does not survive a restart.
const (
	minInterval = time.Microsecond
	maxWindow   = 31 * 24 * time.Hour
)

// Rate is how many requests one key has in a window: all of them at once, or spread. The zero Rate limits nothing.
type Rate struct {
	Limit  int
	Window time.Duration
}

// ParseRate reads "600/1m", "10/15m" (a count, a slash, a Go duration) or "off".
func ParseRate(text string) (Rate, error) {
	text = strings.TrimSpace(text)
	if text == "off" {
		return Rate{}, nil
	}
	count, window, ok := strings.Cut(text, "/")
	if !ok {
		return Rate{}, fmt.Errorf("%q is no rate: write it like 600/1m, or off", text)
	}
	limit, err := strconv.Atoi(count)
	if err != nil || strings.HasPrefix(count, "+") {
		return Rate{}, fmt.Errorf("%q is no rate: the part before the slash must be a whole number", text)
	}
	d, err := time.ParseDuration(window)
	if err != nil {
		return Rate{}, fmt.Errorf("%q is no rate: the part after the slash must be a duration like 30s, 1m or 24h", text)
	}
	r := Rate{Limit: limit, Window: d}
	if limit == 0 && d == 0 {
		return Rate{}, fmt.Errorf("%q is no rate: write off to switch a limit off", text)
	}
	if err := r.Validate(); err != nil {
		return Rate{}, fmt.Errorf("%q is no rate: %w", text, err)
	}
	return r, nil
}

// UnmarshalText reads a Rate from the configuration.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// Off says whether the rate limits nothing.
func (r Rate) Off() bool { return r == Rate{} }

// Validate says what is wrong with a rate that did not come from ParseRate, such as an API key's own.
func (r Rate) Validate() error {
	switch {
	case r.Off():
		return nil
	case r.Limit < 1:
		return errors.New("the limit must be at least 1")
	case r.Window < time.Second:
		return errors.New("the window must be at least one second")
	case r.Window > maxWindow:
		return errors.New("the window must be at most 31 days")
	case r.Window/time.Duration(r.Limit) < minInterval:
		return errors.New("the limit must be at most one request a microsecond")
	}
	return nil
}

// String returns the form that ParseRate reads.
func (r Rate) String() string {
	if r.Off() {
		return "off"
	}
	return strconv.Itoa(r.Limit) + "/" + r.Window.String()
}

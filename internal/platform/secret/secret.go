// Package secret holds text that must not be printed: passwords, tokens, keys, DSNs.
package secret

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a string that no formatter, encoder or logger prints. Reveal gives it to the one place that needs it.
type Text struct{ value string }

// New wraps value.
func New(value string) Text { return Text{value} }

// Reveal returns the text itself.
func (t Text) Reveal() string { return t.value }

// Empty says whether there is no text.
func (t Text) Empty() bool { return t.value == "" }

// String returns a placeholder.
func (t Text) String() string { return redacted }

// Format writes a placeholder under every verb of fmt.
func (t Text) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, redacted) }

// MarshalText returns a placeholder, for encoding/json and its like.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the text, so that decoders and the configuration can fill it.
func (t *Text) UnmarshalText(b []byte) error {
	t.value = string(b)
	return nil
}

// LogValue returns a placeholder, for slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// Package telemetry is what the service says about itself: log lines and metrics.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lmittmann/tint"
)

// Config says how much is logged, and how.
type Config struct {
	Level  slog.Level `env:"UMS_LOG_LEVEL" envDefault:"info"`
	Format Format     `env:"UMS_LOG_FORMAT"`
}

// Format is the form of log lines; empty means text in a terminal and JSON elsewhere.
type Format string

// The formats.
const (
	JSON Format = "json"
	Text Format = "text"
)

// UnmarshalText reads a Format from the configuration.
func (f *Format) UnmarshalText(text []byte) error {
	switch value := Format(text); value {
	case "", JSON, Text:
		*f = value
		return nil
	}
	return fmt.Errorf("%q is no log format: choose json or text", text)
}

// For returns the format in force for a destination.
func (f Format) For(isTerminal bool) Format {
	switch {
	case f != "":
		return f
	case isTerminal:
		return Text
	default:
		return JSON
	}
}

// TimeLayout is how log lines tell the time: RFC 3339 in UTC with milliseconds, as the API does.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// NewLogger returns the service's logger. JSON lines go to w as they are; text is coloured when w is a terminal.
// Control characters in messages and strings are written as escapes, so that no value can forge a line or move a cursor.
func NewLogger(cfg Config, w io.Writer, isTerminal bool) *slog.Logger {
	if cfg.Format.For(isTerminal) == Text {
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: cfg.Level, TimeFormat: time.TimeOnly, NoColor: !isTerminal,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return escapeAttr(a, unsafeRune) },
		}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: cfg.Level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				return slog.String(slog.TimeKey, a.Value.Time().UTC().Format(TimeLayout))
			}
			return escapeAttr(a, unsafeInJSON)
		},
	}))
}

// escapeAttr neutralises strings and errors. Values of other kinds cannot carry text of a client's choosing, except
// through types that print themselves, which are not logged here.
func escapeAttr(a slog.Attr, unsafe func(rune) bool) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(escape(a.Value.String(), unsafe))
	case slog.KindAny:
		if err, ok := a.Value.Any().(error); ok && err != nil {
			a.Value = slog.StringValue(escape(err.Error(), unsafe))
		}
	default:
	}
	return a
}

// Escape returns s with every control character (C0 with line breaks, DEL, C1), line or paragraph separator and
// bidirectional control written as \uXXXX, and invalid UTF-8 replaced by U+FFFD.
func Escape(s string) string { return escape(s, unsafeRune) }

func escape(s string, unsafe func(rune) bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return unsafe(r) || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unsafe(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unsafeInJSON leaves C0 to the encoder, which escapes it in its own way, so that a stack trace stays readable.
func unsafeInJSON(r rune) bool { return r >= 0x20 && unsafeRune(r) }

func unsafeRune(r rune) bool {
	switch {
	case r < 0x20:
		return true
	case r < 0x7f:
		return false
	case r < 0xa0, r == 0x2028, r == 0x2029, r == 0xfeff:
		return true
	default:
		return unicode.Is(unicode.Bidi_Control, r)
	}
}

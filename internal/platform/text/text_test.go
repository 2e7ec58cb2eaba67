package text_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/text"
)

// HTTP-02, REG-09: what must never reach a row, a mail header or a log line.
func TestLineAndBlock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, line, block string }{
		{"plain", "Ada Lovelace", "", ""},
		{"other scripts and signs", "Дарья 王 👩🏽‍🚀 Ñ-O", "", ""},
		{"a bidi override is shown escaped, not refused", "a\u202eb", "", ""},
		{"NUL", "a\x00b", "control_character", "control_character"},
		{"CRLF", "a\r\nBcc: x@y.test", "control_character", "control_character"},
		{"LF", "a\nb", "control_character", ""},
		{"tab", "a\tb", "control_character", ""},
		{"escape", "a\x1b[31mb", "control_character", "control_character"},
		{"C1", "a\u0085b", "control_character", "control_character"},
		{"line separator", "a\u2028b", "control_character", "control_character"},
		{"noncharacter", "a\uffffb", "control_character", "control_character"},
		{"noncharacter of a higher plane", "a\U0001fffeb", "control_character", "control_character"},
		{"invalid UTF-8", "a\xffb", "control_character", "control_character"},
		{"empty", "", "too_short", "too_short"},
		{"blank", " \u00a0 ", "too_short", "too_short"},
		{"as long as may be, in code points", strings.Repeat("é", 20), "", ""},
		{"too long", strings.Repeat("é", 21), "too_long", "too_long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.line, code(t, text.Line, c.in))
			require.Equal(t, c.block, code(t, text.Block, c.in))
		})
	}
}

func code(t *testing.T, check func(*fault.Validation, string, string, int), in string) string {
	t.Helper()
	var v fault.Validation
	check(&v, "/x", in, 20)
	if v.Err() == nil {
		return ""
	}
	f := fault.As(v.Err())
	require.Len(t, f.Fields, 1)
	require.Equal(t, "/x", f.Fields[0].Pointer)
	if in != "" {
		require.NotContains(t, f.Error(), in, "a rejected value is never echoed")
	}
	return f.Fields[0].Code
}

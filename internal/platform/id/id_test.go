package id_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/id"
)

func TestParseTakesOneSpelling(t *testing.T) {
	t.Parallel()
	made := id.New()
	for _, s := range []string{made.String(), strings.ToUpper(made.String())} {
		parsed, ok := id.Parse(s)
		require.True(t, ok, s)
		require.Equal(t, made, parsed)
	}
	for _, s := range []string{
		"", "me", id.Nil.String(), "urn:uuid:" + made.String(), "{" + made.String() + "}",
		strings.ReplaceAll(made.String(), "-", ""), made.String() + "\n", "g" + made.String()[1:],
	} {
		_, ok := id.Parse(s)
		require.False(t, ok, "%q", s)
	}
}

// FuzzParse: an id has one spelling but for the case of its letters, and none is the nil UUID.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "0198c0de-0000-7000-8000-000000000001", "00000000-0000-0000-0000-000000000000", "{0198c0de-0000-7000-8000-000000000001}",
		"urn:uuid:0198c0de-0000-7000-8000-000000000001", "0198c0de000070008000000000000001", "0198C0DE-0000-7000-8000-00000000000F", "0198c0de-0000-7000-8000-00000000000g",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, ok := id.Parse(text)
		if ok && (u == id.Nil || u.String() != strings.ToLower(text)) {
			t.Fatalf("%q was read as %s", text, u)
		}
	})
}

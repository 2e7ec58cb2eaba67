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

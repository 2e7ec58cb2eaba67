package httpapi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestContractBuilds(t *testing.T) {
	t.Parallel()
	doc, err := Contract(false)
	require.NoError(t, err)
	require.Contains(t, string(doc), "openapi: 3.1")
}

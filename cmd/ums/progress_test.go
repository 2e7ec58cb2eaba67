package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1500 accounts, 500/s", progressLine(1500, 0, "accounts", 3*time.Second))
	require.Equal(t, "[===============               ]  50%  50 of 100 accounts, 25/s", progressLine(50, 100, "accounts", 2*time.Second))
	require.Equal(t, "[==============================] 100%  101 of 100 bytes read, 101/s", progressLine(101, 100, "bytes read", time.Second))
	require.Contains(t, progressLine(0, 1, "accounts", 0), "  0%")

	// Where nobody sits at a terminal nothing is said.
	var out bytes.Buffer
	p := newProgress(&out)
	p.show(1, 2, "accounts")
	p.end()
	require.Empty(t, out.String())
}

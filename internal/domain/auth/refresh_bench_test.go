package auth_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/auth"
)

// BenchmarkRefresh is the hot path of every client: 16 sessions, each with a chain of its own.
func BenchmarkRefresh(b *testing.B) {
	bench := newBench(b)
	bench.active("alice@x.test")
	const chains = 16
	tokens := make([]auth.Tokens, chains)
	for i := range tokens {
		tokens[i], _ = bench.mustLogin("alice@x.test")
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(chains)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		mine := tokens[(next.Add(1)-1)%chains]
		for pb.Next() {
			var err error
			if mine, err = bench.Refresh(b.Context(), nobody, mine.RefreshToken); err != nil {
				b.Error(err)
				return
			}
		}
	})
	require.False(b, b.Failed())
}

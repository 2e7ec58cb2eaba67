package user_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// What a page of fifty and one's own account cost from here to the database and back.
func BenchmarkReads(b *testing.B) {
	pool, err := postgres.Open(b.Context(), postgres.Config{URL: secret.New(pgtest.URL(b)), ExecMode: "cache_statement"}, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	_, err = pool.Exec(b.Context(), `
		INSERT INTO users (id, email, email_norm, email_verified, display_name, status, created_at, last_login_at)
		SELECT gen_random_uuid(), 'user' || i || '@example.org', 'user' || i || '@example.org', true, 'User ' || i, 'active',
			now() - make_interval(secs => i), now()
		FROM generate_series(1, 5000) i`)
	require.NoError(b, err)
	s := user.NewService(pool)
	page := user.Filter{Sort: user.DefaultSort, Limit: 51}
	users, err := s.List(b.Context(), operator, page)
	require.NoError(b, err)
	b.Run("list", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.List(b.Context(), operator, page); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Get(b.Context(), operator, users[0].ID); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

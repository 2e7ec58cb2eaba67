package httpapi

import (
	"io"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// What it costs to write one's own account, and a page of fifty.
func BenchmarkEncodeUsers(b *testing.B) {
	email, name, now := "user4711@example.org", "User 4711", time.Now()
	u := &user.User{
		ID: id.New(), Kind: user.Human, Email: &email, EmailVerified: true, DisplayName: &name, Status: user.Active, Roles: []string{"user"},
		Metadata: jsontext.Value("{}"), AppMetadata: jsontext.Value(`{"plan": "pro"}`), LastLoginAt: &now, CreatedAt: now, UpdatedAt: now,
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = marshalJSON(io.Discard, encodeUser(u))
		}
	})
	b.Run("page", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data := make([]User, 50)
			for i := range data {
				data[i] = encodeUser(u)
			}
			_ = marshalJSON(io.Discard, page.Page[User]{Data: data})
		}
	})
}

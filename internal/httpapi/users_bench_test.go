package httpapi

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

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

// What is written by hand is what the type says, whatever the values.
func TestUsersAreEncodedAsTyped(t *testing.T) {
	t.Parallel()
	type typed User // without the method
	optional := func(t *rapid.T, name string) *string {
		return rapid.Ptr(rapid.String(), true).Draw(t, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := timestamp(time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "at")))
		u := User{
			ID: id.New(), Kind: "human", Email: optional(t, "email"), EmailVerified: rapid.Bool().Draw(t, "verified"),
			DisplayName: optional(t, "name"), Locale: optional(t, "locale"), Timezone: optional(t, "zone"), Status: "active",
			Roles:    rapid.SliceOf(rapid.String()).Draw(t, "roles"),
			Metadata: object(`{"a": {"b": [1, "\u00e9"]}, "c": null}`), ExternalID: optional(t, "external"),
			MFAEnabled: rapid.Bool().Draw(t, "mfa"), LastLoginAt: rapid.Ptr(rapid.Just(at), true).Draw(t, "login"), CreatedAt: at, UpdatedAt: at,
		}
		var byHand, reflected bytes.Buffer
		require.NoError(t, marshalJSON(&byHand, page.Page[User]{Data: []User{u, u}}))
		require.NoError(t, marshalJSON(&reflected, page.Page[typed]{Data: []typed{typed(u), typed(u)}}))
		require.JSONEq(t, reflected.String(), byHand.String())
	})
}

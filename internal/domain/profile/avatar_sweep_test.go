package profile_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/objectstore"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// What a process left behind that died between storing a picture and its commit goes after a day; what a profile names,
// and what may still be on its way, stays. So does what others keep in the same bucket.
func TestPicturesThatNobodyNamesAreSwept(t *testing.T) {
	t.Parallel()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("ums"))
	store := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(store.Close)
	for name, pictures := range map[string]func(bundle) profile.Pictures{
		"in the database": func(b bundle) profile.Pictures { return profile.NewTable(b.db) },
		"in an object store": func(bundle) profile.Pictures {
			bucket, err := objectstore.Open(secret.New(strings.Replace(store.URL, "http://", "http://key:secret@", 1) + "/ums/avatars?region=us-east-1"))
			require.NoError(t, err)
			return bucket
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			p := pictures(b)
			owner := b.person(t, "ada@example.org")
			// 1,010 are left behind under a letter and two under others; one has an owner.
			named, left := "mine"+strings.Repeat("x", 20), make([]string, 0, 1012)
			for i := range 1010 {
				left = append(left, "m"+number(i)+"/128")
			}
			left = append(left, "-"+number(0)+"/512", "_"+number(0)+"/512")
			others := []string{
				"backups/2026-01-01.dump", "m" + number(0), "m" + number(0) + "/512/x", "m" + number(0) + "/0512", "m" + number(0) + "/64", "ma/128",
			}
			for _, name := range append(append(left, others...), named+"/512", named+"/128") {
				require.NoError(t, p.Put(t.Context(), name, "image/png", []byte("x")))
			}
			_, err := b.db.Exec(t.Context(), "INSERT INTO profiles (user_id, avatar) VALUES ($1, $2)", owner.UserID, named)
			require.NoError(t, err)
			there := func() (n int) {
				err := p.Old(t.Context(), "", time.Now().Add(time.Hour), func(names []string) error { n += len(names); return nil })
				require.NoError(t, err)
				return n
			}
			now := clock.NewFake(time.Now().Add(-64 * time.Hour))
			avatars := profile.NewAvatars(profile.NewService(b.db, role.Authorizer{}, now, nil), p, nil)
			eachHour := func() {
				for range 64 {
					require.NoError(t, avatars.Sweep(t.Context()))
					now.Advance(time.Hour)
				}
			}
			eachHour()
			require.Equal(t, 1014+len(others), there(), "what is younger than a day may be on its way")
			now.Advance(25 * time.Hour)
			eachHour()
			require.Equal(t, 2+len(others), there())
			_, content, err := p.Get(t.Context(), named+"/512")
			require.NoError(t, err)
			require.Equal(t, "x", string(content))
		})
	}
}

// number is text of 23 characters that differs.
func number(i int) string {
	digits := []byte(strings.Repeat("a", 23))
	for at := 22; i > 0; at, i = at-1, i/10 {
		digits[at] = byte('0' + i%10)
	}
	return string(digits)
}

package httpapi_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// pngOf is a picture: red on the left, blue on the right.
func pngOf(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.NRGBA{R: 255, A: 255}
			if x >= width/2 {
				c = color.NRGBA{B: 255, A: 255}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

func TestAvatars(t *testing.T) {
	t.Parallel()
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("ums"))
	store := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(store.Close)
	for name, env := range map[string]string{
		"in the database":    "UMS_AVATAR_S3_URL=",
		"in an object store": "UMS_AVATAR_S3_URL=" + strings.Replace(store.URL, "http://", "http://key:secret@", 1) + "/ums/avatars?region=us-east-1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.Start(t, apptest.Env(env))
			admin := s.Admin(t)
			id, ada := s.Person(t, admin, "ada@example.org")
			_, bob := s.Person(t, admin, "bob@example.org")
			a := asPicture(ada).PUT(t, "/profiles/me/avatar", pngOf(t, 900, 600)).Want(t, 200)
			require.Equal(t, `"2"`, a.Header.Get("ETag"))
			first := a.String(t, "avatar_url")
			require.Regexp(t, `^/avatars/[A-Za-z0-9_-]{22,}/512$`, first)
			require.Equal(t, first, ada.GET(t, "/profiles/me").Want(t, 200).String(t, "avatar_url"))

			// Without a credential, for ever, and safely shown.
			for path, side := range map[string]int{first: 512, strings.TrimSuffix(first, "512") + "128": 128} {
				p := s.GET(t, path).Want(t, 200)
				require.Equal(t, "image/jpeg", p.Header.Get("Content-Type"))
				require.Equal(t, "public, max-age=31536000, immutable", p.Header.Get("Cache-Control"))
				require.Equal(t, "nosniff", p.Header.Get("X-Content-Type-Options"))
				require.Regexp(t, `^"[^"]+"$`, p.Header.Get("ETag"), "strong")
				img, err := jpeg.Decode(bytes.NewReader(p.Body))
				require.NoError(t, err)
				require.Equal(t, image.Pt(side, side), img.Bounds().Size())
				again := s.With("If-None-Match", p.Header.Get("ETag")).GET(t, path).Want(t, 304)
				require.Empty(t, again.Body)
			}
			for _, path := range []string{"/avatars/x/512", first + "0", strings.TrimSuffix(first, "512") + "64", strings.TrimSuffix(first, "512") + "+512", "/avatars/" + strings.Repeat("A", 24) + "/512"} {
				s.GET(t, path).Want(t, 404, "not_found")
			}

			// It is part of the public part, and a private profile shows nothing.
			bob.GET(t, "/profiles/"+id).Want(t, 404)
			ada.PATCH(t, "/profiles/me", doc{"visibility": "public"}).Want(t, 200)
			require.Equal(t, first, bob.GET(t, "/profiles/"+id).Want(t, 200).String(t, "avatar_url"))
			asPicture(bob).PUT(t, "/profiles/"+id+"/avatar", pngOf(t, 4, 4)).Want(t, 404, "not_found")
			bob.DELETE(t, "/profiles/"+id+"/avatar").Want(t, 404, "not_found")

			// New at each change, and the old one is gone.
			second := asPicture(admin).PUT(t, "/profiles/"+id+"/avatar", pngOf(t, 4, 4)).Want(t, 200).String(t, "avatar_url")
			require.NotEqual(t, first, second)
			s.GET(t, first).Want(t, 404, "not_found")
			s.GET(t, second).Want(t, 200)
			require.Equal(t, second, ada.PUT(t, "/profiles/me", doc{"nickname": "ada", "visibility": "public"}).Want(t, 200).String(t, "avatar_url"))

			ada.DELETE(t, "/profiles/me/avatar").Want(t, 204)
			ada.DELETE(t, "/profiles/me/avatar").Want(t, 404, "not_found")
			require.Nil(t, ada.GET(t, "/profiles/me").Want(t, 200).Get(t, "avatar_url"))
			s.GET(t, second).Want(t, 404, "not_found")

			// With its owner it goes for good.
			third := asPicture(ada).PUT(t, "/profiles/me/avatar", pngOf(t, 40, 40)).Want(t, 200).String(t, "avatar_url")
			admin.DELETE(t, "/users/"+id).Want(t, 204)
			s.GET(t, third).Want(t, 404, "not_found")
			left := func() int {
				if strings.HasSuffix(env, "=") {
					var n int
					scan(t, s, &n, "SELECT count(*) FROM avatar_pictures")
					return n
				}
				list, err := backend.ListBucket("ums", nil, gofakes3.ListBucketPage{})
				require.NoError(t, err)
				return len(list.Contents)
			}
			require.Eventually(t, func() bool { return left() == 0 }, 20*time.Second, 20*time.Millisecond, "jobs remove what nobody has any more")
			events := admin.GET(t, "/audit-events?target_type=profile&target_id="+id).Want(t, 200)
			var actions []string
			for _, e := range events.Get(t, "data").([]any) {
				if e.(doc)["outcome"] == "success" {
					actions = append(actions, e.(doc)["action"].(string))
				}
			}
			require.Equal(t, []string{
				"profile.avatar_set", "profile.avatar_remove", "profile.update", "profile.avatar_set", "profile.update", "profile.avatar_set",
			}, actions)
		})
	}
}

// A picture is judged by what it is: kinds, sizes, and what would cost more to decode than it is worth.
func TestAvatarsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, c := s.Person(t, s.Admin(t), "refused@avatar.test")
	put := func(media string, body []byte) *apptest.Answer {
		return c.With("Content-Type", media).PUT(t, "/profiles/me/avatar", body)
	}
	for _, media := range []string{"image/gif", "image/svg+xml", "application/json", "application/octet-stream", "text/html", "", "image/*"} {
		checkProblem(t, put(media, pngOf(t, 4, 4)).Want(t, 415, "unsupported_media_type"))
	}
	checkProblem(t, put("image/png", make([]byte, 2<<20+1)).Want(t, 413, "payload_too_large"))
	for name, body := range map[string][]byte{
		"nothing":      []byte("x"),
		"svg":          []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`),
		"half":         pngOf(t, 400, 400)[:300],
		"a wide one":   pngOf(t, 10_001, 1),
		"2 MiB of it":  bytes.Repeat([]byte("\xff\xd8\xff\xe0"), 1<<19),
		"riff, no end": []byte("RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff"),
	} {
		a := put("image/png", body).Want(t, 422, "validation_failed")
		checkProblem(t, a)
		require.Equal(t, "invalid_picture", a.String(t, "errors.0.code"), name)
		require.Empty(t, a.String(t, "errors.0.pointer"), name)
	}
	put("image/jpeg", pngOf(t, 4, 4)).Want(t, 200)
	require.Equal(t, "private", c.GET(t, "/profiles/me").Want(t, 200).String(t, "visibility"))
}

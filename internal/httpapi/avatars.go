package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
)

// maxPicture is the size of a picture that is sent, in bytes.
const maxPicture = 2 << 20

var pictureMedia = []string{"image/png", "image/jpeg", "image/webp"}

var (
	errPictureMedia    = errMediaType.WithDetail("Send the picture as image/png, image/jpeg or image/webp, without a Content-Encoding.")
	errPictureTooLarge = fault.New(fault.TooLarge, "payload_too_large", "The picture is larger than 2 MiB.")
	errNoPicture       = fault.New(fault.Malformed, "malformed_request", "The request needs a picture as its body.")
)

// picture says that the body is one, as it is, and no JSON.
func (r Route) picture() Route { r.Picture = true; return r }

// pictureBody is how the contract shows it.
func pictureBody() *huma.RequestBody {
	body := &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}, Description: "A picture of at most 2 MiB."}
	for _, media := range pictureMedia {
		body.Content[media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	return body
}

// avatarURL is the path of a picture, nil without one.
func avatarURL(avatar *string) *string {
	if avatar == nil {
		return nil
	}
	return new("/avatars/" + *avatar + "/512")
}

type myAvatar struct{ Conditional }

type avatarOfOther struct {
	OwnedBy
	Conditional
}

func (s *Server) setAvatar(ctx context.Context, by actor.Actor, owner id.ID, ifMatch *int64) (*single[Profile], error) {
	picture := callFrom(ctx).body
	if len(picture) == 0 {
		return nil, errNoPicture
	}
	return profileAnswer(s.Avatars.Set(ctx, by, owner, picture, ifMatch))
}

func (s *Server) setMyAvatar(ctx context.Context, by actor.Actor, in *myAvatar) (*single[Profile], error) {
	return s.setAvatar(ctx, by, by.UserID, in.version())
}

func (s *Server) removeMyAvatar(ctx context.Context, by actor.Actor, in *myAvatar) (*empty, error) {
	return &empty{}, s.Avatars.Remove(ctx, by, by.UserID, in.version())
}

func (s *Server) setProfileAvatar(ctx context.Context, by actor.Actor, in *avatarOfOther) (*single[Profile], error) {
	owner, err := parseID(in.UserID)
	if err != nil {
		return nil, err
	}
	return s.setAvatar(ctx, by, owner, in.version())
}

func (s *Server) removeProfileAvatar(ctx context.Context, by actor.Actor, in *avatarOfOther) (*empty, error) {
	owner, err := parseID(in.UserID)
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Avatars.Remove(ctx, by, owner, in.version())
}

// avatar serves a picture to anybody who knows its path. Behind one path there is one picture for ever, or none.
func (s *Server) avatar(w http.ResponseWriter, r *http.Request) {
	avatar, size := chi.URLParam(r, "avatar"), chi.URLParam(r, "size")
	media, content, err := s.Avatars.Picture(r.Context(), avatar, size)
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	h := w.Header()
	tag := `"` + avatar + "-" + size + `"`
	h.Set("ETag", tag)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // it is made to be shown on other sites
	if noneMatchHeader(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content) // the client may be gone
}

package profile

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/objectstore"
	"github.com/user-management-service/ums/internal/platform/picture"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// AvatarSizes are the pixels a side of the pictures that are kept, the largest first.
var AvatarSizes = []int{512, 128}

// Pictures keeps the avatars' pictures: a table of the database, or an object store. A name is never used twice.
// Get returns objectstore.ErrNone for a name that is not there; Delete takes it for deleted.
type Pictures interface {
	Put(ctx context.Context, name, mediaType string, content []byte) error
	Get(ctx context.Context, name string) (mediaType string, content []byte, err error)
	Delete(ctx context.Context, name string) error
	// Old gives each the names that begin with prefix and were put before a time, in portions.
	Old(ctx context.Context, prefix string, before time.Time, each func(names []string) error) error
}

// Queue takes jobs in a transaction.
type Queue interface {
	Insert(ctx context.Context, tx postgres.Tx, args jobs.Args) error
}

// Avatars changes and serves the pictures of profiles.
type Avatars struct {
	profiles *Service
	pictures Pictures
	queue    Queue
	maker    *picture.Maker
}

// NewAvatars keeps pictures in p.
func NewAvatars(profiles *Service, p Pictures, q Queue) *Avatars {
	return &Avatars{profiles: profiles, pictures: p, queue: q, maker: picture.NewMaker()}
}

// removeArgs is the job that removes the pictures of an avatar that no profile has any more. The name says nothing about
// anybody, and nothing can be read by it.
type removeArgs struct {
	Avatar string `json:"avatar"`
}

// Kind implements jobs.Args.
func (removeArgs) Kind() string { return "avatar_remove" }

// Work registers the handler of this package's jobs; call it before the client starts.
func (a *Avatars) Work(c *jobs.Client) {
	jobs.Handle(c, func(ctx context.Context, j jobs.Job[removeArgs]) error { return a.discard(ctx, j.Args.Avatar) })
}

// Set gives a profile a picture: one's own, or any with profiles:write. The picture is decoded, cut to its middle and
// drawn anew before a transaction begins. Errors are those of a change and those of picture.Maker.
func (a *Avatars) Set(ctx context.Context, by actor.Actor, owner id.ID, data []byte, ifMatch *int64) (*Profile, error) {
	if err := a.mayChange(ctx, by, owner); err != nil {
		return nil, err
	}
	squares, err := a.maker.Squares(ctx, data, AvatarSizes...)
	if err != nil {
		return nil, err
	}
	avatar := newAvatar()
	for i, square := range squares {
		if err := a.pictures.Put(ctx, pictureName(avatar, AvatarSizes[i]), square.MediaType, square.Content); err != nil {
			return nil, fmt.Errorf("keep avatar: %w", err)
		}
	}
	p, err := a.change(ctx, by, owner, &avatar, ifMatch)
	if err != nil && !errors.Is(err, postgres.ErrOutcomeUnknown) {
		// Nobody knows its name. When this fails as well it stays behind, unseen.
		_ = a.discard(context.WithoutCancel(ctx), avatar)
	}
	return p, err
}

// Remove takes the picture from a profile, or returns fault.ErrNotFound when it has none.
func (a *Avatars) Remove(ctx context.Context, by actor.Actor, owner id.ID, ifMatch *int64) error {
	_, err := a.change(ctx, by, owner, nil, ifMatch)
	return err
}

// mayChange refuses before the work of decoding what change would refuse after it.
func (a *Avatars) mayChange(ctx context.Context, by actor.Actor, owner id.ID) error {
	if own(by, owner, "me:write") {
		return nil
	}
	if !by.May(WritePermission) {
		return actor.NotFound()
	}
	_, err := find(ctx, a.profiles.db, owner)
	return err
}

func (a *Avatars) change(ctx context.Context, by actor.Actor, owner id.ID, avatar *string, ifMatch *int64) (*Profile, error) {
	mine := own(by, owner, "me:write")
	if !mine && !by.May(WritePermission) {
		return nil, actor.NotFound()
	}
	var changed *Profile
	err := a.profiles.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		r, err := lock(ctx, tx, owner)
		if err != nil {
			return err
		}
		if !mine {
			if err := a.profiles.authorizer.CheckTarget(ctx, tx, by, owner); err != nil {
				return err
			}
		}
		if avatar == nil && r.Avatar == nil {
			return fault.ErrNotFound
		}
		if ifMatch != nil && *ifMatch != r.Version {
			return fault.ErrPrecondition
		}
		action, before := "profile.avatar_set", r.Avatar
		if avatar == nil {
			action = "profile.avatar_remove"
		}
		p := r.Profile
		p.Avatar, p.Whole = avatar, true
		changed = &p
		if err := saveAvatar(ctx, tx, &p); err != nil {
			return err
		}
		if before != nil {
			if err := a.queue.Insert(ctx, tx, removeArgs{*before}); err != nil {
				return err
			}
		}
		return audit.Record(ctx, tx, by, audit.Event{
			Action: action, Outcome: audit.Success, Target: audit.Target{Type: "profile", ID: owner, Label: r.label, Owner: owner},
		})
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// Release has the pictures of an account that is being removed in tx removed after the commit. From then on nobody gets
// them.
func (a *Avatars) Release(ctx context.Context, tx postgres.Tx, owner id.ID) error {
	avatar, err := avatarOf(ctx, tx, owner)
	if err != nil || avatar == nil {
		return err
	}
	return a.queue.Insert(ctx, tx, removeArgs{*avatar})
}

// Picture returns the picture of an avatar that some profile has, for anybody who knows its name, or fault.ErrNotFound.
func (a *Avatars) Picture(ctx context.Context, avatar, size string) (mediaType string, content []byte, err error) {
	side, err := strconv.Atoi(size)
	if err != nil || !avatarName.MatchString(avatar) || side != AvatarSizes[0] && side != AvatarSizes[1] || strconv.Itoa(side) != size {
		return "", nil, fault.ErrNotFound
	}
	there, err := hasAvatar(ctx, a.profiles.db, avatar)
	if err != nil {
		return "", nil, err
	}
	if !there {
		return "", nil, fault.ErrNotFound
	}
	mediaType, content, err = a.pictures.Get(ctx, pictureName(avatar, side))
	if errors.Is(err, objectstore.ErrNone) {
		return "", nil, fault.ErrNotFound
	}
	if err != nil {
		return "", nil, fmt.Errorf("read avatar: %w", err)
	}
	return mediaType, content, nil
}

func (a *Avatars) discard(ctx context.Context, avatar string) error {
	for _, size := range AvatarSizes {
		if err := a.pictures.Delete(ctx, pictureName(avatar, size)); err != nil {
			return fmt.Errorf("remove avatar: %w", err)
		}
	}
	return nil
}

var avatarName = regexp.MustCompile(`^[A-Za-z0-9_-]{24}$`)

// newAvatar returns 144 random bits.
func newAvatar() string {
	b := make([]byte, 18)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func pictureName(avatar string, size int) string { return avatar + "/" + strconv.Itoa(size) }

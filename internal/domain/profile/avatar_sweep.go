package profile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// orphaned is the age from which a picture that no profile names was left behind: by a process that died between storing
// it and its commit, or by a database that was restored from a day before it. No request lasts nearly as long.
const orphaned = 24 * time.Hour

// alphabet are the characters with which the names of avatars begin, all equally often.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// Sweep removes pictures that were left behind. A store may hold millions, so each hour has its part: those whose names
// begin with its character. After 64 hours all have had their turn. Whatever has no name of ours is somebody else's, in a
// bucket that is not for avatars alone, and stays.
func (a *Avatars) Sweep(ctx context.Context) error {
	now := a.profiles.clock.Now()
	turn := alphabet[now.Unix()/3600%int64(len(alphabet))]
	return a.pictures.Old(ctx, string(turn), now.Add(-orphaned), func(names []string) error {
		names = slices.DeleteFunc(names, func(name string) bool { return !ours(name) })
		avatars := make([]string, len(names))
		for i, name := range names {
			avatars[i], _, _ = strings.Cut(name, "/")
		}
		there, err := avatarsAmong(ctx, a.profiles.db, avatars)
		if err != nil {
			return err
		}
		for i, name := range names {
			if there[avatars[i]] {
				continue
			}
			if err := a.pictures.Delete(ctx, name); err != nil {
				return fmt.Errorf("remove a picture that was left behind: %w", err)
			}
		}
		return nil
	})
}

// ours says whether a name is one that pictureName makes.
func ours(name string) bool {
	avatar, _, _ := strings.Cut(name, "/")
	return avatarName.MatchString(avatar) && slices.ContainsFunc(AvatarSizes, func(size int) bool { return name == pictureName(avatar, size) })
}

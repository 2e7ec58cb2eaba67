package profile

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/objectstore"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// saveAvatar writes the avatar of a locked profile and raises its version.
func saveAvatar(ctx context.Context, tx postgres.Tx, p *Profile) error {
	err := tx.QueryRow(ctx, `
		INSERT INTO profiles AS p (user_id, avatar, version) VALUES ($1, $2, 2)
		ON CONFLICT ON CONSTRAINT profiles_pkey DO UPDATE SET avatar = excluded.avatar, version = p.version + 1, updated_at = now()
		RETURNING version, updated_at`, p.UserID, p.Avatar).Scan(&p.Version, &p.UpdatedAt)
	if err != nil {
		return fmt.Errorf("save avatar: %w", err)
	}
	p.UpdatedAt = p.UpdatedAt.UTC()
	return nil
}

// avatarOf returns the avatar of an account, nil when it has none.
func avatarOf(ctx context.Context, tx postgres.Tx, owner id.ID) (*string, error) {
	var avatar *string
	err := tx.QueryRow(ctx, "SELECT avatar FROM profiles WHERE user_id = $1", owner).Scan(&avatar)
	if err != nil && !postgres.NoRows(err) {
		return nil, fmt.Errorf("read avatar: %w", err)
	}
	return avatar, nil
}

func hasAvatar(ctx context.Context, db postgres.DB, avatar string) (there bool, err error) {
	if err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM profiles WHERE avatar = $1)", avatar).Scan(&there); err != nil {
		return false, fmt.Errorf("look for avatar: %w", err)
	}
	return there, nil
}

// avatarsAmong returns which of these some profile has.
func avatarsAmong(ctx context.Context, db postgres.DB, avatars []string) (map[string]bool, error) {
	rows, err := db.Query(ctx, "SELECT avatar FROM profiles WHERE avatar = ANY($1)", avatars)
	if err != nil {
		return nil, fmt.Errorf("look for avatars: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for avatars: %w", err)
	}
	there := make(map[string]bool, len(found))
	for _, avatar := range found {
		there[avatar] = true
	}
	return there, nil
}

// Table keeps pictures in the database.
type Table struct{ db *postgres.Pool }

// NewTable works on db.
func NewTable(db *postgres.Pool) Table { return Table{db} }

// Put implements Pictures.
func (t Table) Put(ctx context.Context, name, mediaType string, content []byte) error {
	_, err := t.db.Exec(ctx, "INSERT INTO avatar_pictures (name, media_type, content) VALUES ($1, $2, $3)", name, mediaType, content)
	if err != nil {
		return fmt.Errorf("insert picture: %w", err)
	}
	return nil
}

// Get implements Pictures.
func (t Table) Get(ctx context.Context, name string) (mediaType string, content []byte, err error) {
	err = t.db.QueryRow(ctx, "SELECT media_type, content FROM avatar_pictures WHERE name = $1", name).Scan(&mediaType, &content)
	if postgres.NoRows(err) {
		return "", nil, objectstore.ErrNone
	}
	if err != nil {
		return "", nil, fmt.Errorf("read picture: %w", err)
	}
	return mediaType, content, nil
}

// Delete implements Pictures.
func (t Table) Delete(ctx context.Context, name string) error {
	if _, err := t.db.Exec(ctx, "DELETE FROM avatar_pictures WHERE name = $1", name); err != nil {
		return fmt.Errorf("delete picture: %w", err)
	}
	return nil
}

// Old implements Pictures.
func (t Table) Old(ctx context.Context, prefix string, before time.Time, each func(names []string) error) error {
	rows, err := t.db.Query(ctx, "SELECT name FROM avatar_pictures WHERE starts_with(name, $1) AND created_at < $2", prefix, before)
	if err != nil {
		return fmt.Errorf("list pictures: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list pictures: %w", err)
	}
	return each(names)
}

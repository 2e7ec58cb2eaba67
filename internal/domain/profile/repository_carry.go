package profile

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Carry returns the profiles of these accounts that somebody has filled in, by account. It is for the service itself.
func Carry(ctx context.Context, db postgres.DB, accounts []id.ID) (map[id.ID]*Profile, error) {
	rows, err := db.Query(ctx, "SELECT "+columns+" FROM profiles p JOIN users u ON u.id = p.user_id WHERE p.user_id = ANY($1)", accounts)
	if err != nil {
		return nil, fmt.Errorf("read profiles to carry: %w", err)
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("read profiles to carry: %w", err)
	}
	profiles := make(map[id.ID]*Profile, len(found))
	for _, r := range found {
		profiles[r.UserID] = &r.Profile
	}
	return profiles, nil
}

// Restore gives profiles, composed ones, to accounts that have just been made. One statement.
func Restore(ctx context.Context, tx postgres.Tx, profiles []*Profile) error {
	if len(profiles) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"profiles"}, []string{
		"user_id", "given_name", "family_name", "nickname", "bio", "phone", "website", "birth_date", "address", "social_links", "visibility",
		"attributes", "version",
	}, pgx.CopyFromSlice(len(profiles), func(i int) ([]any, error) {
		p := profiles[i]
		address, err := optional(p.Address == nil, p.Address)
		if err != nil {
			return nil, err
		}
		links, err := optional(p.SocialLinks == nil, p.SocialLinks)
		if err != nil {
			return nil, err
		}
		return []any{
			p.UserID, p.GivenName, p.FamilyName, p.Nickname, p.Bio, p.Phone, p.Website, p.BirthDate, address, links, string(p.Visibility),
			string(p.Attributes), p.Version,
		}, nil
	}))
	if err != nil {
		return fmt.Errorf("restore profiles: %w", err)
	}
	return nil
}

// optional is a value as a column of JSON takes it.
func optional(empty bool, value any) (*string, error) {
	if empty {
		return nil, nil
	}
	doc, err := json.Marshal(value, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode profile: %w", err)
	}
	text := string(doc)
	return &text, nil
}

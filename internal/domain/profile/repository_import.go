package profile

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

var newColumns = []string{
	"user_id", "given_name", "family_name", "nickname", "bio", "phone", "website", "birth_date", "address", "social_links",
	"visibility", "attributes", "version",
}

// Restore writes the profiles, composed ones, of accounts that tx has made, as save does. The caller records the events.
// One statement.
func Restore(ctx context.Context, tx postgres.Tx, profiles []*Profile) error {
	if len(profiles) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"profiles"}, newColumns, pgx.CopyFromSlice(len(profiles), func(i int) ([]any, error) {
		p := profiles[i]
		address, links, err := stored(p)
		var birth *time.Time
		if p.BirthDate != nil {
			day, _ := time.Parse(time.DateOnly, *p.BirthDate) // it has been checked
			birth = &day
		}
		return []any{
			p.UserID, p.GivenName, p.FamilyName, p.Nickname, p.Bio, p.Phone, p.Website, birth, address, links,
			string(p.Visibility), string(p.Attributes), p.Version,
		}, err
	}))
	if err != nil {
		return fmt.Errorf("copy profiles: %w", err)
	}
	return nil
}

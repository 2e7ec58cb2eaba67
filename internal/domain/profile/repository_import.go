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

// copyNew writes first rows, as save does.
func copyNew(ctx context.Context, tx postgres.Tx, drafts []*Draft) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"profiles"}, newColumns, pgx.CopyFromSlice(len(drafts), func(i int) ([]any, error) {
		p := &drafts[i].profile
		address, links, err := stored(p)
		var birth *time.Time
		if p.BirthDate != nil {
			day, _ := time.Parse(time.DateOnly, *p.BirthDate) // it has been checked
			birth = &day
		}
		return []any{
			p.UserID, p.GivenName, p.FamilyName, p.Nickname, p.Bio, p.Phone, p.Website, birth, address, links,
			string(p.Visibility), string(p.Attributes), 2,
		}, err
	}))
	if err != nil {
		return fmt.Errorf("copy profiles: %w", err)
	}
	return nil
}

package profile

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// columns of a profile p beside its account u, in the order of scan.
const columns = `u.id, u.status, coalesce(u.email, u.display_name, ''), u.created_at,
	p.given_name, p.family_name, p.nickname, p.bio, p.phone, p.website, p.birth_date::text, p.address, p.social_links,
	coalesce(p.visibility, 'private'), coalesce(p.attributes, '{}'), p.avatar, coalesce(p.updated_at, u.created_at), coalesce(p.version, 1)`

// row is a profile with what decisions and lists need of its account.
type row struct {
	Profile
	status    user.Status
	label     string
	createdAt time.Time
}

func scan(rows pgx.CollectableRow) (*row, error) {
	var r row
	var address, links, attributes []byte
	err := rows.Scan(&r.UserID, &r.status, &r.label, &r.createdAt,
		&r.GivenName, &r.FamilyName, &r.Nickname, &r.Bio, &r.Phone, &r.Website, &r.BirthDate, &address, &links,
		&r.Visibility, &attributes, &r.Avatar, &r.UpdatedAt, &r.Version)
	if err != nil {
		return nil, err
	}
	r.UpdatedAt, r.createdAt = r.UpdatedAt.UTC(), r.createdAt.UTC()
	r.Attributes = jsontext.Value(attributes)
	if address != nil {
		if err := json.Unmarshal(address, &r.Address); err != nil {
			return nil, fmt.Errorf("read address: %w", err)
		}
	}
	if links != nil {
		if err := json.Unmarshal(links, &r.SocialLinks); err != nil {
			return nil, fmt.Errorf("read social links: %w", err)
		}
	}
	return &r, nil
}

// find reads the profile of an account, or fault.ErrNotFound when there is no such account.
func find(ctx context.Context, db postgres.DB, owner id.ID) (*row, error) {
	return one(ctx, db, "SELECT "+columns+" FROM users u LEFT JOIN profiles p ON p.user_id = u.id WHERE u.id = $1", owner)
}

// lock is find for a change. The account's row is what is locked: the profile may have none yet.
func lock(ctx context.Context, tx postgres.Tx, owner id.ID) (*row, error) {
	// The lock first, in a statement of its own: what another writer committed meanwhile must be in the snapshot.
	if _, err := tx.Exec(ctx, "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", owner); err != nil {
		return nil, fmt.Errorf("lock profile: %w", err)
	}
	return find(ctx, tx, owner)
}

func one(ctx context.Context, db postgres.DB, sql string, args ...any) (*row, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scan)
	if postgres.NoRows(err) {
		return nil, fault.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return r, nil
}

// stored are the two parts of a profile that are documents; nil: none.
func stored(p *Profile) (address, links *string, err error) {
	for _, field := range []struct {
		to    **string
		empty bool
		value any
	}{{&address, p.Address == nil, p.Address}, {&links, p.SocialLinks == nil, p.SocialLinks}} {
		if field.empty {
			continue
		}
		doc, err := json.Marshal(field.value, json.Deterministic(true))
		if err != nil {
			return nil, nil, fmt.Errorf("encode profile: %w", err)
		}
		text := string(doc)
		*field.to = &text
	}
	return address, links, nil
}

// save writes the whole profile. Its first row is version 2, since readers of the empty one have seen 1.
func save(ctx context.Context, tx postgres.Tx, p *Profile) error {
	address, links, err := stored(p)
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO profiles AS p (user_id, given_name, family_name, nickname, bio, phone, website, birth_date, address,
			social_links, visibility, attributes, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::date, $9, $10, $11, $12, 2)
		ON CONFLICT ON CONSTRAINT profiles_pkey DO UPDATE SET given_name = excluded.given_name,
			family_name = excluded.family_name, nickname = excluded.nickname, bio = excluded.bio, phone = excluded.phone,
			website = excluded.website, birth_date = excluded.birth_date, address = excluded.address,
			social_links = excluded.social_links, visibility = excluded.visibility, attributes = excluded.attributes,
			version = p.version + 1, updated_at = now()
		RETURNING version, updated_at`,
		p.UserID, p.GivenName, p.FamilyName, p.Nickname, p.Bio, p.Phone, p.Website, p.BirthDate, address,
		links, p.Visibility, string(p.Attributes)).Scan(&p.Version, &p.UpdatedAt)
	if err != nil {
		return fmt.Errorf("save profile: %w", err)
	}
	p.UpdatedAt = p.UpdatedAt.UTC()
	return nil
}

package user

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// InsertMany makes the accounts, which have ids, but for those whose address or external id is there already; it returns
// which are made. One statement: it waits for others that make the same accounts, and never fails because of them.
func InsertMany(ctx context.Context, tx postgres.Tx, drafts []*Draft) (map[id.ID]bool, error) {
	made := make(map[id.ID]bool, len(drafts))
	if len(drafts) == 0 {
		return made, nil
	}
	c := columnsOf(drafts)
	rows, err := tx.Query(ctx, `
		INSERT INTO users (id, kind, email, email_norm, email_verified, status, password_hash, display_name, locale,
			external_id, metadata, app_metadata, created_at)
		SELECT id, kind, nullif(email, ''), nullif(email_norm, ''), verified, status, hash, name, locale, external_id,
			metadata::jsonb, app_metadata::jsonb, coalesce(created_at, now())
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::text[], $8::text[], $9::text[],
			$10::text[], $11::text[], $12::text[], $13::timestamptz[])
			AS made (id, kind, email, email_norm, verified, status, hash, name, locale, external_id, metadata, app_metadata, created_at)
		ON CONFLICT DO NOTHING
		RETURNING id`,
		c.id, c.kind, c.email, c.norm, c.verified, c.status, c.hash, c.name, c.locale, c.external, c.metadata, c.appMetadata, c.created)
	if err != nil {
		return nil, fmt.Errorf("insert users: %w", err)
	}
	var user id.ID
	_, err = pgx.ForEachRow(rows, []any{&user}, func() error {
		made[user] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("insert users: %w", err)
	}
	return made, nil
}

// draftColumns are drafts as a statement takes many.
type draftColumns struct {
	id                                               []id.ID
	kind, email, norm, status, metadata, appMetadata []string
	verified                                         []bool
	hash, name, locale, external                     []*string
	created                                          []*time.Time
}

func columnsOf(drafts []*Draft) draftColumns {
	n := len(drafts)
	texts, maybe := func() []string { return make([]string, n) }, func() []*string { return make([]*string, n) }
	c := draftColumns{
		id: make([]id.ID, n), kind: texts(), email: texts(), norm: texts(), status: texts(), metadata: texts(), appMetadata: texts(),
		verified: make([]bool, n), hash: maybe(), name: maybe(), locale: maybe(), external: maybe(), created: make([]*time.Time, n),
	}
	for i, d := range drafts {
		c.id[i], c.kind[i], c.email[i], c.norm[i], c.status[i] = d.ID, string(d.Kind), d.Email, d.EmailNorm, string(d.Status)
		c.metadata[i], c.appMetadata[i], c.verified[i] = object(d.Metadata), object(d.AppMetadata), d.EmailVerified
		c.hash[i], c.name[i], c.locale[i], c.external[i], c.created[i] = d.PasswordHash, d.DisplayName, d.Locale, d.ExternalID, d.CreatedAt
	}
	return c
}

// Claim is what an account may be known by elsewhere; "" is nobody's.
type Claim struct{ EmailNorm, ExternalID string }

// Claimants returns, for each claim, the accounts that have its address or its external id: two at most. One statement.
func Claimants(ctx context.Context, tx postgres.Tx, claims []Claim) ([][]id.ID, error) {
	emails, externals := make([]string, len(claims)), make([]string, len(claims))
	for i, c := range claims {
		emails[i], externals[i] = c.EmailNorm, c.ExternalID
	}
	rows, err := tx.Query(ctx, `
		SELECT c.at, u.id FROM unnest($1::text[]) WITH ORDINALITY AS c (email_norm, at) JOIN users u ON u.email_norm = nullif(c.email_norm, '')
		UNION
		SELECT c.at, u.id FROM unnest($2::text[]) WITH ORDINALITY AS c (external_id, at) JOIN users u ON u.external_id = nullif(c.external_id, '')`,
		emails, externals)
	if err != nil {
		return nil, fmt.Errorf("find claimants: %w", err)
	}
	found := make([][]id.ID, len(claims))
	var at int64
	var user id.ID
	_, err = pgx.ForEachRow(rows, []any{&at, &user}, func() error {
		found[at-1] = append(found[at-1], user)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find claimants: %w", err)
	}
	return found, nil
}

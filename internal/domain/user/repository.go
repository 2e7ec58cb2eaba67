package user

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Find reads these accounts in one statement; unknown ids are absent from the result.
func Find(ctx context.Context, db postgres.DB, ids []id.ID) (map[id.ID]*User, error) {
	rows, err := db.Query(ctx, `
		SELECT `+columns+`
		FROM users u`+withRoles+`
		WHERE u.id = ANY($1)
		ORDER BY u.id`, ids)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	found, err := collect(rows)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	users := make(map[id.ID]*User, len(found))
	for _, r := range found {
		users[r.ID] = r
	}
	return users, nil
}

// Lock reads an account and keeps every other transaction from changing it, or its roles, until tx ends;
// fault.ErrNotFound when there is none.
func Lock(ctx context.Context, tx postgres.Tx, user id.ID) (*User, error) {
	// The lock first, in a statement of its own: what another writer committed meanwhile must be in the snapshot.
	if _, err := tx.Exec(ctx, `SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE`, user); err != nil {
		return nil, fmt.Errorf("lock user: %w", err)
	}
	return FindOne(ctx, tx, user)
}

// FindOne reads an account, or returns fault.ErrNotFound.
func FindOne(ctx context.Context, db postgres.DB, user id.ID) (*User, error) {
	found, err := Find(ctx, db, []id.ID{user})
	if err != nil {
		return nil, err
	}
	if u := found[user]; u != nil {
		return u, nil
	}
	return nil, fault.ErrNotFound
}

// Draft is a new account. Whoever makes one has checked what stands in it.
type Draft struct {
	ID            id.ID // Nil: a fresh one
	Kind          Kind
	Email         string // with Norm from ParseEmail; empty for a service account
	EmailNorm     string
	EmailVerified bool
	Status        Status
	PasswordHash  *string
	DisplayName   *string
	Locale        *string
	ExternalID    *string
	Metadata      jsontext.Value // nil: {}
	AppMetadata   jsontext.Value
	CreatedAt     *time.Time // nil: now
}

// Insert makes an account and returns its id, or ErrEmailTaken, or ErrExternalID. The failed statement ends tx.
func Insert(ctx context.Context, tx postgres.Tx, d Draft) (id.ID, error) {
	user := d.ID
	if user == id.Nil {
		user = id.New()
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO users (id, kind, email, email_norm, email_verified, status, password_hash, display_name, locale,
			external_id, metadata, app_metadata, created_at)
		VALUES ($1, $2, nullif($3, ''), nullif($4, ''), $5, $6, $7, $8, $9, $10, $11, $12, coalesce($13, now()))`,
		user, d.Kind, d.Email, d.EmailNorm, d.EmailVerified, d.Status, d.PasswordHash, d.DisplayName, d.Locale,
		d.ExternalID, object(d.Metadata), object(d.AppMetadata), d.CreatedAt)
	if err != nil {
		return id.Nil, fmt.Errorf("insert user: %w", taken(err))
	}
	return user, nil
}

// taken gives the unique columns their refusals.
func taken(err error) error {
	switch postgres.Constraint(err) {
	case "users_email_norm_key":
		return ErrEmailTaken
	case "users_external_id_key":
		return ErrExternalID
	}
	return err
}

func object(v jsontext.Value) string {
	if v == nil {
		return "{}"
	}
	return string(v)
}

// save writes what Changes and AdminChanges may have changed, and raises the version.
func save(ctx context.Context, tx postgres.Tx, u *User) error {
	err := tx.QueryRow(ctx, `
		UPDATE users SET display_name = $2, locale = $3, timezone = $4, metadata = $5, app_metadata = $6, external_id = $7,
			version = version + 1, updated_at = now()
		WHERE id = $1
		RETURNING updated_at`,
		u.ID, u.DisplayName, u.Locale, u.Timezone, object(u.Metadata), object(u.AppMetadata), u.ExternalID).Scan(&u.UpdatedAt)
	if err != nil {
		return fmt.Errorf("update user: %w", taken(err))
	}
	u.UpdatedAt = u.UpdatedAt.UTC()
	u.Version++
	return nil
}

// SetStatus moves an account to a status and raises its version. Deleting starts its grace; every other status ends it.
// An account that has neither a proven address nor a password was never activated: made active, it is pending again.
func SetStatus(ctx context.Context, tx postgres.Tx, user id.ID, to Status) error {
	_, err := tx.Exec(ctx, `
		UPDATE users SET
			status = CASE WHEN $2 = 'active' AND kind = 'human' AND NOT email_verified AND password_hash IS NULL
				THEN 'pending' ELSE $2 END,
			deleted_at = CASE WHEN $2 = 'deleting' THEN now() END,
			version = version + 1, updated_at = now()
		WHERE id = $1`, user, string(to))
	if err != nil {
		return fmt.Errorf("set status of user: %w", err)
	}
	return nil
}

// SetEmail gives an account another address, unproven, and returns its new epoch: what was bound to the old one is dead.
// ErrEmailTaken ends tx.
func SetEmail(ctx context.Context, tx postgres.Tx, user id.ID, email, norm string) (epoch int64, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE users SET email = $2, email_norm = $3, email_verified = false, was_verified = was_verified OR email_verified,
			auth_epoch = auth_epoch + 1, version = version + 1, updated_at = now()
		WHERE id = $1
		RETURNING auth_epoch`, user, email, norm).Scan(&epoch)
	if err != nil {
		return 0, fmt.Errorf("set address of user: %w", taken(err))
	}
	return epoch, nil
}

// Remove deletes the account's row, and by its references everything that hangs on it.
func Remove(ctx context.Context, tx postgres.Tx, user id.ID) error {
	if _, err := tx.Exec(ctx, `DELETE FROM users WHERE id = $1`, user); err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	return nil
}

// Expired returns at most limit accounts whose deletion was asked for longer than grace ago.
func Expired(ctx context.Context, db postgres.DB, grace time.Duration, limit int) ([]id.ID, error) {
	rows, err := db.Query(ctx, `
		SELECT id FROM users
		WHERE status = 'deleting' AND deleted_at <= now() - make_interval(secs => $1)
		ORDER BY deleted_at LIMIT $2`, grace.Seconds(), limit)
	if err != nil {
		return nil, fmt.Errorf("find users to purge: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[id.ID])
	if err != nil {
		return nil, fmt.Errorf("find users to purge: %w", err)
	}
	return ids, nil
}

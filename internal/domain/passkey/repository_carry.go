package passkey

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Carried is a passkey on its way from one service to another. It works there only under the same relying party id.
type Carried struct {
	UserID         id.ID
	CredentialID   []byte
	PublicKey      []byte // COSE
	SignCount      int64
	AAGUID         id.ID
	Transports     []string
	BackupEligible bool
	BackedUp       bool
	Name           string
	CreatedAt      time.Time
	LastUsedAt     *time.Time
}

// Check records what is wrong with a passkey that comes in. Whether the key is one is seen when it is used.
func (c *Carried) Check(v *fault.Validation, pointer string) {
	CheckName(v, pointer+"/name", c.Name)
	if len(c.CredentialID) == 0 || len(c.CredentialID) > 1023 { // WebAuthn Level 3, section 4
		v.Add(pointer+"/credential_id", "invalid_format", "Give 1 to 1023 bytes in base64.")
	}
	if len(c.PublicKey) == 0 || len(c.PublicKey) > 8<<10 {
		v.Add(pointer+"/public_key", "invalid_format", "Give a COSE key in base64.")
	}
	if c.SignCount < 0 || c.SignCount > 1<<32-1 {
		v.Add(pointer+"/sign_count", "out_of_range", "Give a number of 32 bits.")
	}
}

// Carry returns the passkeys of these accounts, in their order. It is for the service itself.
func Carry(ctx context.Context, db postgres.DB, accounts []id.ID) ([]Carried, error) {
	rows, err := db.Query(ctx, `
		SELECT user_id, credential_id, public_key, sign_count, aaguid, transports, backup_eligible, backed_up, name, created_at, last_used_at
		FROM passkeys WHERE user_id = ANY($1) ORDER BY user_id, created_at, id`, accounts)
	if err != nil {
		return nil, fmt.Errorf("read passkeys to carry: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Carried])
	if err != nil {
		return nil, fmt.Errorf("read passkeys to carry: %w", err)
	}
	return found, nil
}

// Restore gives passkeys to accounts that have just been made. ErrKnown ends tx.
func Restore(ctx context.Context, tx postgres.Tx, keys []Carried) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"passkeys"}, []string{
		"id", "user_id", "credential_id", "public_key", "sign_count", "aaguid", "transports", "backup_eligible", "backed_up", "name",
		"created_at", "last_used_at",
	}, pgx.CopyFromSlice(len(keys), func(i int) ([]any, error) {
		c := &keys[i]
		return []any{
			id.New(), c.UserID, c.CredentialID, c.PublicKey, c.SignCount, c.AAGUID, append([]string{}, c.Transports...), c.BackupEligible, c.BackedUp,
			c.Name, c.CreatedAt, c.LastUsedAt,
		}, nil
	}))
	if postgres.Constraint(err) == "passkeys_credential_id_key" {
		return ErrKnown
	}
	if err != nil {
		return fmt.Errorf("restore passkeys: %w", err)
	}
	return nil
}

// Registered returns which of these credential ids, as strings of bytes, are registered here.
func Registered(ctx context.Context, tx postgres.Tx, credentialIDs [][]byte) (map[string]bool, error) {
	if len(credentialIDs) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, "SELECT credential_id FROM passkeys WHERE credential_id = ANY($1)", credentialIDs)
	if err != nil {
		return nil, fmt.Errorf("find passkeys: %w", err)
	}
	known := map[string]bool{}
	var one []byte
	_, err = pgx.ForEachRow(rows, []any{&one}, func() error {
		known[string(one)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find passkeys: %w", err)
	}
	return known, nil
}

package passkey

import (
	"context"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const columns = `id, user_id, name, aaguid, transports, backup_eligible, backed_up, created_at, last_used_at, version`

// stored is a passkey with what verifies it.
type stored struct {
	Passkey
	CredentialID []byte
	PublicKey    []byte
	SignCount    int64
}

func (s stored) credential() webauthn.Credential {
	return webauthn.Credential{
		ID: s.CredentialID, PublicKey: s.PublicKey,
		Flags:         webauthn.CredentialFlags{UserPresent: true, UserVerified: true, BackupEligible: s.BackupEligible, BackupState: s.BackedUp},
		Authenticator: webauthn.Authenticator{AAGUID: s.AAGUID[:], SignCount: uint32(s.SignCount)}, //nolint:gosec // the column holds what came from a uint32
	}
}

// one gives pgx.ErrNoRows when there is none.
func one(ctx context.Context, db postgres.DB, doing, sql string, args ...any) (Passkey, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return Passkey{}, fmt.Errorf("%s: %w", doing, err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Passkey])
	if postgres.Constraint(err) == "passkeys_credential_id_key" {
		return Passkey{}, ErrKnown
	}
	if err != nil {
		return Passkey{}, fmt.Errorf("%s: %w", doing, err)
	}
	return p, nil
}

func insert(ctx context.Context, tx postgres.Tx, user id.ID, n New) (Passkey, error) {
	return one(ctx, tx, "insert passkey", `
		INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, aaguid, transports, backup_eligible, backed_up, name)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		RETURNING `+columns, id.New(), user, n.credentialID, n.publicKey, int64(n.signCount), n.aaguid, n.transports,
		n.backupEligible, n.backedUp, n.Name)
}

func find(ctx context.Context, db postgres.DB, credentialID []byte) (stored, error) {
	rows, err := db.Query(ctx, "SELECT "+columns+", credential_id, public_key, sign_count FROM passkeys WHERE credential_id = $1", credentialID)
	if err != nil {
		return stored{}, fmt.Errorf("find passkey: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[stored])
	if err != nil {
		return stored{}, fmt.Errorf("find passkey: %w", err)
	}
	return p, nil
}

func lock(ctx context.Context, tx postgres.Tx, key id.ID) (Passkey, error) {
	return one(ctx, tx, "lock passkey", "SELECT "+columns+" FROM passkeys WHERE id = $1 FOR NO KEY UPDATE", key)
}

func rename(ctx context.Context, tx postgres.Tx, key id.ID, name string) (Passkey, error) {
	return one(ctx, tx, "rename passkey", `
		UPDATE passkeys SET name = $2, version = version + 1 WHERE id = $1 RETURNING `+columns, key, name)
}

func remove(ctx context.Context, tx postgres.Tx, key id.ID) error {
	if _, err := tx.Exec(ctx, "DELETE FROM passkeys WHERE id = $1", key); err != nil {
		return fmt.Errorf("delete passkey: %w", err)
	}
	return nil
}

// use raises the counter, if it still grows: of parallel uses the later must not put back the earlier.
func use(ctx context.Context, tx postgres.Tx, j Judgement) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE passkeys SET sign_count = $2, backed_up = $3, last_used_at = now(), version = version + (backed_up <> $3)::int
		WHERE id = $1 AND ($2 > sign_count OR $2 = 0 AND sign_count = 0)`, j.Passkey.ID, int64(j.count), j.backedUp)
	if err != nil {
		return false, fmt.Errorf("use passkey: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func list(ctx context.Context, db postgres.DB, user id.ID, f Filter) ([]Passkey, error) {
	order, behind := "DESC", "<"
	if f.Ascending {
		order, behind = "ASC", ">"
	}
	var at *time.Time
	var last *id.ID
	if f.After != nil {
		at, last = &f.After.Time, &f.After.ID
	}
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM passkeys
		WHERE user_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) `+behind+` ($2, $3))
		ORDER BY created_at `+order+`, id `+order+` LIMIT $4`, user, at, last, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByName[Passkey])
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	return keys, nil
}

// Count returns how many passkeys an account has.
func Count(ctx context.Context, db postgres.DB, user id.ID) (n int, err error) {
	if err := db.QueryRow(ctx, "SELECT count(*) FROM passkeys WHERE user_id = $1", user).Scan(&n); err != nil {
		return 0, fmt.Errorf("count passkeys: %w", err)
	}
	return n, nil
}

// descriptors are the account's passkeys as options name them.
func descriptors(ctx context.Context, db postgres.DB, user id.ID) ([]protocol.CredentialDescriptor, error) {
	rows, err := db.Query(ctx, "SELECT credential_id, transports FROM passkeys WHERE user_id = $1 ORDER BY created_at, id", user)
	if err != nil {
		return nil, fmt.Errorf("read credential ids: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (protocol.CredentialDescriptor, error) {
		d := protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType}
		var transports []string
		err := r.Scan((*[]byte)(&d.CredentialID), &transports)
		for _, t := range transports {
			d.Transport = append(d.Transport, protocol.AuthenticatorTransport(t))
		}
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("read credential ids: %w", err)
	}
	return out, nil
}

// EndAll deletes every passkey of an account and what is open of their ceremonies. The caller records why, and sets
// anew whether the account has a second factor.
func EndAll(ctx context.Context, tx postgres.Tx, user id.ID) error {
	_, err := tx.Exec(ctx, `
		WITH challenges AS (DELETE FROM webauthn_challenges WHERE user_id = $1)
		DELETE FROM passkeys WHERE user_id = $1`, user)
	if err != nil {
		return fmt.Errorf("delete passkeys of user: %w", err)
	}
	return nil
}

func remember(ctx context.Context, db postgres.DB, b Binding, hash []byte) error {
	_, err := db.Exec(ctx, `
		INSERT INTO webauthn_challenges (challenge_hash, ceremony, user_id, bound_to, expires_at)
		VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))`, hash, b.ceremony, b.user, b.to, challengeTTL.Seconds())
	if err != nil {
		return fmt.Errorf("insert WebAuthn challenge: %w", err)
	}
	return nil
}

// take deletes the challenge if it lives and was made for exactly this; of parallel uses one gets it.
func take(ctx context.Context, db postgres.DB, b Binding, hash []byte) (bool, error) {
	tag, err := db.Exec(ctx, `
		DELETE FROM webauthn_challenges
		WHERE challenge_hash = $1 AND ceremony = $2 AND user_id IS NOT DISTINCT FROM $3 AND bound_to IS NOT DISTINCT FROM $4
			AND expires_at > now()`, hash, b.ceremony, b.user, b.to)
	if err != nil {
		return false, fmt.Errorf("use WebAuthn challenge: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func sweep(ctx context.Context, db postgres.DB) error {
	if _, err := db.Exec(ctx, "DELETE FROM webauthn_challenges WHERE expires_at <= now()"); err != nil {
		return fmt.Errorf("sweep WebAuthn challenges: %w", err)
	}
	return nil
}

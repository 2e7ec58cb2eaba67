package onetime

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// insertEmailToken stores the token and kills the older one: of a change any, of its undoing the one for the same address.
func insertEmailToken(ctx context.Context, tx postgres.Tx, r Recipient, gives string, row newRow) error {
	_, err := tx.Exec(ctx, `
		WITH killed AS (
			DELETE FROM one_time_tokens WHERE user_id = $3 AND purpose = $2 AND (purpose = 'email_change' OR email_norm = $4)
		)
		INSERT INTO one_time_tokens (id, purpose, user_id, email_norm, auth_epoch, gives_email, token_hash, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))`,
		row.id, row.purpose, r.UserID, r.EmailNorm, r.AuthEpoch, gives, row.hash, row.life)
	if err != nil {
		return fmt.Errorf("insert token of a change of address: %w", err)
	}
	return nil
}

func endEmailChange(ctx context.Context, tx postgres.Tx, user id.ID) error {
	_, err := tx.Exec(ctx, `DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose = 'email_change'`, user)
	if err != nil {
		return fmt.Errorf("end change of address: %w", err)
	}
	return nil
}

func emailToken(ctx context.Context, db postgres.DB, purpose string, hash []byte) (EmailProof, error) {
	var p EmailProof
	err := db.QueryRow(ctx, `
		SELECT t.id, t.user_id, t.gives_email, u.email, u.email_norm, u.auth_epoch
		FROM one_time_tokens t JOIN users u ON u.id = t.user_id
		WHERE t.purpose = $1 AND t.token_hash = $2 AND t.expires_at > now() AND u.status = 'active'
			AND (t.purpose = 'undo_email_change' OR t.email_norm = u.email_norm AND t.auth_epoch = u.auth_epoch)`, purpose, hash).Scan(
		&p.TokenID, &p.UserID, &p.Gives, &p.Email, &p.EmailNorm, &p.AuthEpoch)
	if postgres.NoRows(err) {
		return EmailProof{}, ErrInvalid
	}
	if err != nil {
		return EmailProof{}, fmt.Errorf("find token of a change of address: %w", err)
	}
	return p, nil
}

// consumeEmailToken deletes the token, with every other of its account but the ways back; with undo later ways back too.
func consumeEmailToken(ctx context.Context, tx postgres.Tx, tokenID id.ID, undo bool) error {
	var used int
	err := tx.QueryRow(ctx, `
		WITH used AS (
			DELETE FROM one_time_tokens WHERE id = $1 AND expires_at > now() RETURNING user_id, created_at
		), others AS (
			DELETE FROM one_time_tokens t USING used
			WHERE t.user_id = used.user_id AND t.id <> $1
				AND (t.purpose <> 'undo_email_change' OR $2 AND t.created_at > used.created_at)
		)
		SELECT count(*) FROM used`, tokenID, undo).Scan(&used)
	if err != nil {
		return fmt.Errorf("use token of a change of address: %w", err)
	}
	if used == 0 {
		return ErrInvalid
	}
	return nil
}

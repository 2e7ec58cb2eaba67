package onetime

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// RecipientOf returns an account as mails that prove it see it; fault.ErrNotFound when there is none with an address.
func RecipientOf(ctx context.Context, db postgres.DB, user id.ID) (Recipient, error) {
	rows, err := db.Query(ctx, `
		SELECT id AS user_id, email, email_norm, auth_epoch, coalesce(display_name, '') AS name, coalesce(locale, '') AS locale
		FROM users WHERE id = $1 AND email IS NOT NULL`, user)
	if err != nil {
		return Recipient{}, fmt.Errorf("find recipient: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[Recipient])
	if postgres.NoRows(err) {
		return Recipient{}, fault.ErrNotFound
	}
	if err != nil {
		return Recipient{}, fmt.Errorf("find recipient: %w", err)
	}
	return r, nil
}

// insertAttempt reports false when the account has its live attempts already.
func insertAttempt(ctx context.Context, tx postgres.Tx, attempt id.ID, a Attempt, registrationID []byte) (bool, error) {
	tag, err := tx.Exec(ctx, `
		INSERT INTO registration_attempts (id, user_id, registration_id_hash, password_hash, display_name, locale, expires_at)
		SELECT $1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7)
		WHERE (SELECT count(*) FROM registration_attempts WHERE user_id = $2 AND expires_at > now()) < $8`,
		attempt, a.UserID, registrationID, a.PasswordHash, a.DisplayName, a.Locale, VerificationLife.Seconds(), maxAttempts)
	if err != nil {
		return false, fmt.Errorf("insert registration attempt: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

func newestAttempt(ctx context.Context, tx postgres.Tx, user id.ID) (*id.ID, error) {
	return oneAttempt(ctx, tx, `
		SELECT id FROM registration_attempts WHERE user_id = $1 AND expires_at > now()
		ORDER BY created_at DESC, id DESC LIMIT 1`, user)
}

func attemptOf(ctx context.Context, tx postgres.Tx, user id.ID, registrationID []byte) (*id.ID, error) {
	return oneAttempt(ctx, tx, `
		SELECT id FROM registration_attempts
		WHERE user_id = $1 AND registration_id_hash = $2 AND expires_at > now()`, user, registrationID)
}

func oneAttempt(ctx context.Context, tx postgres.Tx, sql string, args ...any) (*id.ID, error) {
	var attempt id.ID
	err := tx.QueryRow(ctx, sql, args...).Scan(&attempt)
	if postgres.NoRows(err) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, fmt.Errorf("find registration attempt: %w", err)
	}
	return &attempt, nil
}

// newRow is a token or code to be stored; life is in seconds.
type newRow struct {
	id      id.ID
	purpose string
	hash    []byte
	life    float64
}

// insertTokens stores tokens and kills the older ones of the same purposes and attempt. The attempt lives as long as they.
func insertTokens(ctx context.Context, tx postgres.Tx, r Recipient, attempt *id.ID, rows ...newRow) error {
	ids, purposes := make([]id.ID, len(rows)), make([]string, len(rows))
	hashes, lives := make([][]byte, len(rows)), make([]float64, len(rows))
	for i, row := range rows {
		ids[i], purposes[i], hashes[i], lives[i] = row.id, row.purpose, row.hash, row.life
	}
	_, err := tx.Exec(ctx, `
		WITH killed AS (
			DELETE FROM one_time_tokens
			WHERE user_id = $1 AND attempt_id IS NOT DISTINCT FROM $2 AND purpose = ANY($6) AND used_at IS NULL
		), extended AS (
			UPDATE registration_attempts SET expires_at = now() + make_interval(secs => $9) WHERE id = $2
		)
		INSERT INTO one_time_tokens (id, purpose, token_hash, user_id, attempt_id, email_norm, auth_epoch, expires_at)
		SELECT id, purpose, hash, $1, $2, $3, $4, now() + make_interval(secs => life)
		FROM unnest($5::uuid[], $6::text[], $7::bytea[], $8::float8[]) AS n (id, purpose, hash, life)`,
		r.UserID, attempt, r.EmailNorm, r.AuthEpoch, ids, purposes, hashes, lives, VerificationLife.Seconds())
	if err != nil {
		return fmt.Errorf("insert one-time tokens: %w", err)
	}
	return nil
}

// proofColumns are those of token t, its account u and its attempt a, in the order of Proof.scan. That address and epoch
// are still the account's is the condition beside them.
const (
	proofColumns = `t.id, t.user_id, t.email_norm, t.auth_epoch, t.used_at IS NOT NULL,
		coalesce(u.email, ''), u.status, u.email_verified, u.password_hash,
		a.id, a.password_hash, a.display_name, a.locale, a.registration_id_hash`
	stillBound = `t.expires_at > now() AND t.email_norm = u.email_norm AND t.auth_epoch = u.auth_epoch`
)

func (p *Proof) scan(row pgx.Row, more ...any) error {
	err := row.Scan(append([]any{
		&p.TokenID, &p.UserID, &p.EmailNorm, &p.AuthEpoch, &p.Used,
		&p.Email, &p.Status, &p.EmailVerified, &p.PasswordHash,
		&p.AttemptID, &p.AttemptHash, &p.DisplayName, &p.Locale, &p.registrationID,
	}, more...)...)
	if postgres.NoRows(err) {
		return ErrInvalid
	}
	if err != nil {
		return fmt.Errorf("find one-time token: %w", err)
	}
	return nil
}

func byToken(ctx context.Context, db postgres.DB, purpose string, hash []byte) (p Proof, err error) {
	err = p.scan(db.QueryRow(ctx, `
		SELECT `+proofColumns+`
		FROM one_time_tokens t JOIN users u ON u.id = t.user_id LEFT JOIN registration_attempts a ON a.id = t.attempt_id
		WHERE t.purpose = $1 AND t.token_hash = $2 AND `+stillBound, purpose, hash))
	return p, err
}

// tryCode counts a try at the code of an attempt and returns its hash; ErrInvalid when no try is left.
func tryCode(ctx context.Context, db postgres.DB, registrationID []byte) (p Proof, hash []byte, err error) {
	err = p.scan(db.QueryRow(ctx, `
		UPDATE one_time_tokens t SET tries = t.tries + 1
		FROM registration_attempts a, users u
		WHERE a.registration_id_hash = $1 AND t.attempt_id = a.id AND t.purpose = 'verify_email_code' AND u.id = t.user_id
			AND t.tries < $2 AND `+stillBound+`
		RETURNING `+proofColumns+`, t.token_hash`, registrationID, maxTries), &hash)
	return p, hash, err
}

// consume leaves the used token and its attempt, so that the same token succeeds again; the attempt's hash is the
// account's now, and is emptied there.
func consume(ctx context.Context, tx postgres.Tx, tokenID id.ID) error {
	var used int
	err := tx.QueryRow(ctx, `
		WITH used AS (
			UPDATE one_time_tokens SET used_at = now() WHERE id = $1 AND used_at IS NULL AND expires_at > now()
			RETURNING id, user_id, attempt_id
		), attempts AS (
			DELETE FROM registration_attempts a USING used WHERE a.user_id = used.user_id AND a.id IS DISTINCT FROM used.attempt_id
		), tokens AS (
			DELETE FROM one_time_tokens t USING used
			WHERE t.user_id = used.user_id AND t.id <> used.id AND t.purpose <> $2
		), emptied AS (
			UPDATE registration_attempts a SET password_hash = '' FROM used WHERE a.id = used.attempt_id
		)
		SELECT count(*) FROM used`, tokenID, purposeUndo).Scan(&used)
	if err != nil {
		return fmt.Errorf("use one-time token: %w", err)
	}
	if used == 0 {
		return ErrInvalid
	}
	return nil
}

func use(ctx context.Context, tx postgres.Tx, tokenID id.ID) error {
	tag, err := tx.Exec(ctx, "UPDATE one_time_tokens SET used_at = now() WHERE id = $1 AND used_at IS NULL AND expires_at > now()", tokenID)
	if err != nil {
		return fmt.Errorf("use one-time token: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrInvalid
	}
	return nil
}

// EndClaims ends every claim on an account: registration attempts, their tokens and codes, invitations, resets, magic
// links, changes of the address. What undoes a change of the address stays: it is for the owner of the former one.
func EndClaims(ctx context.Context, tx postgres.Tx, user id.ID) error {
	_, err := tx.Exec(ctx, `
		WITH tokens AS (DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose <> $2)
		DELETE FROM registration_attempts WHERE user_id = $1`, user, purposeUndo)
	if err != nil {
		return fmt.Errorf("delete claims on user: %w", err)
	}
	return nil
}

// EndAll ends every attempt, token and code of an account: its address has changed under them.
func EndAll(ctx context.Context, tx postgres.Tx, user id.ID) error {
	_, err := tx.Exec(ctx, `
		WITH tokens AS (DELETE FROM one_time_tokens WHERE user_id = $1)
		DELETE FROM registration_attempts WHERE user_id = $1`, user)
	if err != nil {
		return fmt.Errorf("delete one-time tokens of user: %w", err)
	}
	return nil
}

// Disable ends what an account that is kept out, or removed, holds or has given: its tokens and codes, and the invitations
// that it sent. Registration attempts stay, for a mail of their own after the reactivation; so do ways back to a former
// address, which are no good meanwhile. An invitation is used up, and stays to tell that nobody vouches for its roles (see
// Voucher): by its own account, since the row must outlive its inviter's.
func Disable(ctx context.Context, tx postgres.Tx, user id.ID) error {
	_, err := tx.Exec(ctx, `
		WITH void AS (
			UPDATE one_time_tokens SET used_at = coalesce(used_at, now()), invited_by = CASE WHEN invited_by = $1 THEN user_id ELSE invited_by END
			WHERE purpose = 'invitation' AND (user_id = $1 OR invited_by = $1)
		)
		DELETE FROM one_time_tokens WHERE user_id = $1 AND purpose NOT IN ('undo_email_change', 'invitation')`, user)
	if err != nil {
		return fmt.Errorf("delete one-time tokens of user: %w", err)
	}
	return nil
}

// sweep leaves the invitation of an account that nobody has taken yet: on whose word it holds its roles is asked whenever
// it is taken.
func sweep(ctx context.Context, db postgres.DB) error {
	_, err := db.Exec(ctx, `
		WITH tokens AS (
			DELETE FROM one_time_tokens t USING users u
			WHERE t.expires_at <= now() AND u.id = t.user_id AND (t.purpose <> 'invitation' OR u.status = 'active')
		)
		DELETE FROM registration_attempts WHERE expires_at <= now()`)
	if err != nil {
		return fmt.Errorf("sweep one-time tokens: %w", err)
	}
	return nil
}

package upkeep

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

// step is one kind of thing that must not outlive a restore.
type step struct {
	what  string
	sql   string
	count *int64
}

func (r *Restored) steps(revokeKeys bool) []step {
	all := []step{
		{"tokens_of_accounts", `UPDATE users SET auth_epoch = auth_epoch + 1`, &r.Accounts},
		{"sessions", `DELETE FROM sessions`, &r.Sessions},
		{"one_time_tokens", `DELETE FROM one_time_tokens`, &r.OneTimeTokens},
		{"pending_sign_ins", `DELETE FROM mfa_challenges`, &r.PendingSignIns},
		{"challenges", `DELETE FROM webauthn_challenges`, &r.Challenges},
		{"answers", `DELETE FROM idempotency_keys`, &r.Answers},
		// They were sent after the backup, and their links are void.
		{"mails", `UPDATE mail_messages SET state = 'canceled', payload = NULL, recipient = NULL, last_error = 'void after a restore'
			WHERE state = 'queued'`, &r.Mails},
	}
	if revokeKeys {
		all = append(all, step{"api_keys", `UPDATE api_keys SET revoked_at = now(), version = version + 1, updated_at = now()
			WHERE revoked_at IS NULL`, &r.KeysRevoked})
	}
	return all
}

// takeAll lets the transaction take as long as a million accounts need, and nobody begin a session meanwhile: it would be
// one that was never ended.
func takeAll(ctx context.Context, tx postgres.Tx) error {
	_, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '60s', true)`)
	if err == nil {
		_, err = tx.Exec(ctx, `LOCK TABLE users, sessions IN EXCLUSIVE MODE`)
	}
	if err != nil {
		return fmt.Errorf("lock accounts and sessions: %w", err)
	}
	return nil
}

func void(ctx context.Context, tx postgres.Tx, sql string) (int64, error) {
	tag, err := tx.Exec(ctx, sql)
	return tag.RowsAffected(), err
}

func liveKeys(ctx context.Context, db postgres.DB) (n int64, err error) {
	err = db.QueryRow(ctx, `SELECT count(*) FROM api_keys
		WHERE revoked_at IS NULL AND quarantined_at IS NULL AND (expires_at IS NULL OR expires_at > now())`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count API keys: %w", err)
	}
	return n, nil
}

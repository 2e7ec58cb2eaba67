package session

import (
	"context"
	"fmt"
	"time"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

type stood struct {
	live
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// standing gives pgx.ErrNoRows for a token that would not be taken now.
func standing(ctx context.Context, db postgres.DB, cfg Config, t token.Refresh) (stood, error) {
	hash := t.SecretHash()
	return one[stood](ctx, db, "look at session", `
		SELECT `+liveColumns+`,
			s.rotated_at AS issued_at, least(s.idle_expires_at, s.expires_at) AS expires_at
		FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.id = $1 AND s.secret_hash = $2 AND s.idle_expires_at > now() AND s.expires_at > now()
			AND u.status = 'active' AND u.auth_epoch = s.auth_epoch
			AND (s.counter = $3 OR s.counter = $3 + 1 AND s.rotated_at > now() - make_interval(secs => $4))`,
		t.SessionID, hash[:], t.Counter, cfg.Grace.Seconds())
}

func removeOwned(ctx context.Context, tx postgres.Tx, session, owner id.ID) (email *string, err error) {
	err = tx.QueryRow(ctx, `
		DELETE FROM sessions s USING users u WHERE s.id = $1 AND s.user_id = $2 AND u.id = s.user_id
		RETURNING u.email`, session, owner).Scan(&email)
	if err != nil {
		return nil, fmt.Errorf("delete session: %w", err)
	}
	return email, nil
}

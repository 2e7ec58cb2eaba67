package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// state is where a mail is. Only queued ones have a payload and a recipient.
type state string

const (
	stateSent     state = "sent"
	stateFailed   state = "failed"   // refused for good
	stateCanceled state = "canceled" // expired before it could be sent
)

// queued is a new row.
type queued struct {
	id        id.ID
	userID    id.ID
	template  string
	language  string
	recipient string
	payload   []byte
	messageID string
	life      time.Duration
}

func insert(ctx context.Context, tx postgres.Tx, q queued) error {
	var user *id.ID
	if q.userID != id.Nil {
		user = &q.userID
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO mail_messages (id, user_id, template, locale, recipient, payload, message_id, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))`,
		q.id, user, q.template, q.language, q.recipient, q.payload, q.messageID, q.life.Seconds())
	if err != nil {
		return fmt.Errorf("insert mail: %w", err)
	}
	return nil
}

// stored is a row that waits to be sent.
type stored struct {
	id        id.ID
	template  string
	language  string
	recipient string
	payload   []byte
	messageID string
	attempts  int
	expired   bool
}

// load returns a mail that is still to be sent, or no rows.
func load(ctx context.Context, db postgres.DB, mail id.ID) (stored, error) {
	s := stored{id: mail}
	err := db.QueryRow(ctx, `
		SELECT template, locale, recipient, payload, message_id, attempts, coalesce(expires_at <= now(), false)
		FROM mail_messages WHERE id = $1 AND state = 'queued'`, mail).
		Scan(&s.template, &s.language, &s.recipient, &s.payload, &s.messageID, &s.attempts, &s.expired)
	if err != nil {
		return s, fmt.Errorf("load mail: %w", err)
	}
	return s, nil
}

// settle ends a mail and empties it. Reason is kept for failures; it names no recipient.
func settle(ctx context.Context, db postgres.DB, mail id.ID, to state, reason string) error {
	_, err := db.Exec(ctx, `
		UPDATE mail_messages
		SET state = $2, last_error = nullif($3, ''), payload = NULL, recipient = NULL,
			attempts = attempts + CASE WHEN $2 = 'canceled' THEN 0 ELSE 1 END,
			sent_at = CASE WHEN $2 = 'sent' THEN now() END
		WHERE id = $1 AND state = 'queued'`, mail, string(to), reason)
	if err != nil {
		return fmt.Errorf("settle mail as %s: %w", to, err)
	}
	return nil
}

// delay counts an attempt that may be repeated.
func delay(ctx context.Context, db postgres.DB, mail id.ID, reason string) error {
	_, err := db.Exec(ctx, `
		UPDATE mail_messages SET attempts = attempts + 1, last_error = $2 WHERE id = $1 AND state = 'queued'`, mail, reason)
	if err != nil {
		return fmt.Errorf("count attempt at mail: %w", err)
	}
	return nil
}

// sweep empties expired mails whose job was lost (discarded after panics, deleted by hand): an address or a token must
// not lie here for ever.
func sweep(ctx context.Context, db postgres.DB) error {
	_, err := db.Exec(ctx, `
		UPDATE mail_messages SET state = 'canceled', payload = NULL, recipient = NULL,
			last_error = coalesce(last_error, 'expired before it could be sent')
		WHERE state = 'queued' AND expires_at <= now()`)
	if err != nil {
		return fmt.Errorf("sweep expired mails: %w", err)
	}
	return nil
}

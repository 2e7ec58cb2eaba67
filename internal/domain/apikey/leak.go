package apikey

import (
	"context"
	"crypto/subtle"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Outbox enqueues mails in the transaction of what they tell; notify.Service is one.
type Outbox interface {
	Enqueue(ctx context.Context, tx postgres.Tx, m notify.Mail) error
}

// Leaked quarantines a key that somebody holds who should not; that he can show it proves it. Its owner is told, and
// nobody else: the result is nil for any text. A secret that no longer works harms nobody, and ends nothing. What is no
// key at all costs no look-up.
func (s *Service) Leaked(ctx context.Context, by actor.Actor, text string) error {
	parsed, ok := token.ParseAPIKey(text)
	if !ok {
		return nil
	}
	found, err := findSecret(ctx, s.Pool, parsed.PublicID)
	if err != nil {
		return err
	}
	proven := subtle.ConstantTimeCompare(found.Hash, parsed.Hash[:]) == 1
	switch {
	case found.unknown():
		return s.recordNoLeak(ctx, s.Pool, by, audit.Target{Type: "api_key", Label: parsed.PublicID}, "not_found")
	case !proven || found.Environment != parsed.Environment:
		return s.recordNoLeak(ctx, s.Pool, by, audit.Target{Type: "api_key", ID: found.KeyID, Label: parsed.PublicID, Owner: found.UserID}, "wrong_secret")
	}
	return s.Pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		k, err := lock(ctx, tx, found.KeyID)
		if err != nil {
			return err
		}
		reason := ""
		switch {
		case k.Status == Revoked || k.Status == Quarantined:
			reason = string(k.Status)
		case found.Ended:
			reason = string(Expired)
		}
		if reason != "" {
			return s.recordNoLeak(ctx, tx, by, audit.Target{Type: "api_key", ID: k.ID, Label: k.Name, Owner: k.UserID}, reason)
		}
		if err := quarantine(ctx, tx, k.ID); err != nil {
			return err
		}
		changed := map[string]audit.Change{"status": {From: k.Status, To: Quarantined}}
		if err := s.record(ctx, tx, by, "api_key.quarantine", k, changed); err != nil {
			return err
		}
		if err := s.tell(ctx, tx, k.ID, func(p person) notify.Content {
			return notify.KeyLeaked{Name: p.Name, Key: k.Name, Last4: text[len(text)-4:], At: p.Now}
		}); err != nil {
			return err
		}
		return s.Changes.Of(ctx, tx, k.UserID)
	})
}

// recordNoLeak keeps an attempt that ended no key.
func (s *Service) recordNoLeak(ctx context.Context, db postgres.DB, by actor.Actor, of audit.Target, reason string) error {
	return audit.Record(ctx, db, by, audit.Event{
		Action: "api_key.quarantine", Outcome: audit.Failure, Reason: reason, Target: of,
	})
}

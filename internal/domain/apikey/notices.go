package apikey

import (
	"context"
	"time"

	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const (
	noticeInterval = 10 * time.Minute
	noticeBatch    = 100
)

// noticesArgs is the periodic job that tells owners what is about to happen to their keys.
type noticesArgs struct{}

// Kind implements jobs.Args.
func (noticesArgs) Kind() string { return "api_key_notices" }

// Work registers the handler of this package's job; call it before the client starts.
func (s *Service) Work(c *jobs.Client) {
	jobs.Handle(c, func(ctx context.Context, _ jobs.Job[noticesArgs]) error { return s.SendNotices(ctx) })
	c.Every(noticeInterval, noticesArgs{})
}

// SendNotices tells owners of keys that expire within 14 days and within one, and of secrets that are still used in the
// last quarter of their overlap. What was told is marked in the transaction of the mail, so that each is told once,
// whichever replicas run this. A new expiry is a new matter.
func (s *Service) SendNotices(ctx context.Context) error {
	for _, due := range []func(context.Context, postgres.Tx) (int, error){s.tellExpiring, s.tellOldInUse} {
		for n := noticeBatch; n == noticeBatch; {
			err := s.Pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
				n, err = due(ctx, tx)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) tellExpiring(ctx context.Context, tx postgres.Tx) (int, error) {
	keys, err := takeExpiring(ctx, tx, noticeBatch)
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		err := s.tell(ctx, tx, k.ID, func(p person) notify.Content {
			return notify.KeyExpires{Name: p.Name, Key: k.Name, Last4: k.Last4, At: k.ExpiresAt}
		})
		if err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

func (s *Service) tellOldInUse(ctx context.Context, tx postgres.Tx) (int, error) {
	secrets, err := takeOldInUse(ctx, tx, noticeBatch)
	if err != nil {
		return 0, err
	}
	for _, x := range secrets {
		err := s.tell(ctx, tx, x.KeyID, func(p person) notify.Content {
			return notify.KeySecretInUse{
				Name: p.Name, Key: x.Name, Last4: x.Last4, Ends: x.ExpiresAt, UsedAt: x.LastUsedAt, From: x.From, By: x.By,
			}
		})
		if err != nil {
			return 0, err
		}
	}
	return len(secrets), nil
}

// tell mails whoever answers for a key: its owner, or for a service account the person who made the key. Where neither
// has an address nobody can be told.
func (s *Service) tell(ctx context.Context, tx postgres.Tx, key id.ID, content func(person) notify.Content) error {
	p, ok, err := responsible(ctx, tx, key)
	if err != nil || !ok {
		return err
	}
	return s.Outbox.Enqueue(ctx, tx, notify.Mail{UserID: p.UserID, To: p.Email, Locale: p.Locale, Content: content(p)})
}

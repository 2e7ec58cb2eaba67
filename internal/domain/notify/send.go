package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// send is one attempt at handing a mail over.
func (s *Service) send(ctx context.Context, job jobs.Job[sendArgs]) error {
	m, err := load(ctx, s.Pool, job.Args.MailID)
	if postgres.NoRows(err) {
		return nil // sent, failed or canceled by an attempt that could not finish its job, or gone with its account
	}
	if err != nil {
		return err
	}
	if m.expired {
		return s.finish(ctx, job, stateCanceled, "expired before it could be sent")
	}
	message, err := s.compose(m)
	if err != nil {
		// A key that is missing on this replica only can be there at the next attempt, on another.
		if job.Last {
			return s.dead(ctx, m, err)
		}
		return fmt.Errorf("mail %s (%s): %w", m.id, m.template, err)
	}
	err = s.Sender.Send(ctx, message)
	switch {
	case err == nil:
		// Dying before the next line's commit sends the mail once more, with the same Message-ID. No order of the two
		// avoids both that and a loss.
		if err := s.finish(ctx, job, stateSent, ""); err != nil {
			return err
		}
		s.Log.InfoContext(ctx, "mail sent", "mail_id", m.id, "template", m.template, "attempt", m.attempts+1)
		return nil
	case errors.Is(err, mail.ErrPermanent):
		return s.dead(ctx, m, err)
	case ctx.Err() != nil:
		return fmt.Errorf("mail %s (%s): %w", m.id, m.template, err) // we are stopping; it says nothing about the server
	default:
		return s.later(ctx, m, err)
	}
}

// compose opens and renders the mail.
func (s *Service) compose(m stored) (mail.Message, error) {
	plain, err := s.Sealer.Open(purpose, m.id[:], m.payload)
	if err != nil {
		return mail.Message{}, fmt.Errorf("open the payload: %w", err)
	}
	var values map[string]string
	if err := json.Unmarshal(plain, &values); err != nil {
		return mail.Message{}, fmt.Errorf("decode the payload: %w", err)
	}
	r, err := s.templates.render(m.template, languageOf(m.language), s.product, values)
	if err != nil {
		return mail.Message{}, err
	}
	return mail.Message{ID: m.messageID, To: m.recipient, Subject: r.subject, Text: r.text, HTML: r.html}, nil
}

// finish writes down the end of a mail, empties what it said and to whom, and completes the job, all in one.
func (s *Service) finish(ctx context.Context, job jobs.Job[sendArgs], to state, reason string) error {
	return s.Pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := settle(ctx, tx, job.Args.MailID, to, reason); err != nil {
			return err
		}
		return job.Complete(ctx, tx)
	})
}

// dead ends a mail that no repetition can help. The row is settled first: should we die in between, the job finds
// nothing to do.
func (s *Service) dead(ctx context.Context, m stored, cause error) error {
	if err := settle(ctx, s.Pool, m.id, stateFailed, cause.Error()); err != nil {
		return err
	}
	return jobs.Cancel(fmt.Errorf("mail %s (%s) failed for good: %w", m.id, m.template, cause))
}

// later puts a mail off. It is no failed attempt of the job: a mail server may be down for longer than a job is tried,
// and the mail's own expiry says how long waiting makes sense.
func (s *Service) later(ctx context.Context, m stored, cause error) error {
	if err := delay(ctx, s.Pool, m.id, cause.Error()); err != nil {
		return err
	}
	wait := pause(m.attempts)
	s.Log.WarnContext(ctx, "mail delayed", "mail_id", m.id, "template", m.template, "attempt", m.attempts+1,
		"retry_in_ms", wait.Milliseconds(), "error", cause.Error())
	return jobs.Snooze(wait)
}

// pause grows from one second to thirty: a server that comes back gets everything within a minute, and jitter keeps
// the mails of an outage from coming back as one.
func pause(attempts int) time.Duration {
	d := min(time.Second<<min(attempts, 5), 30*time.Second)
	return d - rand.N(d/4) //nolint:gosec // jitter needs no secrecy
}

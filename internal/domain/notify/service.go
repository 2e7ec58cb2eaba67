// Package notify sends mails through an outbox: a mail is a row, written in the transaction of what it tells, and a job
// that hands it over. It leaves after the commit, at least once, with the same Message-ID at each attempt.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// purpose separates mail payloads from all else that the master key seals.
const purpose = "mail"

// Config is what mails say about the service.
type Config struct {
	ProductName string
	PublicURL   string
	LinkBaseURL string // empty: the public URL, whose pages we serve
}

// Sealer is the master key.
type Sealer interface {
	Seal(purpose string, aad, plaintext []byte) []byte
	Open(purpose string, aad, sealed []byte) ([]byte, error)
}

// Queue takes jobs in a transaction.
type Queue interface {
	Insert(ctx context.Context, tx postgres.Tx, args jobs.Args) error
}

// Deps is what the service stands on.
type Deps struct {
	Pool   *postgres.Pool
	Queue  Queue
	Sealer Sealer
	Sender mail.Sender
	Log    *slog.Logger
}

// Service enqueues mails and, where jobs are worked, sends them.
type Service struct {
	Deps
	product   string
	host      string // of Message-IDs
	links     Links
	templates templates
}

// New checks the configuration and parses every template.
func New(cfg Config, deps Deps) (*Service, error) {
	s := &Service{Deps: deps, product: cfg.ProductName}
	if s.product == "" || len(s.product) > 60 || strings.ContainsFunc(s.product, unicode.IsControl) {
		return nil, errors.New("UMS_PRODUCT_NAME: want 1 to 60 bytes without control characters")
	}
	public, err := NewLinks(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("UMS_PUBLIC_URL: %w", err)
	}
	s.links = public
	if cfg.LinkBaseURL != "" {
		if s.links, err = NewLinks(cfg.LinkBaseURL); err != nil {
			return nil, fmt.Errorf("UMS_LINK_BASE_URL: %w", err)
		}
	}
	s.host = messageHost(cfg.PublicURL)
	if s.templates, err = parse(); err != nil {
		return nil, err
	}
	return s, nil
}

// messageHost is what stands behind the @ of our Message-IDs; an IPv6 address does not fit there without brackets.
func messageHost(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil || u.Hostname() == "" || strings.Contains(u.Hostname(), ":") {
		return "localhost"
	}
	return u.Hostname()
}

// Links builds the links that mails have, for commands that print one.
func (s *Service) Links() Links { return s.links }

// Enqueue writes the mail and its job in tx: it is sent after the commit, and never when tx rolls back. What the mail
// says is fixed here and stored sealed by the master key, since it holds tokens. Two statements, and a NOTIFY.
func (s *Service) Enqueue(ctx context.Context, tx postgres.Tx, m Mail) error {
	l := languageOf(m.Locale)
	payload, err := json.Marshal(m.Content.values(s.links, l))
	if err != nil {
		return fmt.Errorf("encode mail: %w", err)
	}
	row := id.New()
	err = insert(ctx, tx, queued{
		id: row, userID: m.UserID, template: m.Content.template(), language: string(l), recipient: m.To,
		payload: s.Sealer.Seal(purpose, row[:], payload), messageID: row.String() + "@" + s.host, life: m.Content.life(),
	})
	if err != nil {
		return err
	}
	return s.Queue.Insert(ctx, tx, sendArgs{MailID: row})
}

// sendArgs is the job of one mail.
type sendArgs struct {
	MailID id.ID `json:"mail_id"`
}

// Kind implements jobs.Args.
func (sendArgs) Kind() string { return "mail_send" }

// sweepArgs is the periodic job that empties what no job will send any more.
type sweepArgs struct{}

// Kind implements jobs.Args.
func (sweepArgs) Kind() string { return "mail_sweep" }

// Work registers the handlers of this package's jobs; call it before the client starts.
func (s *Service) Work(c *jobs.Client) {
	jobs.Handle(c, s.send)
	jobs.Handle(c, func(ctx context.Context, _ jobs.Job[sweepArgs]) error { return sweep(ctx, s.Pool) })
	c.Every(time.Hour, sweepArgs{})
}

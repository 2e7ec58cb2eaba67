package notify_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

const masterKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// bench is the outbox over a real database and a real mail server. Its workers are not started.
type bench struct {
	*notify.Service
	pool     *postgres.Pool
	jobs     *jobs.Client
	server   *mailtest.Server
	log      *buffer
	outcomes chan string // of mail_send
}

type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{server: mailtest.NewServer(t), log: &buffer{}, outcomes: make(chan string, 1000)}
	logger := slog.New(slog.NewTextHandler(b.log, nil))
	var err error
	b.pool, err = postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 6,
	}, logger)
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	b.jobs, err = jobs.New(b.pool, jobs.Config{}, logger, func(kind, outcome string, _ time.Duration) {
		if kind == "mail_send" {
			b.outcomes <- outcome
		}
	})
	require.NoError(t, err)
	sender, err := mail.NewSMTP(mail.Config{SMTPURL: secret.New(b.server.URL()), From: "no-reply@ums.test"})
	require.NoError(t, err)
	b.Service = b.service(t, masterKey, sender)
	return b
}

func (b *bench) service(t *testing.T, key string, sender mail.Sender) *notify.Service {
	t.Helper()
	ring, err := keyring.Parse(key)
	require.NoError(t, err)
	s, err := notify.New(notify.Config{ProductName: "Demo", PublicURL: "https://ums.test:8443"}, notify.Deps{
		Pool: b.pool, Queue: b.jobs, Sealer: ring, Sender: sender, Log: slog.New(slog.NewTextHandler(b.log, nil)),
	})
	require.NoError(t, err)
	return s
}

func (b *bench) start(t *testing.T) {
	t.Helper()
	b.Work(b.jobs)
	require.NoError(t, b.jobs.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, b.jobs.Stop(context.Background())) })
}

func (b *bench) enqueue(t *testing.T, m notify.Mail) {
	t.Helper()
	require.NoError(t, b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		return b.Enqueue(ctx, tx, m)
	}))
}

func (b *bench) outcome(t *testing.T) string {
	t.Helper()
	select {
	case o := <-b.outcomes:
		return o
	case <-time.After(30 * time.Second):
		require.FailNow(t, "no attempt was made")
		return ""
	}
}

// row is what is left of the only mail.
type row struct {
	state, locale, messageID     string
	template, recipient, lastErr *string
	payload                      []byte
	attempts                     int
	sentAt                       *time.Time
	expires                      time.Duration
}

func (b *bench) row(t *testing.T) (r row) {
	t.Helper()
	var seconds float64
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT state, locale, message_id, template, recipient, last_error, payload,
		attempts, sent_at, extract(epoch FROM expires_at - created_at)::float8 FROM mail_messages`).
		Scan(&r.state, &r.locale, &r.messageID, &r.template, &r.recipient, &r.lastErr, &r.payload, &r.attempts, &r.sentAt, &seconds))
	r.expires = time.Duration(seconds * float64(time.Second))
	return r
}

func verification() notify.Mail {
	return notify.Mail{To: "alice@x.test", Locale: "de-AT", Content: notify.VerifyEmail{
		Name: "Alice", Token: secret.New("s3cret-token"), Life: 24 * time.Hour, Code: secret.New("12345678"), CodeLife: 10 * time.Minute,
	}}
}

func TestMailLeavesAfterTheCommitAndIsForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enqueue(t, verification())
	r := b.row(t)
	require.Equal(t, "queued", r.state)
	require.Equal(t, "de", r.locale)
	require.Equal(t, "alice@x.test", *r.recipient)
	require.InDelta(t, 24*time.Hour, r.expires, float64(time.Second))
	for _, leak := range []string{"s3cret-token", "12345678", "Alice", "link"} {
		require.NotContains(t, string(r.payload), leak, "the payload is sealed")
	}
	var args string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT args::text FROM river_job`).Scan(&args))
	require.Regexp(t, `^\{"mail_id": "[0-9a-f-]{36}"\}$`, args, "a job holds ids only")

	b.start(t)
	m := b.server.WaitFor(t, "alice@x.test", 1)
	require.Equal(t, "completed", b.outcome(t))
	require.Equal(t, "s3cret-token", m.Token())
	require.Equal(t, "12345678", m.Code())
	require.Contains(t, m.Text, "https://ums.test:8443/verify-email#token=")
	require.Contains(t, m.Text, "24 Stunden")
	require.Contains(t, m.Text, "10 Minuten")
	require.Equal(t, "<"+r.messageID+">", m.Header.Get("Message-ID"))
	require.Regexp(t, `@ums\.test$`, r.messageID)

	r = b.row(t)
	require.Equal(t, "sent", r.state)
	require.Equal(t, 1, r.attempts)
	require.NotNil(t, r.sentAt)
	require.Nil(t, r.payload)
	require.Nil(t, r.recipient)
	require.NotContains(t, b.log.String(), "alice@x.test")
	require.NotContains(t, b.log.String(), "s3cret")
}

func TestNothingIsSentAfterARollback(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.start(t)
	rollback := errors.New("changed my mind")
	require.ErrorIs(t, b.pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		require.NoError(t, b.Enqueue(ctx, tx, verification()))
		return rollback
	}), rollback)
	b.enqueue(t, notify.Mail{To: "bob@x.test", Content: notify.AlreadyRegistered{}})
	b.server.WaitFor(t, "bob@x.test", 1)
	require.Empty(t, b.server.To("alice@x.test"))
}

// F-19: what a mail server may do to us.
func TestF19FailuresOfTheMailServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failure  mailtest.Failure
		outcomes []string
		state    string
		arrived  int
		err      string
	}{
		"refuses connections":    {mailtest.RefuseConnection, []string{"snoozed", "completed"}, "sent", 1, ""},
		"4xx":                    {mailtest.TemporaryAtData, []string{"snoozed", "completed"}, "sent", 1, ""},
		"5xx goes to the dead":   {mailtest.PermanentAtRcpt, []string{"canceled"}, "failed", 0, "550 5.1.1"},
		"cut after the content":  {mailtest.DropAfterData, []string{"snoozed", "completed"}, "sent", 2, ""},
		"our credentials are no": {mailtest.Unauthenticated, []string{"snoozed", "completed"}, "sent", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.server.Fail(c.failure, 1)
			b.enqueue(t, verification())
			b.start(t)
			for _, want := range c.outcomes {
				require.Equal(t, want, b.outcome(t))
			}
			r := b.row(t)
			require.Equal(t, c.state, r.state)
			require.Equal(t, len(c.outcomes), r.attempts)
			require.Nil(t, r.payload)
			require.Nil(t, r.recipient)
			arrived := b.server.Messages()
			require.Len(t, arrived, c.arrived)
			for _, m := range arrived {
				require.Equal(t, "<"+r.messageID+">", m.Header.Get("Message-ID"), "a duplicate can be recognised")
			}
			if c.err != "" {
				require.Contains(t, *r.lastErr, c.err)
				require.Contains(t, b.log.String(), c.err)
			} else {
				require.Nil(t, r.lastErr)
			}
			require.NotContains(t, b.log.String(), "alice@x.test", "not even when the server quotes it")
		})
	}
}

func TestExpiredMailIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enqueue(t, verification())
	_, err := b.pool.Exec(t.Context(), `UPDATE mail_messages SET expires_at = now()`)
	require.NoError(t, err)
	b.start(t)
	require.Equal(t, "completed", b.outcome(t))
	r := b.row(t)
	require.Equal(t, "canceled", r.state)
	require.Nil(t, r.payload)
	require.Nil(t, r.recipient)
	require.Nil(t, r.sentAt)
	require.Empty(t, b.server.Messages())
}

func TestExpiredMailWithoutAJobIsSwept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enqueue(t, verification())
	_, err := b.pool.Exec(t.Context(), `UPDATE mail_messages SET expires_at = now()`)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `DELETE FROM river_job`)
	require.NoError(t, err)
	b.start(t)
	require.Eventually(t, func() bool { return b.row(t).state == "canceled" }, 20*time.Second, 10*time.Millisecond)
	require.Nil(t, b.row(t).payload)
}

func TestAJobDoneTwiceSendsOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enqueue(t, verification())
	// What a process leaves that died between the mail's end and its job's.
	_, err := b.pool.Exec(t.Context(), `INSERT INTO river_job (args, kind, max_attempts, state) SELECT args, kind, max_attempts, 'available' FROM river_job`)
	require.NoError(t, err)
	b.Work(b.jobs)
	one, err := jobs.New(b.pool, jobs.Config{Workers: 1}, slog.New(slog.DiscardHandler), func(kind, outcome string, _ time.Duration) {
		if kind == "mail_send" {
			b.outcomes <- outcome
		}
	})
	require.NoError(t, err)
	b.Work(one)
	require.NoError(t, one.Start(t.Context()))
	require.Equal(t, "completed", b.outcome(t))
	require.Equal(t, "completed", b.outcome(t))
	require.NoError(t, one.Stop(t.Context()))
	require.Len(t, b.server.Messages(), 1)
}

func TestAMailGoesWithItsAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	user := id.New()
	_, err := b.pool.Exec(t.Context(), `INSERT INTO users (id, kind, email, email_norm, display_name, status)
		VALUES ($1, 'human', 'alice@x.test', 'alice@x.test', 'Alice', 'active')`, user)
	require.NoError(t, err)
	m := verification()
	m.UserID = user
	b.enqueue(t, m)
	_, err = b.pool.Exec(t.Context(), `DELETE FROM users WHERE id = $1`, user)
	require.NoError(t, err)
	b.start(t)
	require.Equal(t, "completed", b.outcome(t))
	require.Empty(t, b.server.Messages())
}

func TestAPayloadThatCannotBeOpenedIsTriedThenGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.enqueue(t, verification())
	b.Service = b.service(t, "MTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", nil)
	_, err := b.pool.Exec(t.Context(), `UPDATE river_job SET max_attempts = 2`)
	require.NoError(t, err)
	b.start(t)
	require.Equal(t, "failed", b.outcome(t), "another replica may have the key")
	require.Equal(t, "canceled", b.outcome(t))
	r := b.row(t)
	require.Equal(t, "failed", r.state)
	require.Nil(t, r.payload)
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	for says, cfg := range map[string]notify.Config{
		"UMS_PRODUCT_NAME":  {ProductName: "a\r\nBcc: eve@x.test", PublicURL: "https://x.test"},
		"UMS_PUBLIC_URL":    {ProductName: "a", PublicURL: "x.test"},
		"UMS_LINK_BASE_URL": {ProductName: "a", PublicURL: "https://x.test", LinkBaseURL: "/relative"},
	} {
		_, err := notify.New(cfg, notify.Deps{})
		require.ErrorContains(t, err, says)
	}
	s, err := notify.New(notify.Config{ProductName: "a", PublicURL: "https://x.test", LinkBaseURL: "https://app.test/a/"}, notify.Deps{})
	require.NoError(t, err)
	require.Equal(t, "https://app.test/a/accept-invitation#token=t", s.Links().AcceptInvitation(secret.New("t")))
}

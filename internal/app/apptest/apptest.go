// Package apptest runs the whole service for a test: on a free port, with a database of its own, a clock that the test
// moves and a real SMTP server. Every answer that passes through its client is checked against the contract.
package apptest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

// The first administrator of every test service.
const (
	AdminEmail    = "admin@example.com"
	AdminPassword = "copper lantern drifts north"
)

// Service is a running service.
type Service struct {
	*Client        // without credentials
	DSN     string // of the owner
	Mail    *mailtest.Server
	Clock   *clock.Fake
	App     *app.App
	Log     *Log
	stop    func()
}

type settings struct {
	env   []string
	clock *clock.Fake
	dsn   string
	mail  *mailtest.Server

	configure []func(*config.Config)
}

// Option changes how a service is started.
type Option func(*settings)

// Env sets variables, each as NAME=value.
func Env(vars ...string) Option { return func(s *settings) { s.env = append(s.env, vars...) } }

// Configure changes what has no variable, such as the tracer of statements.
func Configure(change func(*config.Config)) Option {
	return func(s *settings) { s.configure = append(s.configure, change) }
}

// Stall is how long an upload or a stream may make no progress.
func Stall(d time.Duration) Option { return Configure(func(c *config.Config) { c.Edge.Stall = d }) }

// Beside starts another replica: the same database, mail server, master key and clock.
func Beside(other *Service) Option {
	return func(s *settings) { s.dsn, s.mail, s.clock = other.DSN, other.Mail, other.Clock }
}

// MasterKey is that of every test service, so that replicas agree and a test can forge what they would have made.
const MasterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// Start runs a service until the test ends.
func Start(t testing.TB, options ...Option) *Service {
	t.Helper()
	s := settings{}
	for _, o := range options {
		o(&s)
	}
	if s.dsn == "" {
		s.dsn = pgtest.URL(t)
		s.mail = mailtest.NewServer(t)
		s.clock = clock.NewFake(time.Now())
	}
	env := append([]string{
		"UMS_HTTP_ADDR=127.0.0.1:0", "UMS_ADMIN_ADDR=127.0.0.1:0", "UMS_DATA_DIR=" + t.TempDir(), "UMS_MASTER_KEY=" + MasterKey,
		"UMS_DATABASE_URL=" + s.dsn, "UMS_DATABASE_MAX_CONNS=8", "UMS_SMTP_URL=" + s.mail.URL() + "?tls=none", "UMS_LOG_FORMAT=json",
		"UMS_ARGON2_MEMORY_KIB=64", "UMS_ARGON2_ITERATIONS=1", "UMS_RATE_LIMIT_ADDRESS=off", "UMS_RATE_LIMIT_CALLER=off",
		"UMS_BOOTSTRAP_ADMIN_EMAIL=" + AdminEmail, "UMS_BOOTSTRAP_ADMIN_PASSWORD=" + AdminPassword,
	}, s.env...)
	cfg, unknown, err := config.Load(env)
	require.NoError(t, err)
	require.Empty(t, unknown)
	for _, change := range s.configure {
		change(cfg)
	}
	log := &Log{}
	a, err := app.New(t.Context(), app.Options{Config: cfg, Version: "test", Stdout: log, Clock: s.clock})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var stopped bool
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	select {
	case <-a.Ready():
	case err := <-done:
		stopped = true
		require.NoError(t, errors.Join(errors.New("the service ended before it was ready"), err), log.String())
	}
	return &Service{
		Client: NewClient("http://" + a.Addr()), DSN: s.dsn, Mail: s.mail, Clock: s.clock, App: a, Log: log, stop: stop,
	}
}

// Stop ends the service as SIGTERM would, before the test ends.
func (s *Service) Stop() { s.stop() }

// Log collects what the service writes.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns all lines so far. Access lines may be up to a second late.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

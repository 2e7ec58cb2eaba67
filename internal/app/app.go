// Package app is the composition root: it builds the service by hand, from the pool to the router, starts it and stops
// it in order.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"path/filepath"
	"runtime/debug"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/bulk"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/domain/transfer"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/httpapi"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/embeddedpg"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/objectstore"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/telemetry"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Options is what a process decides about the service that it runs.
type Options struct {
	Config           *config.Config
	Version          string
	Stdout           io.Writer // logs, and what a person at a terminal should try next
	Terminal         bool
	UnknownVariables []string
	Clock            clock.Clock // nil = the machine's
}

// App is the service, built and not yet running.
type App struct {
	cfg       *config.Config
	version   string
	stdout    io.Writer
	terminal  bool
	log       *slog.Logger
	serverLog *log.Logger
	sink      *telemetry.Sink
	metrics   *telemetry.Metrics
	state     state

	embedded *embeddedpg.Server
	pool     *postgres.Pool
	limiter  *ratelimit.Shared // nil without Redis
	jobs     *jobs.Client
	signing  *signing.Service
	accounts *account.Service
	imports  *bulk.Service
	transfer *transfer.Service
	auth     *auth.Service
	mailbox  *mail.Mailbox

	api        *httpapi.Server
	background []func(context.Context)
	addr       string
	ready      chan struct{}

	adminPassword secret.Text // made at this start, to be shown once
}

// Ready is closed when requests can be answered.
func (a *App) Ready() <-chan struct{} { return a.ready }

// Addr is the address of the public listener, once the service is ready.
func (a *App) Addr() string { return a.addr }

// New builds the service. It starts the embedded database when one is configured, and otherwise touches no network.
func New(ctx context.Context, o Options) (*App, error) {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	a := &App{
		cfg: o.Config, version: o.Version, stdout: o.Stdout, terminal: o.Terminal,
		ready:   make(chan struct{}),
		metrics: telemetry.NewMetrics(telemetry.Build{Version: o.Version, Revision: revision()}),
	}
	a.state.set("start")
	a.sink = telemetry.NewSink(o.Stdout)
	a.log = telemetry.NewLogger(o.Config.Telemetry, a.sink, o.Terminal)
	a.serverLog = slog.NewLogLogger(a.log.Handler(), slog.LevelDebug) // what net/http says of bad clients
	for _, name := range o.UnknownVariables {
		a.log.WarnContext(ctx, "unknown variable; see .env.example", "name", name)
	}
	if err := a.build(ctx, o.Clock); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Close ends what New has started. Run does it by itself.
func (a *App) Close() error {
	var err error
	if a.pool != nil {
		a.pool.Close()
	}
	if a.limiter != nil {
		err = a.limiter.Close()
	}
	if a.embedded != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		err = errors.Join(err, a.embedded.Stop(ctx))
	}
	a.sink.Close()
	return err
}

func (a *App) build(ctx context.Context, clk clock.Clock) error {
	cfg := a.cfg
	ring, err := keyring.Load(cfg.Keys, cfg.Service.DataDir, cfg.Service.Development())
	if err != nil {
		return err
	}
	if cfg.Database.URL.Empty() {
		if a.embedded, err = embeddedpg.Start(ctx, embeddedpg.Config{Dir: filepath.Join(cfg.Service.DataDir, "postgres"), Log: a.log}); err != nil {
			return err
		}
		cfg.Database.URL = secret.New(a.embedded.URL())
	}
	if a.pool, err = postgres.Open(ctx, cfg.Database, a.log); err != nil {
		return err
	}
	a.metrics.WatchPool(a.poolStats)

	a.jobs, err = jobs.New(a.pool, jobs.Config{PollOnly: cfg.Database.TwoURLs()}, a.log, a.observeJob)
	if err != nil {
		return err
	}
	sender, err := a.sender()
	if err != nil {
		return err
	}
	mails, err := notify.New(notify.Config{
		ProductName: cfg.Service.ProductName, PublicURL: cfg.Service.PublicURL, LinkBaseURL: cfg.Service.LinkBaseURL,
	}, notify.Deps{Pool: a.pool, Queue: a.jobs, Sealer: ring, Sender: sender, Log: a.log})
	if err != nil {
		return err
	}
	mails.Work(a.jobs)

	hasher, err := password.NewHasher(cfg.Passwords)
	if err != nil {
		return err
	}
	a.metrics.WatchHashing(hashingStats(hasher))
	if cfg.Passwords.Weak() && !cfg.Service.Development() {
		a.log.WarnContext(ctx, "UMS_ARGON2_* are below what OWASP recommends")
	}
	policy := password.NewPolicy(cfg.Passwords)
	schema, err := profile.LoadSchema(cfg.Profiles)
	if err != nil {
		return err
	}

	bus := postgres.NewBus(a.log)
	changes := actor.NewChanges(bus)
	authorizer := role.Authorizer{}
	limits := throttle.New(a.pool, ring, cfg.Throttle)
	sessions := session.NewService(a.pool, ring, changes, cfg.Sessions)
	factors := mfa.NewService(a.pool, ring, clk, cfg.Service.ProductName)
	relying, err := cfg.RelyingParty()
	if err != nil {
		return err
	}
	passkeys, err := passkey.NewService(a.pool, relying)
	if err != nil {
		return err
	}
	proofs := onetime.NewService(a.pool, ring, limits, mails)
	usage := apikey.NewUsage(a.pool, clk, a.log)
	keys := apikey.NewService(cfg.APIKeys, apikey.Deps{
		Pool: a.pool, Roles: authorizer, Changes: changes, Outbox: mails, General: cfg.Edge.RateLimit.Caller,
	})
	keys.Work(a.jobs)
	store := idempotency.New(a.pool, ring)
	limiter, err := a.newLimiter(clk)
	if err != nil {
		return err
	}
	a.signing = signing.New(signing.Deps{
		Config: cfg.Signing, DB: a.pool, Ring: ring, Bus: bus, Algorithm: cfg.Tokens.Algorithm, Clock: clk, Log: a.log,
	})
	verifier := signing.NewVerifier(token.NewVerifier(cfg.Tokens, cfg.Service.PublicURL, a.signing.Keys(), clk), a.signing)
	rights := access.NewService(a.pool, changes, clk)
	profiles := profile.NewService(a.pool, authorizer, clk, schema)
	pictures, err := a.pictures()
	if err != nil {
		return err
	}
	avatars := profile.NewAvatars(profiles, pictures, a.jobs)
	avatars.Work(a.jobs)
	a.accounts = account.NewService(account.Deps{
		Avatars: avatars, Profiles: profiles,
		DB: a.pool, Authorizer: authorizer, Changes: changes, Proofs: proofs, Outbox: mails, Hasher: hasher, Policy: policy,
		Product: cfg.Service.ProductName, Clock: clk, Config: cfg.Accounts,
	})
	imports := bulk.NewService(bulk.Deps{DB: a.pool, Ring: ring, Accounts: a.accounts, Authorizer: authorizer, Jobs: a.jobs})
	imports.Work(a.jobs)
	roles := role.NewService(a.pool, changes)
	a.imports, a.transfer = imports, transfer.NewService(transfer.Deps{
		DB: a.pool, Factors: factors, Profiles: profiles, Roles: roles, Clock: clk, PasskeyRP: relying.ID(),
	})
	a.auth = auth.NewService(auth.Deps{
		Config: cfg.Auth, ProductName: cfg.Service.ProductName, DB: a.pool, Changes: changes, Ring: ring, Clock: clk, Hasher: hasher, Policy: policy,
		Issuer: token.NewIssuer(cfg.Tokens, cfg.Service.PublicURL, a.signing.Keys(), clk), Verifier: verifier, Access: rights,
		Limits: limits, Sessions: sessions, Factors: factors, Passkeys: passkeys, OneTime: proofs, Outbox: mails, Links: mails.Links(), Roles: authorizer,
	})
	a.background = []func(context.Context){
		func(ctx context.Context) { bus.Listen(ctx, cfg.Database.Direct()) },
		a.signing.Run, usage.Run,
	}
	if a.limiter != nil {
		a.background = append(a.background, a.limiter.Run)
	}
	a.housekeeping(
		sessions.Sweep, factors.Sweep, passkeys.Sweep, proofs.Sweep, limits.Sweep, a.signing.Sweep, keys.SweepUsage, imports.Sweep, avatars.Sweep,
		func(ctx context.Context) error { _, err := store.Sweep(ctx); return err },
		func(ctx context.Context) error { _, err := a.accounts.PurgeDue(ctx); return err },
		func(ctx context.Context) error { return audit.EraseLate(ctx, a.pool) },
	)

	a.api, err = httpapi.New(httpapi.Deps{
		Config: httpapi.Config{
			PublicURL: cfg.Service.PublicURL, Version: a.version, Development: cfg.Service.Development(),
			OwnPages: cfg.Service.LinkBaseURL == "", Edge: cfg.Edge,
		},
		Log: a.log, Sink: a.accessSink(), Clock: clk, Metrics: a.metrics, DB: a.pool,
		Limits: func(p *problem.Writer) *middleware.RateLimits {
			return middleware.NewRateLimits(cfg.Edge.RateLimit, middleware.RateLimitDeps{
				Limiter: limiter, Problems: p, Metrics: a.metrics, Log: a.log, Refused: a.recordLimit,
			})
		},
		Idempotency: store, Cursors: page.NewCodec(ring), Ready: a.checks, Up: a.up, Mailbox: a.mailbox, Probes: httpapi.Prober{Ring: ring, Clock: clk},
		Verifier: verifier, Access: rights, Signing: a.signing, KeyUsage: usage,
		Auth: a.auth, Sessions: sessions, Factors: factors, Passkeys: passkeys, Users: user.NewService(a.pool), Accounts: a.accounts, Imports: imports,
		Profiles: profiles, Avatars: avatars, Roles: roles,
		Keys:  keys,
		Audit: audit.NewService(a.pool),
	})
	return err
}

// pictures is where avatars are kept: the configured bucket, or the database.
func (a *App) pictures() (profile.Pictures, error) {
	if a.cfg.Profiles.AvatarStore.Empty() {
		return profile.NewTable(a.pool), nil
	}
	bucket, err := objectstore.Open(a.cfg.Profiles.AvatarStore)
	if err != nil {
		return nil, fmt.Errorf("UMS_AVATAR_S3_URL: %w", err)
	}
	return bucket, nil
}

// newLimiter counts requests in Redis where there is one, else in memory.
func (a *App) newLimiter(clk clock.Clock) (ratelimit.Limiter, error) {
	local := ratelimit.NewMemory(clk)
	if a.cfg.Limits.RedisURL.Empty() {
		return local, nil
	}
	var err error
	if a.limiter, err = ratelimit.NewShared(a.cfg.Limits, local, a.log); err != nil {
		return nil, err
	}
	a.metrics.WatchLimiter(a.limiterStats)
	return a.limiter, nil
}

// sender is the way out for mails: the configured server, or a folder in development.
func (a *App) sender() (mail.Sender, error) {
	if !a.cfg.Mail.SMTPURL.Empty() {
		return mail.NewSMTP(a.cfg.Mail)
	}
	if !a.cfg.Service.Development() {
		return nil, errors.New("UMS_SMTP_URL is required in production: smtp://user:password@host:587")
	}
	var err error
	a.mailbox, err = mail.NewMailbox(filepath.Join(a.cfg.Service.DataDir, "mailbox"))
	return a.mailbox, err
}

// accessSink takes access lines as JSON; in text they go through the logger.
func (a *App) accessSink() *telemetry.Sink {
	if a.cfg.Telemetry.Format.For(a.terminal) == telemetry.Text {
		return nil
	}
	return a.sink
}

// up says why requests cannot be answered yet.
func (a *App) up() error {
	if missing, _ := a.state.read(); missing != "" {
		return postgres.ErrUnavailable
	}
	return nil
}

// recordLimit keeps the first refusal by a general limit in each window.
func (a *App) recordLimit(ctx context.Context, policy string) {
	rec := middleware.RecordFrom(ctx)
	by := actor.Nobody(actor.Origin{IP: rec.ClientIP, RequestID: rec.RequestID})
	err := audit.Record(ctx, a.pool, by, audit.Event{
		Action: "request.limit", Outcome: audit.Denied, Reason: policy, Target: audit.Target{Type: "route", Label: rec.Route},
	})
	if err != nil {
		a.log.WarnContext(ctx, "record rate limit", "error", err)
	}
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

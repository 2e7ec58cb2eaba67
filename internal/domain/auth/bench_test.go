package auth_test

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

const (
	publicURL = "http://localhost:8080"
	good      = "violet harbour sings 42 times"
	bad       = "crimson meadow shouts 17 times"
)

var nobody = actor.Nobody(actor.Origin{IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "test", RequestID: "request-1"})

// bench is the flows on a database of their own. Hashing is cheap; nobody works the jobs, so mails stay in the outbox.
type bench struct {
	t testing.TB
	*auth.Service
	pool     *postgres.Pool
	outbox   *outbox
	hasher   *password.Hasher
	verifier *token.Verifier
	count    *counter
}

// outbox is the real one, which also shows what was said.
type outbox struct {
	*notify.Service
	mu    sync.Mutex
	mails []notify.Mail
}

func (o *outbox) Enqueue(ctx context.Context, tx postgres.Tx, m notify.Mail) error {
	err := o.Service.Enqueue(ctx, tx, m)
	tx.OnCommit(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.mails = append(o.mails, m)
	})
	return err
}

func (o *outbox) last(t testing.TB) notify.Mail {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	require.NotEmpty(t, o.mails)
	return o.mails[len(o.mails)-1]
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.mails)
}

// verification is the last mail, which must be one.
func (b *bench) verification() notify.VerifyEmail {
	b.t.Helper()
	content, ok := b.outbox.last(b.t).Content.(notify.VerifyEmail)
	require.True(b.t, ok)
	return content
}

// counter counts statements, transaction control apart.
type counter struct{ n atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	switch q.SQL {
	case "begin", "commit", "rollback", "SET ROLE ums_app":
	default:
		c.n.Add(1)
	}
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *counter) during(fn func()) int {
	before := c.n.Load()
	fn()
	return int(c.n.Load() - before)
}

func newBench(t testing.TB, configure ...func(*auth.Config, *throttle.Config)) *bench {
	t.Helper()
	cfg, limit := auth.Config{Registration: "open", EmailVerification: "required"}, throttle.Config{Login: ratelimit.Rate{Limit: 10, Window: 15 * time.Minute}}
	for _, c := range configure {
		c(&cfg, &limit)
	}
	require.NoError(t, cfg.Validate())
	log := slog.New(slog.DiscardHandler)
	b := &bench{t: t, count: &counter{}}
	var err error
	b.pool, err = postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 8, Tracer: b.count,
	}, log)
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	queue, err := jobs.New(b.pool, jobs.Config{}, log, nil)
	require.NoError(t, err)
	ring, err := keyring.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(t, err)
	mails, err := notify.New(notify.Config{ProductName: "UMS", PublicURL: publicURL}, notify.Deps{Pool: b.pool, Queue: queue, Sealer: ring, Log: log})
	require.NoError(t, err)
	b.outbox = &outbox{Service: mails}
	hashing := password.Config{Argon2MemoryKiB: 64, Argon2Iterations: 1, Argon2Parallelism: 1, MinLength: 12}
	b.hasher, err = password.NewHasher(hashing)
	require.NoError(t, err)
	tokens := token.Config{Algorithm: token.EdDSA, AccessTTL: 5 * time.Minute}
	keys := signing.New(signing.Deps{DB: b.pool, Ring: ring, Bus: postgres.NewBus(log), Algorithm: tokens.Algorithm, Clock: clock.System{}, Log: log})
	for err = keys.Ensure(t.Context()); err != nil && postgres.Classify(err) != nil && t.Context().Err() == nil; {
		err = keys.Ensure(t.Context()) // the first connection, on a machine that is busy with other tests
	}
	require.NoError(t, err)
	b.verifier = token.NewVerifier(tokens, publicURL, keys.Keys(), clock.System{})
	limits, changes := throttle.New(b.pool, ring, limit), actor.NewChanges(postgres.NewBus(log))
	passkeys, err := passkey.NewService(b.pool, passkey.RelyingParty{})
	require.NoError(t, err)
	b.Service = auth.NewService(auth.Deps{
		Config: cfg, ProductName: "UMS", DB: b.pool, Changes: changes, Ring: ring, Clock: clock.System{}, Hasher: b.hasher,
		Policy: password.NewPolicy(hashing), Issuer: token.NewIssuer(tokens, publicURL, keys.Keys(), clock.System{}),
		Limits: limits, Outbox: b.outbox, Links: mails.Links(),
		Sessions: session.NewService(b.pool, ring, changes,
			session.Config{IdleTTL: time.Hour, MaxTTL: 24 * time.Hour, Grace: 30 * time.Second}),
		OneTime: onetime.NewService(b.pool, ring, limits, b.outbox),
		Factors: mfa.NewService(b.pool, ring, clock.System{}, "UMS"), Passkeys: passkeys,
	})
	return b
}

func withoutLimits(_ *auth.Config, l *throttle.Config) { l.Login = ratelimit.Rate{} }

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bench) rows(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (b *bench) register(email, pass string) auth.Registered {
	b.t.Helper()
	r, err := b.Register(b.t.Context(), nobody, auth.Registration{Email: email, Password: secret.New(pass)}, nil)
	require.NoError(b.t, err)
	return r
}

// active registers and verifies an account.
func (b *bench) active(email string) id.ID {
	b.t.Helper()
	b.register(email, good)
	require.NoError(b.t, b.VerifyEmail(b.t.Context(), nobody, auth.Verification{
		Token: new(b.verification().Token.Reveal()), Password: new(secret.New(good)),
	}))
	return b.user(email)
}

func (b *bench) user(email string) (u id.ID) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(context.Background(), "SELECT id FROM users WHERE email_norm = $1", email).Scan(&u))
	return u
}

func (b *bench) login(email, pass string) (auth.Tokens, error) {
	return b.loginFrom("192.0.2.1", email, pass)
}

func (b *bench) loginFrom(ip, email, pass string) (auth.Tokens, error) {
	by := nobody
	by.Origin.IP = netip.MustParseAddr(ip)
	return b.Login(context.Background(), by, auth.Login{Email: email, Password: secret.New(pass)})
}

func (b *bench) mustLogin(email string) (auth.Tokens, actor.Actor) {
	b.t.Helper()
	tokens, err := b.login(email, good)
	require.NoError(b.t, err)
	by := nobody.As(b.user(email), email)
	by.SessionID = tokens.SessionID
	return tokens, by
}

func code(err error) string {
	if f := fault.As(err); f != nil {
		return f.Code
	}
	return ""
}

func parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

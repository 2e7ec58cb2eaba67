package account_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

const good = "seven unrelated llamas dancing"

// bench is one replica over a database of its own.
type bench struct {
	*account.Service
	t       *testing.T
	db      *postgres.Pool
	changed *atomic.Int64 // announcements of changed rights

	mu    sync.Mutex
	mails []notify.Mail
}

// Enqueue makes the bench the outbox.
func (b *bench) Enqueue(_ context.Context, tx postgres.Tx, m notify.Mail) error {
	tx.OnCommit(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.mails = append(b.mails, m)
	})
	return nil
}

func start(t *testing.T, grace time.Duration) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 12}, log)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	ring, err := keyring.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	require.NoError(t, err)
	cost := password.Config{Argon2MemoryKiB: 64, Argon2Iterations: 1, Argon2Parallelism: 1, MinLength: 12}
	hasher, err := password.NewHasher(cost)
	require.NoError(t, err)
	b := &bench{t: t, db: db, changed: &atomic.Int64{}}
	changes := actor.NewChanges(postgres.NewBus(log))
	changes.Subscribe(func(id.ID) { b.changed.Add(1) }, func() { b.changed.Add(1) })
	b.Service = account.NewService(account.Deps{
		DB: db, Changes: changes, Outbox: b, Hasher: hasher, Policy: password.NewPolicy(cost), Product: "UMS",
		Proofs: onetime.NewService(db, ring, throttle.New(db, ring, throttle.Config{}), b),
		Clock:  clock.NewFake(time.Now()), Config: account.Config{DeletionGrace: grace},
	})
	return b
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// caller makes an active account that holds these permissions, in a session.
func (b *bench) caller(email string, may ...string) actor.Actor {
	b.t.Helper()
	by := actor.Actor{
		Kind: actor.User, UserID: id.New(), Label: email, Permissions: may,
		Origin: actor.Origin{UserAgent: "agent of " + email, RequestID: "request-1"},
	}
	b.exec(`INSERT INTO users (id, email, email_norm, email_verified, status, password_hash) VALUES ($1, $2, $2, true, 'active', 'x')`, by.UserID, email)
	if len(may) > 0 {
		b.exec(`WITH r AS (INSERT INTO roles (name) VALUES ('r' || replace(gen_random_uuid()::text, '-', '')) RETURNING id),
				p AS (INSERT INTO role_permissions (role_id, permission) SELECT id, unnest($2::text[]) FROM r)
			INSERT INTO user_roles (user_id, role_id) SELECT $1, id FROM r`, by.UserID, may)
	}
	return by
}

func (b *bench) admin(email string) actor.Actor {
	b.t.Helper()
	by := b.caller(email)
	by.Permissions = actor.Permissions{actor.All}
	b.exec(`INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)`, by.UserID, role.AdminID)
	return by
}

func (b *bench) session(of id.ID) {
	b.t.Helper()
	b.exec(`INSERT INTO sessions (id, user_id, secret_hash, secret_sealed, auth_epoch, acr, amr, idle_expires_at, expires_at)
		VALUES (gen_random_uuid(), $1, 'x', 'x', 1, 'aal1', '{pwd}', now() + '1 day', now() + '1 day')`, of)
}

func (b *bench) events(action string) int {
	b.t.Helper()
	return b.count(`SELECT count(*) FROM audit_events WHERE action = $1`, action)
}

func (b *bench) find(of id.ID) *user.User {
	b.t.Helper()
	u, err := user.FindOne(b.t.Context(), b.db, of)
	require.NoError(b.t, err)
	return u
}

func (b *bench) create(by actor.Actor, n account.New) (*user.User, error) {
	return b.Create(b.t.Context(), by, n, nil)
}

func str(s string) *string { return &s }

func TestCreate(t *testing.T) {
	t.Parallel()
	b := start(t, 0)
	admin := b.admin("admin@example.org")
	b.exec(`INSERT INTO roles (name) VALUES ('editor')`)

	active, err := b.create(admin, account.New{
		Email: "Ada@Example.org", Password: secret.New(good), EmailVerified: true, Roles: []string{"editor", "user"},
		DisplayName: str("Ada"), Locale: str("de-at"), ExternalID: str("crm-1"), Metadata: jsontext.Value(`{"a":1}`),
	})
	require.NoError(t, err)
	require.Equal(t, user.Active, active.Status)
	require.Equal(t, []string{"editor", "user"}, active.Roles)
	require.Equal(t, "Ada@example.org", *active.Email)
	require.Equal(t, "de-AT", *active.Locale)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM users WHERE id = $1 AND password_hash LIKE '$argon2id$%'`, active.ID))
	require.Empty(t, b.mails, "an address that is vouched for needs no proof")

	// A password for an address that nobody has proven is a claim like any other, not the account's.
	pending, err := b.create(admin, account.New{Email: "bob@example.org", Password: secret.New(good)})
	require.NoError(t, err)
	require.Equal(t, user.Pending, pending.Status)
	require.Empty(t, pending.Roles)
	require.Equal(t, 0, b.count(`SELECT count(*) FROM users WHERE id = $1 AND password_hash IS NOT NULL`, pending.ID))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM registration_attempts WHERE user_id = $1`, pending.ID))
	_, err = b.create(admin, account.New{Email: "eve@example.org"})
	require.NoError(t, err)
	require.Len(t, b.mails, 2)
	require.IsType(t, notify.VerifyEmail{}, b.mails[1].Content)

	service, err := b.create(admin, account.New{Kind: user.Program, DisplayName: str("nightly export"), Roles: []string{"editor"}})
	require.NoError(t, err)
	require.Equal(t, user.Active, service.Status)
	require.Nil(t, service.Email)
	require.Equal(t, []string{"editor"}, service.Roles)

	_, err = b.create(admin, account.New{Email: "ADA@example.ORG"})
	require.ErrorIs(t, err, user.ErrEmailTaken)
	_, err = b.create(admin, account.New{Email: "x@example.org", ExternalID: str("crm-1")})
	require.ErrorIs(t, err, user.ErrExternalID)
	require.Equal(t, 4, b.events("user.create"))
}

func TestCreateIsRefused(t *testing.T) {
	t.Parallel()
	b := start(t, 0)
	admin := b.admin("admin@example.org")
	manager := b.caller("manager@example.org", "users:write", "roles:assign")
	clerk := b.caller("clerk@example.org", "users:write")
	b.exec(`INSERT INTO roles (name) VALUES ('empty')`)
	before := b.count(`SELECT count(*) FROM users`)
	for name, c := range map[string]struct {
		by      actor.Actor
		n       account.New
		err     error
		pointer []string
	}{
		"no permission":    {b.caller("nobody@example.org"), account.New{Email: "x@example.org"}, actor.ErrPermissionDenied, nil},
		"roles need more":  {clerk, account.New{Email: "x@example.org", Roles: []string{"empty"}}, actor.ErrPermissionDenied, nil},
		"AZ-03 escalation": {manager, account.New{Email: "x@example.org", Roles: []string{"admin"}}, actor.ErrEscalation, nil},
		"a key and roles": {
			actor.Actor{Kind: actor.APIKey, UserID: admin.UserID, Permissions: actor.Permissions{"*"}},
			account.New{Email: "x@example.org", Roles: []string{"empty"}},
			actor.ErrSessionRequired, nil,
		},
		"unknown role": {admin, account.New{Email: "x@example.org", Roles: []string{"empty", "nope"}}, fault.ErrValidation, []string{"/roles/1"}},
		"all faults": {
			admin,
			account.New{Email: "x", Password: secret.New("short"), DisplayName: str("a\nb"), Locale: str("??"), Metadata: jsontext.Value(`[]`)},
			fault.ErrValidation,
			[]string{"/display_name", "/locale", "/metadata", "/email", "/password"},
		},
		"a password made of the address": {admin, account.New{Email: "leopold.bloom@example.org", Password: secret.New("leopold.bloom")}, fault.ErrValidation, []string{"/password"}},
		"a human needs an address":       {admin, account.New{DisplayName: str("x")}, fault.ErrValidation, []string{"/email"}},
		"a program has none": {
			admin,
			account.New{Kind: user.Program, Email: "x@example.org", Password: secret.New(good), EmailVerified: true},
			fault.ErrValidation,
			[]string{"/email", "/password", "/email_verified", "/display_name"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.create(c.by, c.n)
			require.ErrorIs(t, err, c.err)
			if c.pointer != nil {
				var got []string
				for _, f := range fault.As(err).Fields {
					got = append(got, f.Pointer)
				}
				require.Equal(t, c.pointer, got)
			}
		})
	}
	require.Equal(t, before+1, b.count(`SELECT count(*) FROM users`))
	require.Empty(t, b.mails)
}

func TestSuspendAndReactivate(t *testing.T) {
	t.Parallel()
	b := start(t, 0)
	support := b.caller("support@example.org", "users:write")
	ada := b.caller("ada@example.org")
	b.session(ada.UserID)
	b.changed.Store(0)

	u, err := b.Suspend(t.Context(), support, ada.UserID, "spam\nagain")
	require.NoError(t, err)
	require.Equal(t, user.Suspended, u.Status)
	require.Zero(t, b.count(`SELECT count(*) FROM sessions`))
	require.EqualValues(t, 1, b.changed.Load(), "this replica forgets the account at once")
	again, err := b.Suspend(t.Context(), support, ada.UserID, "other")
	require.NoError(t, err)
	require.Equal(t, u.Version, again.Version)

	u, err = b.Reactivate(t.Context(), support, ada.UserID)
	require.NoError(t, err)
	require.Equal(t, user.Active, u.Status)
	require.Zero(t, b.count(`SELECT count(*) FROM sessions`), "old sessions stay dead")
	require.Equal(t, 1, b.events("user.suspend"))
	require.Equal(t, 1, b.events("user.reactivate"))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM audit_personal WHERE reason = E'spam\nagain' AND subject_id = $1`, ada.UserID))

	// Suspending somebody who never proved his address does not activate him.
	eve, err := b.create(b.admin("admin@example.org"), account.New{Email: "eve@example.org"})
	require.NoError(t, err)
	_, err = b.Suspend(t.Context(), support, eve.ID, "x")
	require.NoError(t, err)
	u, err = b.Reactivate(t.Context(), support, eve.ID)
	require.NoError(t, err)
	require.Equal(t, user.Pending, u.Status)

	_, err = b.Suspend(t.Context(), support, id.New(), "x")
	require.ErrorIs(t, err, fault.ErrNotFound)
	_, err = b.Suspend(t.Context(), support, eve.ID, "")
	require.ErrorIs(t, err, fault.ErrValidation)
	_, err = b.Suspend(t.Context(), ada, eve.ID, "x")
	require.ErrorIs(t, err, actor.ErrPermissionDenied)
}

// AZ-03, the lattice: nobody touches whoever holds a built-in permission that he lacks, on any path.
func TestAZ03_NobodyReachesUp(t *testing.T) {
	t.Parallel()
	b := start(t, 0)
	support := b.caller("support@example.org", "users:write", "users:delete")
	auditor := b.caller("auditor@example.org", "audit:read")
	b.admin("admin@example.org")
	app := b.caller("app@example.org", "billing:refund") // no permission of ours
	before := b.find(auditor.UserID)
	email := account.Changes{Email: patch.To("mine@example.org")}

	for name, attempt := range map[string]func() error{
		"suspend":    func() error { _, err := b.Suspend(t.Context(), support, auditor.UserID, "x"); return err },
		"reactivate": func() error { _, err := b.Reactivate(t.Context(), support, auditor.UserID); return err },
		"delete":     func() error { return b.Delete(t.Context(), support, auditor.UserID, nil) },
		"correct":    func() error { _, err := b.Update(t.Context(), support, auditor.UserID, email, nil); return err },
		"rename": func() error {
			_, err := b.Update(t.Context(), support, auditor.UserID, account.Changes{
				AdminChanges: user.AdminChanges{Changes: user.Changes{DisplayName: patch.To("x")}},
			}, nil)
			return err
		},
		"take over whoever holds what is another program's": func() error { _, err := b.Update(t.Context(), support, app.UserID, email, nil); return err },
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, attempt(), actor.ErrEscalation) })
	}
	require.Equal(t, before, b.find(auditor.UserID))
	_, err := b.Suspend(t.Context(), support, app.UserID, "x")
	require.NoError(t, err, "what our lattice does not know keeps nobody from being suspended")
}

// AZ-06: what would leave no administrator is refused and changes nothing.
func TestAZ06_LastAdmin(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, time.Hour} {
		b := start(t, grace)
		admin := b.admin("admin@example.org")
		b.session(admin.UserID)
		before := b.find(admin.UserID)
		_, err := b.Suspend(t.Context(), admin, admin.UserID, "x")
		require.ErrorIs(t, err, role.ErrLastAdmin)
		require.ErrorIs(t, b.Delete(t.Context(), admin, admin.UserID, nil), role.ErrLastAdmin)
		require.ErrorIs(t, b.DeleteMe(t.Context(), admin, nil), role.ErrLastAdmin)
		_, err = b.Update(t.Context(), admin, admin.UserID, account.Changes{Email: patch.To("other@example.org")}, nil)
		require.ErrorIs(t, err, role.ErrLastAdmin)
		require.Equal(t, before, b.find(admin.UserID))
		require.Equal(t, 1, b.count(`SELECT count(*) FROM sessions`))
		require.Empty(t, b.mails)
	}
}

// Two administrators who remove each other at once: one stays.
func TestAZ06_AdminsCannotRemoveEachOther(t *testing.T) {
	t.Parallel()
	for range 5 {
		b := start(t, 0)
		one, two := b.admin("one@example.org"), b.admin("two@example.org")
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Delete(t.Context(), one, two.UserID, nil) })
		wg.Go(func() { _, _ = b.Suspend(t.Context(), two, one.UserID, "x") })
		wg.Wait()
		require.Equal(t, 1, b.count(`SELECT count(*) FROM users u JOIN user_roles r ON r.user_id = u.id WHERE u.status = 'active'`))
	}
}

// AZ-13 and erasure: nothing of the person is left, the log still says what happened.
func TestAZ13_Purge(t *testing.T) {
	t.Parallel()
	b := start(t, 0)
	admin, ada := b.admin("admin@example.org"), b.caller("ada@example.org")
	b.session(ada.UserID)
	_, err := b.Suspend(t.Context(), admin, ada.UserID, "ada is loud")
	require.NoError(t, err)
	version := b.find(ada.UserID).Version
	stale := version - 1
	require.ErrorIs(t, b.Delete(t.Context(), admin, ada.UserID, &stale), fault.ErrPrecondition)
	require.NoError(t, b.Delete(t.Context(), admin, ada.UserID, &version))
	require.ErrorIs(t, b.Delete(t.Context(), admin, ada.UserID, nil), fault.ErrNotFound)
	require.Equal(t, 1, b.events("user.suspend"))
	require.Equal(t, 1, b.events("user.delete"))
	require.Zero(t, b.count(`SELECT count(*) FROM audit_personal WHERE subject_id = $1 AND
		(salt IS NOT NULL OR label IS NOT NULL OR reason IS NOT NULL OR changes IS NOT NULL)`, ada.UserID))
	require.Zero(t, b.count(`SELECT count(*) FROM audit_personal p WHERE p::text LIKE '%ada@example.org%'`))
	require.Equal(t, 2, b.count(`SELECT count(*) FROM audit_personal WHERE label = 'admin@example.org'`), "who did it stays known")

	// Whoever deletes himself leaves no address and no agent either.
	bob := b.caller("bob@example.org")
	require.NoError(t, b.DeleteMe(t.Context(), bob, nil))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM audit_events WHERE action = 'user.delete' AND actor_id = $1 AND target_id = $1 AND request_id = 'request-1'`, bob.UserID))
	require.Zero(t, b.count(`SELECT count(*) FROM audit_personal p WHERE p::text LIKE '%bob@example.org%'`))

	anew, err := b.create(admin, account.New{Email: "ada@example.org"})
	require.NoError(t, err)
	require.NotEqual(t, ada.UserID, anew.ID)
}

func TestDeletionWithGrace(t *testing.T) {
	t.Parallel()
	b := start(t, time.Hour)
	admin, ada := b.admin("admin@example.org"), b.caller("ada@example.org")
	b.session(ada.UserID)
	require.NoError(t, b.Delete(t.Context(), admin, ada.UserID, nil))
	require.NoError(t, b.Delete(t.Context(), admin, ada.UserID, nil))
	require.Equal(t, 1, b.events("user.delete"))
	require.Equal(t, user.Deleting, b.find(ada.UserID).Status)
	require.Zero(t, b.count(`SELECT count(*) FROM sessions`))
	_, err := b.create(admin, account.New{Email: "ada@example.org"})
	require.ErrorIs(t, err, user.ErrEmailTaken, "the address stays reserved")

	n, err := b.PurgeDue(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	u, err := b.Reactivate(t.Context(), admin, ada.UserID)
	require.NoError(t, err)
	require.Equal(t, user.Active, u.Status)

	require.NoError(t, b.DeleteMe(t.Context(), ada, nil))
	b.exec(`UPDATE users SET deleted_at = now() - interval '61 minutes' WHERE id = $1`, ada.UserID)
	var wg sync.WaitGroup
	var purged atomic.Int64
	for range 4 { // replicas
		wg.Go(func() {
			n, err := b.PurgeDue(context.Background())
			if err != nil {
				t.Error(err)
			}
			purged.Add(int64(n))
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, purged.Load())
	require.Equal(t, 1, b.events("user.purge"))
	require.Zero(t, b.count(`SELECT count(*) FROM users WHERE id = $1`, ada.UserID))
	require.Zero(t, b.count(`SELECT count(*) FROM audit_personal p WHERE p::text LIKE '%ada@example.org%'`))
}

func TestCorrectEmail(t *testing.T) {
	t.Parallel()
	b := start(t, 0)
	support, ada := b.caller("support@example.org", "users:write"), b.caller("ada@example.org")
	b.caller("taken@example.org")
	b.session(ada.UserID)
	b.exec(`INSERT INTO one_time_tokens (id, purpose, token_hash, user_id, email_norm, auth_epoch, expires_at)
		VALUES (gen_random_uuid(), 'verify_email', 'x', $1, 'ada@example.org', 1, now() + '1 day')`, ada.UserID)

	to := func(email string) account.Changes {
		return account.Changes{
			AdminChanges: user.AdminChanges{ExternalID: patch.To("crm-7")}, Email: patch.To(email),
		}
	}
	for bad, want := range map[string]error{"not one": fault.ErrValidation, "TAKEN@example.org": user.ErrEmailTaken} {
		_, err := b.Update(t.Context(), support, ada.UserID, to(bad), nil)
		require.ErrorIs(t, err, want)
	}
	require.Nil(t, b.find(ada.UserID).ExternalID, "one patch is one change")

	u, err := b.Update(t.Context(), support, ada.UserID, to("Ada@new.example"), nil)
	require.NoError(t, err)
	require.Equal(t, "Ada@new.example", *u.Email)
	require.False(t, u.EmailVerified)
	require.Equal(t, user.Active, u.Status)
	require.Equal(t, "crm-7", *u.ExternalID)
	require.Zero(t, b.count(`SELECT count(*) FROM sessions`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM one_time_tokens WHERE user_id = $1 AND email_norm = 'ada@new.example' AND auth_epoch = 2`, ada.UserID))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM one_time_tokens`), "what was mailed to the old address is dead")
	require.Len(t, b.mails, 2)
	require.Equal(t, "Ada@new.example", b.mails[0].To)
	require.IsType(t, notify.EmailCorrectedNew{}, b.mails[0].Content)
	require.Equal(t, "ada@example.org", b.mails[1].To)
	require.IsType(t, notify.EmailCorrectedOld{}, b.mails[1].Content)
	require.Equal(t, 1, b.events("user.email_correct"))
	require.Equal(t, 1, b.events("user.update"))

	same, err := b.Update(t.Context(), support, ada.UserID, to("Ada@new.example"), &u.Version)
	require.NoError(t, err)
	require.Equal(t, u.Version, same.Version, "the same address is no change")
	_, err = b.Update(t.Context(), support, ada.UserID, account.Changes{Email: patch.Field[string]{Set: true, Null: true}}, nil)
	require.ErrorIs(t, err, fault.ErrValidation)
}

// Several replicas start at once: one administrator, whoever makes him.
func TestBootstrapAdmin(t *testing.T) {
	t.Parallel()
	b := start(t, 0)
	b.caller("squatter@example.org")
	_, err := b.BootstrapAdmin(t.Context(), "squatter@example.org", secret.New(good))
	require.ErrorIs(t, err, user.ErrEmailTaken)
	_, err = b.BootstrapAdmin(t.Context(), "root@example.org", secret.New("admin"))
	require.ErrorIs(t, err, fault.ErrValidation)

	var wg sync.WaitGroup
	var made atomic.Int64
	for range 8 {
		wg.Go(func() {
			ok, err := b.BootstrapAdmin(context.Background(), "root@example.org", secret.New(good))
			if err != nil {
				t.Error(err)
			}
			if ok {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, made.Load())
	require.Equal(t, 1, b.count(`SELECT count(*) FROM users u JOIN user_roles r ON r.user_id = u.id
		WHERE r.role_id = $1 AND u.status = 'active' AND u.email_verified`, role.AdminID))
	require.Equal(t, 1, b.events("user.create"))
}

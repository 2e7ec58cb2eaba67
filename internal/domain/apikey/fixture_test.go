package apikey_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

const day = 24 * time.Hour

type bench struct {
	t    *testing.T
	ctx  context.Context
	pool *postgres.Pool
	keys *apikey.Service
	cut  chan id.ID // whose rights were announced to have changed

	outbox *outbox
}

func newBench(t *testing.T, cfg apikey.Config) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	pool, err := postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 6,
	}, log)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := &bench{t: t, ctx: t.Context(), pool: pool, cut: make(chan id.ID, 100), outbox: &outbox{}}
	changes := actor.NewChanges(postgres.NewBus(log))
	changes.Subscribe(func(user id.ID) { b.cut <- user }, func() {})
	b.keys = apikey.NewService(cfg, apikey.Deps{
		Pool: pool, Changes: changes, Outbox: b.outbox, General: ratelimit.Rate{Limit: 1200, Window: time.Minute},
	})
	return b
}

func standard(t *testing.T) *bench {
	t.Helper()
	return newBench(t, apikey.Config{DefaultTTL: 90 * day, MaxTTL: 365 * day})
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.pool.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func read[T any](b *bench, sql string, args ...any) T {
	b.t.Helper()
	var v T
	require.NoError(b.t, b.pool.QueryRow(b.ctx, sql, args...).Scan(&v))
	return v
}

// account makes an account of the kind with a role of its own that grants the permissions.
func (b *bench) account(kind string, permissions ...string) id.ID {
	b.t.Helper()
	user, granted := id.New(), id.New()
	var email *string
	if kind == "human" {
		address := user.String() + "@example.com"
		email = &address
	}
	b.exec(`INSERT INTO users (id, kind, email, email_norm, display_name, status)
		VALUES ($1, $2, $3, $3, 'Somebody', 'active')`, user, kind, email)
	b.exec(`INSERT INTO permissions (name) SELECT p FROM unnest($1::text[]) p WHERE p !~ '[*]' ON CONFLICT DO NOTHING`, permissions)
	b.exec(`INSERT INTO roles (id, name) VALUES ($1, $2)`, granted, "r"+granted.String())
	b.exec(`INSERT INTO role_permissions (role_id, permission) SELECT $1, unnest($2::text[])`, granted, permissions)
	b.exec(`INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2)`, user, granted)
	return user
}

// person makes a human with a session. Everyone also has me:read and me:write.
func (b *bench) person(permissions ...string) actor.Actor {
	b.t.Helper()
	user, session := b.account("human", permissions...), id.New()
	b.exec(`INSERT INTO sessions (id, user_id, secret_hash, secret_sealed, auth_epoch, acr, amr, idle_expires_at, expires_at)
		VALUES ($1, $2, '', '', 1, 'aal1', '{pwd}', now() + interval '1 h', now() + interval '1 h')`, session, user)
	all, err := role.Authorizer{}.Effective(b.ctx, b.pool, user, nil)
	require.NoError(b.t, err)
	return actor.Actor{Kind: actor.User, UserID: user, SessionID: session, Label: user.String(), Permissions: all, ACR: "aal1"}
}

func wanted(scopes ...string) apikey.New {
	return apikey.New{Name: "ci", Environment: token.Live, Scopes: scopes}
}

func (b *bench) create(by actor.Actor, n apikey.New) apikey.Created {
	b.t.Helper()
	k, err := b.keys.Create(b.ctx, by, n, nil)
	require.NoError(b.t, err)
	return k
}

// asKey returns the caller that a key is.
func asKey(k apikey.Created, owner actor.Actor) actor.Actor {
	return actor.Actor{
		Kind: actor.APIKey, UserID: k.UserID, KeyID: k.ID, Label: k.Name,
		Permissions: owner.Permissions.Intersect(k.Scopes),
	}
}

func pointers(err error) []string {
	var out []string
	if f := fault.As(err); f != nil {
		for _, field := range f.Fields {
			out = append(out, field.Pointer+" "+field.Code)
		}
	}
	return out
}

func code(err error) string {
	if f := fault.As(err); f != nil {
		return f.Code
	}
	return ""
}

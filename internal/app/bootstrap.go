package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/upkeep"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/migrations"
)

// bootstrap makes the first administrator when there is none and the configuration names one: with the configured
// password, in development with a random one, else by an invitation.
func (a *App) bootstrap(ctx context.Context) error {
	email := a.cfg.Bootstrap.AdminEmail
	if email == "" {
		return nil
	}
	password := a.cfg.Bootstrap.AdminPassword
	if password.Empty() && !(a.cfg.Service.Development() && a.embedded != nil) {
		link, err := a.auth.InviteFirstAdmin(ctx, actor.Service("bootstrap"), email, a.mailbox == nil)
		if err != nil {
			return fmt.Errorf("UMS_BOOTSTRAP_ADMIN_EMAIL: %w", err)
		}
		if !link.Empty() {
			_, _ = fmt.Fprintf(a.stdout, "The first administrator, %s, sets a password here, within 7 days:\n  %s\n", email, link.Reveal())
		}
		return nil
	}
	random := password.Empty()
	if random {
		password = secret.New(strings.ToLower(rand.Text()))
	}
	made, err := a.accounts.BootstrapAdmin(ctx, email, password)
	if err != nil {
		return fmt.Errorf("UMS_BOOTSTRAP_ADMIN_EMAIL, UMS_BOOTSTRAP_ADMIN_PASSWORD: %w", err)
	}
	if made && random {
		a.adminPassword = password
	}
	return nil
}

// InviteAdmin makes a pending administrator and returns the link of the invitation, for the command line.
func InviteAdmin(ctx context.Context, cfg *config.Config, email string) (link string, err error) {
	err = command(ctx, cfg, func(a *App) error {
		text, err := a.auth.InviteAdmin(ctx, actor.Service("ums admin create"), email)
		link = text.Reveal()
		return err
	})
	return link, err
}

// RotateKeys replaces the key that signs access tokens, for the command line. See signing.Service.Rotate.
func RotateKeys(ctx context.Context, cfg *config.Config, atOnce bool) (r signing.Rotation, err error) {
	err = command(ctx, cfg, func(a *App) (err error) {
		r, err = a.signing.Rotate(ctx, actor.Service("ums keys rotate"), atOnce)
		return err
	})
	return r, err
}

// FinishRestore ends what a database out of a backup would let live again, for the command line. See upkeep.FinishRestore.
func FinishRestore(ctx context.Context, cfg *config.Config, revokeKeys bool) (r upkeep.Restored, err error) {
	err = command(ctx, cfg, func(a *App) (err error) {
		if err := audit.EnsurePartitions(ctx, a.pool); err != nil { // an old backup has none for this month
			return err
		}
		r, err = upkeep.FinishRestore(ctx, a.pool, a.signing, actor.NewChanges(postgres.NewBus(a.log)), actor.Service("ums restore-finish"), revokeKeys)
		return err
	})
	return r, err
}

// command runs do on a service that does not listen, beside those that may run on the same database.
func command(ctx context.Context, cfg *config.Config, do func(*App) error) (err error) {
	if cfg.Database.URL.Empty() {
		return errors.New("UMS_DATABASE_URL is empty: point it at the service's database")
	}
	if err := migrated(ctx, cfg.Database); err != nil {
		return err
	}
	a, err := New(ctx, Options{Config: cfg, Version: "command", Stdout: io.Discard})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return do(a)
}

// migrated refuses a schema that lacks a migration: commands change no schema, and without one nothing else would make
// sense of it.
func migrated(ctx context.Context, cfg postgres.Config) (err error) {
	m, err := postgres.NewMigrator(cfg.Direct(), migrations.FS, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	pending, err := m.Pending(ctx)
	if err != nil {
		return err
	}
	if pending {
		return errors.New("the database lacks migrations of this version; run ums migrate up first, or start the service once")
	}
	return nil
}

// greet tells a person who has just started the service what to try. Only development has it.
func (a *App) greet(addr string) {
	if a.embedded == nil || !a.cfg.Service.Development() {
		return
	}
	base := "http://" + strings.Replace(addr, "127.0.0.1", "localhost", 1) // as the examples do: passkeys and cookies belong to a name
	var b strings.Builder
	fmt.Fprintf(&b, "\nUMS is ready on %s\n  mails       %s/dev/mail\n  reference   %s/docs\n", base, base, base)
	if email := a.cfg.Bootstrap.AdminEmail; email != "" {
		if a.adminPassword.Empty() {
			fmt.Fprintf(&b, "  admin       %s (its password was printed when it was made)\n", email)
		} else {
			fmt.Fprintf(&b, "  admin       %s  password: %s  (shown this once)\n", email, a.adminPassword.Reveal())
		}
	}
	fmt.Fprintf(&b, `
Try it:
  curl -s %[1]s/api/v1/auth/register -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery"}'
  curl -s %[1]s/dev/mail -H 'Accept: application/json' | grep -o 'token=[A-Za-z0-9_-]*' | head -1
  TOKEN=$(curl -s %[1]s/dev/mail -H 'Accept: application/json' | grep -o 'token=[A-Za-z0-9_-]*' | head -1 | cut -d= -f2); curl -s -o /dev/null -w '%%{http_code}\n' %[1]s/api/v1/auth/email/verify -H 'Content-Type: application/json' -d '{"token":"'$TOKEN'","password":"correct horse battery"}'
  curl -s %[1]s/api/v1/auth/login -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse battery"}'

The rest is in README.md and docs/user/getting_started.md. Ctrl-C stops everything.
`, base)
	_, _ = io.WriteString(a.stdout, b.String())
}

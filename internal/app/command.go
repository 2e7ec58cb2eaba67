package app

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/upkeep"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/migrations"
)

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

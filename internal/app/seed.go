package app

import (
	"context"
	"errors"
	"io"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/migrations"
)

// Seed fills a development database with people and returns how many it made. The embedded database must not be in use.
func Seed(ctx context.Context, cfg *config.Config, n int) (made int64, err error) {
	if !cfg.Service.Development() {
		return 0, errors.New("seeding is for development; UMS_ENV says production")
	}
	a, err := New(ctx, Options{Config: cfg, Version: "command", Stdout: io.Discard})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := postgres.Migrate(ctx, a.cfg.Database.Direct(), migrations.FS, a.log); err != nil {
		return 0, err
	}
	return user.Seed(ctx, a.pool, n)
}

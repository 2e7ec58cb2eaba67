package app

import (
	"context"
	"io"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/transfer"
)

// Export writes every account into w, for the command line. See transfer.Service.Export.
func Export(ctx context.Context, cfg *config.Config, secrets bool, w io.Writer, tell func(users int64)) (did transfer.Exported, err error) {
	err = command(ctx, cfg, func(a *App) (err error) {
		did, err = a.transfer.Export(ctx, actor.Service("ums export"), secrets, w, tell)
		return err
	})
	return did, err
}

// Restore brings in what Export wrote, for the command line. See transfer.Service.Restore.
func Restore(ctx context.Context, cfg *config.Config, in io.Reader, o transfer.Options, l transfer.Listener) (did transfer.Restored, err error) {
	err = command(ctx, cfg, func(a *App) (err error) {
		did, err = a.transfer.Restore(ctx, actor.Service("ums import"), in, o, l)
		return err
	})
	return did, err
}

package app

import (
	"context"
	"errors"
	"time"

	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/jobs"
)

// housekeeping is a job of one replica each hour: it makes room, and makes the audit log's coming partitions. Nothing
// depends on its hour: what has expired counts as absent wherever it is read.
type housekeeping struct{}

// Kind implements jobs.Args.
func (housekeeping) Kind() string { return "housekeeping" }

func (a *App) housekeeping(steps ...func(context.Context) error) {
	steps = append(steps, func(ctx context.Context) error { return audit.EnsurePartitions(ctx, a.pool) })
	jobs.Handle(a.jobs, func(ctx context.Context, _ jobs.Job[housekeeping]) error {
		var errs []error
		for _, step := range steps {
			errs = append(errs, step(ctx))
		}
		return errors.Join(errs...)
	})
	a.jobs.Every(time.Hour, housekeeping{})
}

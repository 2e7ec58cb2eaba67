package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/bulk"
	"github.com/user-management-service/ums/internal/domain/transfer"
	"github.com/user-management-service/ums/internal/platform/id"
)

// Export writes every account into w, for the command line. See transfer.Service.Export.
func Export(ctx context.Context, cfg *config.Config, secrets bool, w io.Writer, tell func(users int64)) (did transfer.Exported, err error) {
	err = command(ctx, cfg, func(a *App) (err error) {
		did, err = a.transfer.Export(ctx, actor.Service("ums export"), secrets, w, tell)
		return err
	})
	return did, err
}

// Imported is what became of a file.
type Imported struct {
	transfer.Report
	Restored  *transfer.Restored   // of what Export wrote
	NotMapped []transfer.NotMapped // of other files
}

// Import brings a file in, for the command line: what Export wrote as transfer.Service.Restore does, and others as an import
// over HTTP would, in parts of as many lines as that may have. It works the import itself; a service that runs on the same
// database helps, and goes on when this process dies.
func Import(ctx context.Context, cfg *config.Config, in io.Reader, m transfer.Mapping, o transfer.Options, l transfer.Listener) (did Imported, err error) {
	by := actor.Service("ums import")
	err = command(ctx, cfg, func(a *App) error {
		text := bufio.NewReaderSize(in, 64<<10)
		beginning, err := text.Peek(4 << 10)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read import: %w", err)
		}
		if m.From == transfer.Native && transfer.IsExport(beginning) {
			restored, err := a.transfer.Restore(ctx, by, text, o, l)
			did.Report, did.Restored = restored.Report, &restored
			return err
		}
		mapper, err := transfer.NewMapper(text, m, l.Reject)
		if err != nil {
			return err
		}
		for err == nil && mapper.Part(bulk.MaxLines) {
			var part transfer.Report
			part, err = a.importPart(ctx, by, mapper, o, l)
			did.Add(part)
		}
		did.Add(mapper.Did())
		did.NotMapped = mapper.NotMapped()
		return err
	})
	return did, err
}

// progressEvery is how often somebody at a terminal hears of an import.
const progressEvery = 200 * time.Millisecond

// importPart brings one part of a file in. The mapper counts what it reads.
func (a *App) importPart(ctx context.Context, by actor.Actor, m *transfer.Mapper, o transfer.Options, l transfer.Listener) (transfer.Report, error) {
	of, err := a.imports.Stage(ctx, by, bulk.Options{OnConflict: bulk.OnConflict(o.OnConflict), DryRun: o.DryRun}, m)
	if err != nil {
		return transfer.Report{}, err
	}
	if _, err := a.imports.Begin(ctx, by, of, nil); err != nil {
		return transfer.Report{}, errors.Join(err, a.imports.Drop(ctx, of))
	}
	ended := make(chan error, 1)
	go func() { ended <- a.imports.Finish(ctx, of) }()
	for tick := time.NewTicker(progressEvery); ; {
		select {
		case err := <-ended:
			tick.Stop()
			return a.importReport(ctx, by, of, m, l, err)
		case <-tick.C:
			if i, err := a.imports.Get(ctx, by, of); err == nil && l.Progress != nil {
				l.Progress(i.Processed, i.Total)
			}
		}
	}
}

// importReport tells how an import ended, and which lines of the file were not taken. cause ended it before its end.
func (a *App) importReport(
	ctx context.Context, by actor.Actor, of id.ID, m *transfer.Mapper, l transfer.Listener, cause error,
) (transfer.Report, error) {
	if ctx.Err() != nil {
		return transfer.Report{}, fmt.Errorf("import %s is interrupted; a running service goes on with it, and to import the file again does no harm", of)
	}
	i, err := a.imports.Get(ctx, by, of)
	if err = errors.Join(cause, err); err != nil {
		return transfer.Report{}, err
	}
	did := transfer.Report{Created: i.Created, Updated: i.Updated, Skipped: i.Skipped, Failed: i.Rejected}
	for after, more := int64(0), l.Reject != nil; more; {
		rejected, err := a.imports.Rejections(ctx, by, of, after)
		if err != nil {
			return did, err
		}
		more = len(rejected) > 0
		for _, r := range rejected {
			l.Reject(transfer.Rejection{Line: m.Line(r.Line), Code: r.Code, Errors: r.Errors})
			after = r.Line
		}
	}
	if i.Status == bulk.Failed {
		return did, fmt.Errorf("import %s ended before its end: %s", of, *i.Reason)
	}
	return did, nil
}

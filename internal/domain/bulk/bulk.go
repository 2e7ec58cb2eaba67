package bulk

import (
	"context"
	"time"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/jobs"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// MaxLines is how many lines an import may have.
const MaxLines = 1_000_000

var (
	errMany  = fault.New(fault.TooLarge, "payload_too_large", "An import has at most 1,000,000 lines; send the rest as another.")
	errEmpty = fault.InvalidField("", "required", "Send at least one line.")
)

// Status is how far an import is.
type Status string

// The states, in their order; Done and Failed are the last.
const (
	Receiving Status = "receiving" // its lines are coming in
	Waiting   Status = "waiting"
	Running   Status = "running"
	Done      Status = "done"   // every line has been worked; some may have failed
	Failed    Status = "failed" // it ended before; Reason says why
)

// OnConflict says what becomes of a line whose account is there already.
type OnConflict string

// Skip leaves the account alone; Update changes what account.Import lets it.
const (
	Skip   OnConflict = "skip"
	Update OnConflict = "update"
)

// Import is one import and how far it is.
type Import struct {
	ID                                                    id.ID
	Status                                                Status
	Reason                                                *string // a code, of a Failed one
	OnConflict                                            OnConflict
	DryRun                                                bool
	Total, Processed, Created, Updated, Skipped, Rejected int64
	CreatedAt                                             time.Time
	FinishedAt                                            *time.Time

	by actor.Actor
}

// Options are what the caller decides.
type Options struct {
	OnConflict OnConflict
	DryRun     bool // each line is tried, by itself, and undone
}

// Deps is what the service stands on.
type Deps struct {
	DB         *postgres.Pool
	Ring       *keyring.Ring
	Accounts   *account.Service
	Authorizer role.Authorizer
	Jobs       *jobs.Client
	Limits     Limits
}

// Limits bound an import; a zero is the usual.
type Limits struct {
	Lines int64 // of an import: MaxLines
	Batch int   // lines of one transaction: 500
}

// Service does it.
type Service struct{ Deps }

// NewService returns the service. Work registers its jobs.
func NewService(d Deps) *Service {
	if d.Limits.Lines == 0 {
		d.Limits.Lines = MaxLines
	}
	if d.Limits.Batch == 0 {
		d.Limits.Batch = batchLines
	}
	return &Service{d}
}

// Get returns an import, or fault.ErrNotFound; for callers with users:import.
func (s *Service) Get(ctx context.Context, by actor.Actor, of id.ID) (*Import, error) {
	if !by.May(account.ImportPermission) {
		return nil, actor.Denied(account.ImportPermission)
	}
	return get(ctx, s.DB, of, "")
}

// Rejection is a line that was not taken. It repeats nothing of the line.
type Rejection struct {
	Line   int64
	Code   string
	Errors []fault.Field
}

// RejectionBatch is how many Rejections returns at most.
const RejectionBatch = 500

// Rejections returns the lines behind this one that were not taken, in their order; for callers with users:import.
func (s *Service) Rejections(ctx context.Context, by actor.Actor, of id.ID, after int64) ([]Rejection, error) {
	if !by.May(account.ImportPermission) {
		return nil, actor.Denied(account.ImportPermission)
	}
	return rejected(ctx, s.DB, of, after, RejectionBatch)
}

// Begin gives what Stage received to the jobs, and records it.
func (s *Service) Begin(ctx context.Context, by actor.Actor, of id.ID, keep idempotency.Keep[*Import]) (*Import, error) {
	var begun *Import
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if err := move(ctx, tx, of, Receiving, Waiting); err != nil {
			return err
		}
		if begun, err = get(ctx, tx, of, ""); err != nil {
			return err
		}
		if err := audit.Record(ctx, tx, by, audit.Event{
			Action: "user.import", Outcome: audit.Success, Target: audit.Target{Type: "import", ID: of},
			Changes: map[string]audit.Change{
				"lines": {To: begun.Total}, "dry_run": {To: begun.DryRun}, "on_conflict": {To: begun.OnConflict},
			},
		}); err != nil {
			return err
		}
		if err := s.Jobs.Insert(ctx, tx, job{of}); err != nil {
			return err
		}
		return keep.Do(ctx, tx, begun)
	})
	return begun, err
}

// Drop forgets an import that was received and not begun.
func (s *Service) Drop(ctx context.Context, of id.ID) error { return drop(ctx, s.DB, of) }

// job works an import.
type job struct {
	Import id.ID `json:"import"`
}

// Kind implements jobs.Args.
func (job) Kind() string { return "import" }

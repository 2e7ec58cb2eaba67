package audit

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// ReadPermission is what reading the log needs.
const ReadPermission = "audit:read"

// Service reads the log for callers.
type Service struct{ db postgres.DB }

// NewService reads from db.
func NewService(db postgres.DB) *Service { return &Service{db} }

// List returns at most f.Limit events, newest first unless f.Ascending.
func (s *Service) List(ctx context.Context, by actor.Actor, f Filter) ([]Recorded, error) {
	if !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	return list(ctx, s.db, f)
}

// Own returns at most f.Limit of the caller's own events: what he did, by a session or a key, and what was done to him
// and his. Of others in them there are ids alone, no name, address or agent. Of the filter only times and order count.
func (s *Service) Own(ctx context.Context, by actor.Actor, f Filter) ([]Recorded, error) {
	return own(ctx, s.db, by.UserID, f)
}

// ExportBatch is how many events an export reads at once.
const ExportBatch = 500

// Export records that the caller takes events out of the service. They are then read by List, a batch at a time.
func (s *Service) Export(ctx context.Context, by actor.Actor) error {
	if !by.May(ReadPermission) {
		return actor.Denied(ReadPermission)
	}
	return Record(ctx, s.db, by, Event{Action: "audit_event.export", Outcome: Success, Target: Target{Type: "audit_event"}})
}

// Get returns one event, or fault.ErrNotFound.
func (s *Service) Get(ctx context.Context, by actor.Actor, event id.ID) (Recorded, error) {
	if !by.May(ReadPermission) {
		return Recorded{}, actor.Denied(ReadPermission)
	}
	return get(ctx, s.db, event)
}

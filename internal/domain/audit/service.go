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

// Get returns one event, or fault.ErrNotFound.
func (s *Service) Get(ctx context.Context, by actor.Actor, event id.ID) (Recorded, error) {
	if !by.May(ReadPermission) {
		return Recorded{}, actor.Denied(ReadPermission)
	}
	return get(ctx, s.db, event)
}

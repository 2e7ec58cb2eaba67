package session

import (
	"context"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/token"
)

// Standing is what a refresh token that would be taken now is good for.
type Standing struct {
	Grant     // without a token
	IssuedAt  time.Time
	ExpiresAt time.Time // when the session ends unless it is used
}

// Standing says whether a refresh token would be taken now: the current one of a living session, or its parent within
// the grace. It changes nothing: an older one ends its session only when it is used.
func (s *Service) Standing(ctx context.Context, presented token.Refresh) (Standing, bool, error) {
	r, err := standing(ctx, s.db, s.cfg, presented)
	if postgres.NoRows(err) {
		return Standing{}, false, nil
	}
	if err != nil {
		return Standing{}, false, err
	}
	return Standing{Grant: r.grant(), IssuedAt: r.IssuedAt.UTC(), ExpiresAt: r.ExpiresAt.UTC()}, true, nil
}

// EndByAccess ends the session of a verified access token. Who holds one may end it; there being none is fine.
func (s *Service) EndByAccess(ctx context.Context, by actor.Actor, session, owner id.ID) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		email, err := removeOwned(ctx, tx, session, owner)
		if postgres.NoRows(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.changes.Of(ctx, tx, owner); err != nil {
			return err
		}
		label := ""
		if email != nil {
			label = *email
		}
		return audit.Record(ctx, tx, by.As(owner, label), endEvent(session, owner))
	})
}

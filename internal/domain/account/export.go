package account

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Export begins to give the caller everything that is kept of him: it records that, and returns the account. What hangs
// on it the caller reads from the other services, as himself.
func (s *Service) Export(ctx context.Context, by actor.Actor) (u *user.User, err error) {
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if u, err = user.FindOne(ctx, tx, by.UserID); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{Action: "user.export", Outcome: audit.Success, Target: u.Target()})
	})
	return u, err
}

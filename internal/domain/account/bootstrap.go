package account

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// BootstrapAdmin makes an active administrator when nobody holds role admin for good, and reports whether it did. It is
// for the first start; of several replicas that start at once one makes it. An address that somebody has already is
// refused: registering it first must not make an administrator.
func (s *Service) BootstrapAdmin(ctx context.Context, email string, password secret.Text) (made bool, err error) {
	// Without a lock first: a hash at every start is a waste.
	if there, err := hasAdmin(ctx, s.DB); err != nil || there {
		return false, err
	}
	draft, err := s.draft(New{Email: email, Password: password, EmailVerified: true})
	if err != nil {
		return false, fmt.Errorf("make the first administrator: %w", err)
	}
	hash, err := s.Hasher.Hash(ctx, password)
	if err != nil {
		return false, fmt.Errorf("make the first administrator: %w", err)
	}
	draft.PasswordHash = &hash
	by := actor.Service("bootstrap")
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		made = false
		if _, err := s.Authorizer.KeepAnAdmin(ctx, tx); err != nil { // for its lock
			return err
		}
		if there, err := hasAdmin(ctx, tx); err != nil || there {
			return err
		}
		of, err := user.Insert(ctx, tx, draft)
		if err != nil {
			return err
		}
		if err := s.Authorizer.GrantNames(ctx, tx, by, of, "/roles", []string{role.AdminName}); err != nil {
			return err
		}
		u, err := user.FindOne(ctx, tx, of)
		if err != nil {
			return err
		}
		made = true
		return audit.Record(ctx, tx, by, Creation(u))
	})
	if err != nil {
		return false, fmt.Errorf("make the first administrator: %w", err)
	}
	return made, nil
}

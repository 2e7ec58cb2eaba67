// Package account is what happens to an account as a whole: it is made, suspended, reactivated and deleted, and its
// address is corrected. Each of these cuts or hands over something, so each asks the lattice whom it touches.
package account

import (
	"context"
	"fmt"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/text"
)

// Config says what deleting means.
type Config struct {
	// DeletionGrace is how long a deletion can be undone; 0 purges at once.
	DeletionGrace time.Duration `env:"UMS_DELETION_GRACE" envDefault:"0"`
}

// Validate returns what is wrong with the configuration.
func (c Config) Validate() error {
	if c.DeletionGrace < 0 {
		return fmt.Errorf("UMS_DELETION_GRACE is %s; use 0 or a time such as 720h", c.DeletionGrace)
	}
	return nil
}

// Hasher makes password hashes; password.Hasher is one.
type Hasher interface {
	Hash(ctx context.Context, password secret.Text) (string, error)
}

// Avatars has the pictures of a removed account removed, wherever they are kept; profile.Avatars does.
type Avatars interface {
	Release(ctx context.Context, tx postgres.Tx, owner id.ID) error
}

// Deps is what the service stands on.
type Deps struct {
	DB         *postgres.Pool
	Authorizer role.Authorizer
	Changes    actor.Changes
	Proofs     *onetime.Service
	Outbox     onetime.Outbox
	Avatars    Avatars // nil: nobody has one
	Profiles   *profile.Service
	Hasher     Hasher
	Policy     password.Policy
	Product    string // a word that no password may be made of
	Clock      clock.Clock
	Config     Config
}

// Service does it.
type Service struct{ Deps }

// NewService returns the service.
func NewService(d Deps) *Service { return &Service{d} }

// maxReason is the length of a reason in code points.
const maxReason = 500

// target locks an account for a change that could cost the last administrator, and checks that the caller may touch it.
// keepAnAdmin must be asked after the change. The administrators are locked before the account: everyone who takes
// both takes them in this order.
func (s *Service) target(
	ctx context.Context, tx postgres.Tx, by actor.Actor, of id.ID, ifMatch *int64,
) (u *user.User, keepAnAdmin func(context.Context) error, err error) {
	keepAnAdmin, err = s.Authorizer.KeepAnAdmin(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	u, err = s.lock(ctx, tx, by, of, ifMatch)
	return u, keepAnAdmin, err
}

func (s *Service) lock(ctx context.Context, tx postgres.Tx, by actor.Actor, of id.ID, ifMatch *int64) (*user.User, error) {
	u, err := user.Lock(ctx, tx, of)
	if err != nil {
		return nil, err
	}
	if err := s.Authorizer.CheckTarget(ctx, tx, by, of); err != nil {
		return nil, err
	}
	if ifMatch != nil && *ifMatch != u.Version {
		return nil, fault.ErrPrecondition
	}
	return u, nil
}

// cut ends what the account has open: its sessions now, and what replicas remember of it and its keys.
func (s *Service) cut(ctx context.Context, tx postgres.Tx, of id.ID) error {
	if _, err := session.EndAll(ctx, tx, of); err != nil {
		return err
	}
	return s.Changes.Of(ctx, tx, of)
}

// Suspend keeps an account out until it is reactivated: its sessions end for good, its keys sleep. Needs users:write.
// A suspended account stays so, and one that is being deleted goes on being deleted.
func (s *Service) Suspend(ctx context.Context, by actor.Actor, of id.ID, reason string) (*user.User, error) {
	if !by.May(user.WritePermission) {
		return nil, actor.Denied(user.WritePermission)
	}
	var v fault.Validation
	text.Block(&v, "/reason", reason, maxReason)
	if err := v.Err(); err != nil {
		return nil, err
	}
	var suspended *user.User
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		u, keepAnAdmin, err := s.target(ctx, tx, by, of, nil)
		if err != nil {
			return err
		}
		if suspended = u; u.Status == user.Suspended || u.Status == user.Deleting {
			return nil
		}
		if suspended, err = s.move(ctx, tx, by, u, user.Suspended, "user.suspend", reason); err != nil {
			return err
		}
		return keepAnAdmin(ctx)
	})
	return suspended, err
}

// Reactivate lets a suspended account in again, or undoes a deletion within its grace. Old sessions stay dead, keys live
// again. One that was never activated is pending again. Needs users:write.
func (s *Service) Reactivate(ctx context.Context, by actor.Actor, of id.ID) (*user.User, error) {
	if !by.May(user.WritePermission) {
		return nil, actor.Denied(user.WritePermission)
	}
	var reactivated *user.User
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		u, err := s.lock(ctx, tx, by, of, nil)
		if err != nil {
			return err
		}
		if reactivated = u; u.Status != user.Suspended && u.Status != user.Deleting {
			return nil
		}
		reactivated, err = s.move(ctx, tx, by, u, user.Active, "user.reactivate", "")
		return err
	})
	return reactivated, err
}

// move changes the status of a locked account, cuts what it has open, and records it.
func (s *Service) move(
	ctx context.Context, tx postgres.Tx, by actor.Actor, u *user.User, to user.Status, action, reason string,
) (*user.User, error) {
	if err := user.SetStatus(ctx, tx, u.ID, to); err != nil {
		return nil, err
	}
	if err := s.cut(ctx, tx, u.ID); err != nil {
		return nil, err
	}
	if to != user.Active {
		if err := onetime.Disable(ctx, tx, u.ID); err != nil {
			return nil, err
		}
	}
	after, err := user.FindOne(ctx, tx, u.ID)
	if err != nil {
		return nil, err
	}
	return after, audit.Record(ctx, tx, by, audit.Event{
		Action: action, Outcome: audit.Success, Target: u.Target(), Reason: reason,
		Changes: map[string]audit.Change{"status": {From: u.Status, To: after.Status}},
	})
}

package session

import (
	"context"
	"net/netip"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
)

// Familiar is a network that an account has signed in from.
type Familiar struct {
	Network  netip.Prefix // IPv4 /32, IPv6 /64
	Programs []string     // without versions, as in "Firefox on Linux"
	FirstAt  time.Time
	LastAt   time.Time
}

// Familiar returns from where the caller's account has signed in, and with what, newest first.
func (s *Service) Familiar(ctx context.Context, by actor.Actor) ([]Familiar, error) {
	return familiar(ctx, s.db, by.UserID)
}

package access

import (
	"context"
	"net/netip"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// remembered is how many sessions, and how many keys, are held at most; a few hundred bytes each.
const remembered = 16384

// Session is what an access token claims.
type Session struct {
	UserID    id.ID
	SessionID id.ID
}

// Key is what an API key claims: the part that finds it, and the SHA-256 of the part that proves it.
type Key struct {
	PublicID    string
	SecretHash  [32]byte
	Environment string
}

// Service answers for sessions and keys. It is safe for concurrent use.
type Service struct {
	epochs   epochs
	sessions *cache[Session]
	keys     *cache[string]
	same     func(stored []byte, presented [32]byte) bool // same; tests count
}

// NewService reads from db and forgets what changes announces.
func NewService(db postgres.DB, changes actor.Changes, clk clock.Clock) *Service {
	s := &Service{same: same}
	s.sessions = newCache(clk, &s.epochs, remembered,
		func(k Session) string { return k.UserID.String() + k.SessionID.String() },
		func(ctx context.Context, k Session) (*answer, error) { return lookSession(ctx, db, k) })
	s.keys = newCache(clk, &s.epochs, remembered,
		func(publicID string) string { return publicID },
		func(ctx context.Context, publicID string) (*answer, error) { return lookKey(ctx, db, publicID) })
	changes.Subscribe(s.epochs.evict, s.epochs.evictAll)
	return s
}

// Session returns the principal of a verified access token, or actor.ErrSession when its session has ended or expired, when
// its account is not active, or when the account was recovered since. Not before a second has passed, or a change was
// announced, is the database asked again.
func (s *Service) Session(ctx context.Context, claims Session) (*Principal, error) {
	a, err := s.sessions.get(ctx, claims)
	if err != nil {
		return nil, err
	}
	if a.principal == nil {
		return nil, actor.ErrSession
	}
	return a.principal, nil
}

// Key returns the principal of a key that was presented from ip. The faults: ErrKey, with a *Refusal in its chain, and
// ErrIPDenied, with which the principal comes along, since the caller is known.
func (s *Service) Key(ctx context.Context, k Key, ip netip.Addr) (*Principal, error) {
	p, refusal, err := s.judge(ctx, k)
	switch {
	case err != nil:
		return nil, err
	case refusal != nil:
		return nil, ErrKey.Because(refusal)
	case !p.allows(ip):
		return p, ErrIPDenied
	}
	return p, nil
}

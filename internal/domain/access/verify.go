package access

import (
	"context"
	"net/netip"

	"github.com/user-management-service/ums/internal/platform/id"
)

// Question is what another program asks of a key that was presented to it.
type Question struct {
	Key         Key
	Environment string     // the one that it expects; "": either
	Permissions []string   // what its caller wants to do; all must be allowed
	IP          netip.Addr // its caller's; a key that is bound to networks is denied without
}

// Verdict is the answer, as far as it does not depend on how often the key was used.
type Verdict struct {
	Reason Reason // "": nothing speaks against it
	// Principal is the key's, also when it is denied for what was asked. Nil: it is unknown, or dead. Then KeyID tells
	// which proven key it was, Nil when none.
	Principal *Principal
	KeyID     id.ID
}

// Verify judges a key for another program, by the first of the reasons that holds. A wrong secret is an unknown key: who
// cannot prove a key learns nothing of it. Warm, it asks the database for nothing.
func (s *Service) Verify(ctx context.Context, q Question) (Verdict, error) {
	p, refusal, err := s.judge(ctx, q.Key)
	switch {
	case err != nil:
		return Verdict{}, err
	case refusal != nil && refusal.Reason == WrongSecret:
		return Verdict{Reason: NotFound}, nil
	case refusal != nil && p == nil:
		return Verdict{Reason: refusal.Reason, KeyID: refusal.KeyID}, nil
	}
	v := Verdict{Principal: p, KeyID: p.KeyID}
	switch {
	case p.MFARequired && !p.MFAEnabled: // its owner may do nothing before he has a second factor
		v.Principal, v.Reason = nil, OwnerSuspended
	case refusal != nil:
		v.Reason = refusal.Reason
	case q.Environment != "" && q.Environment != p.Environment:
		v.Reason = WrongEnvironment
	case !p.allows(q.IP):
		v.Reason = IPDenied
	case !p.Permissions.Contains(q.Permissions):
		v.Reason = InsufficientScope
	}
	return v, nil
}

// judge finds the principal of a key, or why it is refused. A refusal for the environment comes with the principal, since
// the secret was proven.
func (s *Service) judge(ctx context.Context, k Key) (*Principal, *Refusal, error) {
	a, err := s.keys.get(ctx, k.PublicID)
	if err != nil {
		return nil, nil, err
	}
	// Compared on every path, so that an unknown key takes what a known one takes.
	proven := s.same(a.hash, k.SecretHash)
	p := a.principal
	switch {
	case p == nil && (proven || a.refusal.KeyID == id.Nil):
		return nil, a.refusal, nil
	case p == nil:
		return nil, &Refusal{Reason: WrongSecret, KeyID: a.refusal.KeyID, UserID: a.refusal.UserID}, nil
	case !proven:
		return nil, &Refusal{Reason: WrongSecret, KeyID: p.KeyID, UserID: p.UserID}, nil
	case p.Environment != k.Environment:
		return p, &Refusal{Reason: WrongEnvironment, KeyID: p.KeyID, UserID: p.UserID}, nil
	}
	return p, nil, nil
}

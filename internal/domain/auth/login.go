package auth

import (
	"context"
	"strings"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/text"
)

const loginAction = "auth.login"

// Login is an attempt to sign in.
type Login struct {
	Email      string
	Password   secret.Text
	DeviceName string // may be empty
	Cookie     bool   // the refresh token is for a cookie only
}

// Login opens a session. Whatever is wrong is ErrInvalidCredentials; only who knows the password is told that the
// address is unproven (ErrEmailUnverified), the account suspended (ErrSuspended), or a second factor asked for
// (mfa.ErrRequired). The attempt is counted before the account is looked up: throttle.ErrLimited. Five statements.
func (s *Service) Login(ctx context.Context, by actor.Actor, in Login) (Tokens, error) {
	if in.DeviceName != "" {
		var v fault.Validation
		text.Line(&v, "/device_name", in.DeviceName, session.MaxDeviceName)
		if err := v.Err(); err != nil {
			return Tokens{}, err
		}
	}
	if err := s.Hasher.Admit(); err != nil { // a flood must not cost the statements of an attempt
		return Tokens{}, err
	}
	_, norm, err := user.ParseEmail(in.Email)
	if err != nil {
		norm = "invalid " + strings.ToLower(strings.ToValidUTF8(in.Email, "")) // no account has it; it counts like any other
	}
	attempt := throttle.Attempt{EmailNorm: norm, IP: by.Origin.IP}
	if err := s.admit(ctx, by, attempt, audit.Event{Action: loginAction, Target: s.target(id.Nil, "", norm)}); err != nil {
		return Tokens{}, err
	}
	a := account{}
	if err == nil {
		if a, err = forLogin(ctx, s.DB, norm); err != nil {
			return Tokens{}, err
		}
	}
	hash := a.PasswordHash
	if a.Status == user.Pending {
		hash = a.AttemptHash
	}
	ok, stale, err := s.judge(ctx, attempt, in.Password, hash)
	if err != nil {
		return Tokens{}, err
	}
	refusal := s.mayEnter(a, ok)
	if refusal == nil {
		return s.enter(ctx, by, a, in, attempt, stale)
	}
	event := audit.Event{Action: loginAction, Target: s.target(a.ID, a.Email, norm)}
	if err := s.fail(ctx, by, event, refusal); err != nil {
		return Tokens{}, err
	}
	if ok {
		if err := s.Limits.GiveBack(ctx, s.DB, attempt); err != nil {
			return Tokens{}, err
		}
	}
	return Tokens{}, refusal
}

// mayEnter says why the account must not be entered with a password that is right or wrong.
func (s *Service) mayEnter(a account, right bool) error {
	switch {
	case !right:
		return ErrInvalidCredentials
	case a.Status == user.Pending, a.Status == user.Active && !a.EmailVerified && s.Config.EmailVerification == required:
		return ErrEmailUnverified
	case a.Status == user.Suspended:
		return ErrSuspended
	case a.Status != user.Active:
		return ErrInvalidCredentials
	}
	return nil
}

// enter opens the session of an account whose password was right. A hash of other parameters is renewed on the way.
func (s *Service) enter(ctx context.Context, by actor.Actor, a account, in Login, attempt throttle.Attempt, stale bool) (Tokens, error) {
	e := entry{account: a, how: session.ByPassword(), device: in.DeviceName, cookie: in.Cookie, hash: a.PasswordHash}
	if stale {
		hash, err := s.Hasher.Hash(ctx, in.Password)
		if err != nil {
			return Tokens{}, err
		}
		e.rehash = &hash
	}
	var p passage
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if p, err = s.pass(ctx, tx, by, e); err != nil {
			return err
		}
		// Last: it holds the network's counter until the commit.
		switch {
		case p.demand != nil:
			return s.knew(ctx, tx, attempt, true)
		case p.opened:
			return s.knew(ctx, tx, attempt, false)
		}
		return nil
	})
	switch {
	case err != nil:
		return Tokens{}, err
	case p.demand != nil:
		return Tokens{}, p.demand
	case !p.opened: // the account changed under us: the password that was right is no longer
		return Tokens{}, ErrInvalidCredentials
	}
	return s.mint(p.grant)
}

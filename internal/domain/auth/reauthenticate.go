package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Reauthentication is a proof in one of three shapes: a password, method and code, or method and credential. Absent
// members are nil.
type Reauthentication struct {
	Password   *secret.Text
	Method     *string // mfa.TOTP, mfa.RecoveryCode or passkey.Method
	Code       *secret.Text
	Credential []byte // PublicKeyCredential.toJSON
}

// Reauthenticate lets the person of a session prove himself again: a new access token with a fresh authentication time,
// and the session's current refresh token, not rotated. The session's assurance is from now on what was shown: a password
// alone is aal1, which is too little for [fresh] routes where the account has a second factor; a second factor makes aal2
// of what the session was opened by. It counts like a login. The faults: ErrInvalidCredentials, mfa.ErrCode,
// throttle.ErrLimited, validation.
func (s *Service) Reauthenticate(ctx context.Context, by actor.Actor, in Reauthentication) (Tokens, error) {
	password, method, code, credential := in.Password != nil, in.Method != nil, in.Code != nil, in.Credential != nil
	byPasskey := method && *in.Method == passkey.Method
	switch {
	case password && !method && !code && !credential:
		return s.reauthenticateByPassword(ctx, by, *in.Password)
	case byPasskey && credential && !code && !password:
		return s.reauthenticateByPasskey(ctx, by, in.Credential)
	case method && code && !byPasskey && !credential && !password:
		return s.reauthenticateByCode(ctx, by, mfa.Code{Method: *in.Method, Text: *in.Code})
	}
	return Tokens{}, fault.InvalidField("", "invalid_combination", "Give password, method and code, or for a passkey method and credential.")
}

func (s *Service) reauthenticateByPassword(ctx context.Context, by actor.Actor, password secret.Text) (Tokens, error) {
	a, err := s.caller(ctx, s.DB, by)
	if err != nil {
		return Tokens{}, err
	}
	event, attempt := againEvent(by), throttle.Attempt{EmailNorm: a.EmailNorm, IP: by.Origin.IP}
	if err := s.admit(ctx, by, attempt, event); err != nil {
		return Tokens{}, err
	}
	ok, _, err := s.judge(ctx, attempt, password, a.PasswordHash)
	if err != nil {
		return Tokens{}, err
	}
	if !ok {
		if err := s.fail(ctx, by, event, ErrInvalidCredentials); err != nil {
			return Tokens{}, err
		}
		return Tokens{}, ErrInvalidCredentials
	}
	return s.proveAgain(ctx, by, session.ByPassword(), func(ctx context.Context, tx postgres.Tx) error {
		return s.knew(ctx, tx, attempt, a.MFAEnabled)
	})
}

func (s *Service) reauthenticateByCode(ctx context.Context, by actor.Actor, code mfa.Code) (Tokens, error) {
	a, err := s.caller(ctx, s.DB, by)
	if err != nil {
		return Tokens{}, err
	}
	event, attempt := againEvent(by), throttle.Attempt{EmailNorm: a.EmailNorm, IP: by.Origin.IP}
	if err := s.admit(ctx, by, attempt, event); err != nil {
		return Tokens{}, err
	}
	p, err := s.Factors.Check(ctx, by.UserID, code)
	if err != nil {
		return Tokens{}, s.failedCode(ctx, by, event, err)
	}
	tokens, err := s.proveAgain(ctx, by, session.WithSecond(by.AMR, mfa.OTP), func(ctx context.Context, tx postgres.Tx) error {
		if err := s.consume(ctx, tx, owner(a), p); err != nil {
			return err
		}
		return s.succeeded(ctx, tx, attempt)
	})
	return tokens, s.failedCode(ctx, by, event, err)
}

func againEvent(by actor.Actor) audit.Event {
	return audit.Event{
		Action: "auth.reauthenticate", Outcome: audit.Success,
		Target: audit.Target{Type: "session", ID: by.SessionID, Owner: by.UserID},
	}
}

// proveAgain stamps the caller's session with a new proof, records it, and mints. effect comes last in the transaction.
func (s *Service) proveAgain(
	ctx context.Context, by actor.Actor, how session.Assurance, effect func(context.Context, postgres.Tx) error,
) (Tokens, error) {
	var grant session.Grant
	err := s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		if grant, err = s.Sessions.Reauthenticated(ctx, tx, by, how); err != nil {
			return gone(err)
		}
		if err := audit.Record(ctx, tx, by, againEvent(by)); err != nil {
			return err
		}
		return effect(ctx, tx)
	})
	if err != nil {
		return Tokens{}, err
	}
	return s.mint(grant)
}

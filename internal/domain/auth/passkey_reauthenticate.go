package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// PasskeyReauthenticationOptions begins a reauthentication of the caller's session: its challenge is good in this session
// alone, and with a passkey of its account.
func (s *Service) PasskeyReauthenticationOptions(ctx context.Context, by actor.Actor) (passkey.Options, error) {
	return s.Passkeys.AssertionOptions(ctx, passkey.Reauthentication(by.UserID, by.SessionID))
}

// reauthenticateByPasskey is aal2 by itself, whatever the session was opened by. There is nothing to guess, so no attempt
// is counted. The fault: ErrInvalidCredentials.
func (s *Service) reauthenticateByPasskey(ctx context.Context, by actor.Actor, credential []byte) (Tokens, error) {
	j, err := s.Passkeys.Assert(ctx, passkey.Reauthentication(by.UserID, by.SessionID), credential)
	if err != nil {
		return Tokens{}, err
	}
	a, err := s.caller(ctx, s.DB, by)
	if err != nil {
		return Tokens{}, err
	}
	if j.Outcome == passkey.Proven {
		tokens, err := s.proveAgain(ctx, by, session.ByPasskey(nil, j.Passkey.AMR()), func(ctx context.Context, tx postgres.Tx) error {
			used, err := s.Passkeys.Use(ctx, tx, j)
			if err == nil && !used {
				err = errOutrun
			}
			if err != nil {
				return err
			}
			return s.Limits.Reset(ctx, tx, a.EmailNorm)
		})
		if !errors.Is(err, errOutrun) {
			return tokens, err
		}
	}
	if j.Outcome == passkey.Cloned {
		err = s.cloned(ctx, by, a, j.Passkey)
	} else {
		err = s.fail(ctx, by, againEvent(by), errPasskey)
	}
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{}, errPasskey
}

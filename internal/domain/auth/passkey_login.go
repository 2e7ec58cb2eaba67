package auth

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/text"
	"github.com/user-management-service/ums/internal/platform/token"
)

// errPasskey is told of every passkey that signs nobody in: a bad challenge, a wrong origin, nobody's credential, an
// account that cannot sign in.
var errPasskey = ErrInvalidCredentials.WithDetail("The passkey was not accepted; ask for new options and try again.")

// errOutrun rolls back a sign-in that was right when it was judged and is no longer: an account that changed, a ticket
// that was used, a counter that came further.
var errOutrun = errors.New("outrun")

// PasskeyLogin is an attempt to sign in by passkey.
type PasskeyLogin struct {
	Credential []byte // PublicKeyCredential.toJSON
	MFAToken   string // of a first factor that was right; empty: the passkey is all there is
	DeviceName string // may be empty; of a second factor the first one's counts
	Cookie     bool
}

// PasskeyLoginOptions begins a sign-in by passkey: of whoever it will be, or as the second factor of mfaToken's account.
// mfa.ErrTicket.
func (s *Service) PasskeyLoginOptions(ctx context.Context, mfaToken string) (passkey.Options, error) {
	if mfaToken == "" {
		return s.Passkeys.AssertionOptions(ctx, passkey.Login())
	}
	t, err := s.Factors.Peek(ctx, mfaToken)
	if err != nil {
		return passkey.Options{}, err
	}
	return s.Passkeys.AssertionOptions(ctx, secondFactor(t, mfaToken))
}

// secondFactor is the ceremony of a ticket: its challenge is good with this very mfa_token alone.
func secondFactor(t mfa.Ticket, mfaToken string) passkey.Binding {
	hash, _ := token.HashOneTime(mfaToken) // the ticket was found by it
	return passkey.SecondFactor(t.UserID, hash[:])
}

// LoginPasskey opens a session. A passkey alone is two factors, since its authenticator has verified the user, so it is
// never asked for another. Whatever is wrong is ErrInvalidCredentials; mfa.ErrTicket.
//
// There is nothing to guess: no attempt is counted, and a success opens an account that guesses at its password have
// locked. A signature counter that does not grow is refused, recorded, and told to the owner.
func (s *Service) LoginPasskey(ctx context.Context, by actor.Actor, in PasskeyLogin) (Tokens, error) {
	if in.DeviceName != "" {
		var v fault.Validation
		text.Line(&v, "/device_name", in.DeviceName, session.MaxDeviceName)
		if err := v.Err(); err != nil {
			return Tokens{}, err
		}
	}
	binding, ticket := passkey.Login(), mfa.Ticket{}
	if in.MFAToken != "" {
		var err error
		if ticket, err = s.Factors.Try(ctx, in.MFAToken); err != nil {
			return Tokens{}, err
		}
		binding = secondFactor(ticket, in.MFAToken)
	}
	j, err := s.Passkeys.Assert(ctx, binding, in.Credential)
	if err != nil {
		return Tokens{}, err
	}
	a, err := s.passkeyOwner(ctx, j)
	if err != nil {
		return Tokens{}, err
	}
	if j.Outcome != passkey.Proven || s.mayEnter(a, true) != nil {
		return Tokens{}, s.refusePasskey(ctx, by, a, j)
	}
	how := session.ByPasskey(ticket.AMR, j.Passkey.AMR())
	var grant session.Grant
	err = s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		var opened bool
		if in.MFAToken != "" {
			grant, opened, err = s.finishAs(ctx, tx, by, ticket, how)
		} else {
			grant, opened, err = s.open(ctx, tx, by, entry{account: a, how: how, device: in.DeviceName, cookie: in.Cookie})
		}
		if err == nil && opened {
			opened, err = s.Passkeys.Use(ctx, tx, j)
		}
		if err != nil {
			return err
		}
		if !opened {
			return errOutrun
		}
		return s.Limits.Reset(ctx, tx, a.EmailNorm)
	})
	if errors.Is(err, errOutrun) {
		return Tokens{}, s.refusePasskey(ctx, by, a, j)
	}
	if err != nil {
		return Tokens{}, err
	}
	return s.mint(grant)
}

// passkeyOwner is the account of a judged passkey; the zero account when it is nobody's.
func (s *Service) passkeyOwner(ctx context.Context, j passkey.Judgement) (account, error) {
	if j.Passkey.UserID == id.Nil {
		return account{}, nil
	}
	a, err := byID(ctx, s.DB, j.Passkey.UserID)
	if postgres.NoRows(err) { // it went while we looked
		return account{}, nil
	}
	return a, err
}

// refusePasskey records a passkey that signs nobody in, and returns the refusal. What names no account and answers no
// challenge of ours is recorded nowhere: anybody could fill the log with it.
func (s *Service) refusePasskey(ctx context.Context, by actor.Actor, a account, j passkey.Judgement) error {
	var err error
	switch {
	case j.Outcome == passkey.Cloned && a.ID != id.Nil:
		err = s.cloned(ctx, by, a, j.Passkey)
	case a.ID != id.Nil:
		err = s.fail(ctx, by, audit.Event{Action: loginAction, Target: s.target(a.ID, a.Email, a.EmailNorm)}, errPasskey)
	case j.Asked:
		err = s.fail(ctx, by, audit.Event{Action: loginAction, Target: audit.Target{Type: "user"}}, errPasskey)
	}
	if err != nil {
		return err
	}
	return errPasskey
}

// cloned records that a passkey signed with a counter that was seen before, and tells its owner: the key may have been
// copied. By the signature whoever did it holds the key, so strangers cannot cause these mails.
func (s *Service) cloned(ctx context.Context, by actor.Actor, a account, p passkey.Passkey) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		err := audit.Record(ctx, tx, by, audit.Event{
			Action: "passkey.clone", Outcome: audit.Failure, Target: p.Target(), Reason: "the signature counter did not grow",
		})
		if err != nil {
			return err
		}
		return s.Outbox.Enqueue(ctx, tx, notify.Mail{
			UserID: a.ID, To: a.Email, Locale: orEmpty(a.Locale),
			Content: notify.Passkey{Name: orEmpty(a.DisplayName), Event: notify.PasskeyRefused, Passkey: p.Name, At: s.Clock.Now()},
		})
	})
}

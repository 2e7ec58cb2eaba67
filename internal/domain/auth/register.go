package auth

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Registration is what somebody registers with.
type Registration struct {
	Email       string
	Password    secret.Text
	DisplayName *string
	Locale      *string

	norm string
}

// Registered is the answer to a registration. Where addresses must be proven it holds a registration id and nothing
// else, and is the same for every address; where not, the new account.
type Registered struct {
	RegistrationID secret.Text
	User           *user.User
}

// Register claims an address. The faults: ErrRegistrationClosed, validation, password.ErrOverloaded, and user.ErrEmailTaken
// where verification is optional: only there a known address is answered differently. The password is hashed on every
// path, before the transaction. At most eight statements, and what keep does.
func (s *Service) Register(ctx context.Context, by actor.Actor, in Registration, keep idempotency.Keep[Registered]) (Registered, error) {
	if s.Config.Registration == closed {
		return Registered{}, ErrRegistrationClosed
	}
	if err := s.checkRegistration(&in); err != nil {
		return Registered{}, err
	}
	hash, err := s.Hasher.Hash(ctx, in.Password)
	if err != nil {
		return Registered{}, err
	}
	register := s.claim
	if s.Config.EmailVerification == optional {
		register = s.registerActive
	}
	var out Registered
	err = evenly(ctx, func() error {
		return s.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
			if out, err = register(ctx, tx, by, in, hash); err != nil {
				return err
			}
			return keep.Do(ctx, tx, out)
		})
	})
	return out, err
}

// CheckRegistration returns what is wrong with the values of a registration, all of it, or nil, also where nobody can
// register: that comes first. It asks no database.
func (s *Service) CheckRegistration(in Registration) error {
	if s.Config.Registration == closed {
		return nil
	}
	return s.checkRegistration(&in)
}

// checkRegistration validates and normalises.
func (s *Service) checkRegistration(in *Registration) error {
	var v fault.Validation
	email, norm, err := user.ParseEmail(in.Email)
	if f := fault.As(err); f != nil {
		for _, field := range f.Fields {
			v.Add(field.Pointer, field.Code, field.Detail)
		}
	}
	name := ""
	if in.DisplayName != nil {
		name = *in.DisplayName
		user.CheckDisplayName(&v, "/display_name", name)
	}
	if in.Locale != nil {
		locale := user.ParseLocale(&v, "/locale", *in.Locale)
		in.Locale = &locale
	}
	s.checkPassword(&v, in.Password, in.Email, name)
	in.Email, in.norm = email, norm
	return v.Err()
}

// claim starts an attempt at an address that nobody has proven yet. An address that has an account is told by mail.
func (s *Service) claim(ctx context.Context, tx postgres.Tx, by actor.Actor, in Registration, hash string) (Registered, error) {
	account, err := claimAddress(ctx, tx, id.New(), in.Email, in.norm)
	if err != nil {
		return Registered{}, err
	}
	if account.Status != user.Pending {
		return Registered{RegistrationID: onetime.NewRegistrationID()}, s.tellOwner(ctx, tx, by, account)
	}
	registrationID, kept, err := s.OneTime.StartAttempt(ctx, tx, onetime.Attempt{
		UserID: account.ID, Email: account.Email, EmailNorm: in.norm, AuthEpoch: account.AuthEpoch,
		PasswordHash: hash, DisplayName: in.DisplayName, Locale: in.Locale, From: by.Origin.IP,
	})
	if err != nil || !kept {
		return Registered{RegistrationID: registrationID}, err
	}
	return Registered{RegistrationID: registrationID}, audit.Record(ctx, tx, by.As(account.ID, account.Email), audit.Event{
		Action: "auth.register", Outcome: audit.Success, Target: s.target(account.ID, account.Email, in.norm),
	})
}

func (s *Service) tellOwner(ctx context.Context, tx postgres.Tx, by actor.Actor, account account) error {
	allowed, err := s.Limits.AllowMail(ctx, tx, account.EmailNorm, by.Origin.IP)
	if err != nil {
		return err
	}
	if allowed && account.Status == user.Active {
		err := s.Outbox.Enqueue(ctx, tx, notify.Mail{
			UserID: account.ID, To: account.Email, Locale: orEmpty(account.Locale),
			Content: notify.AlreadyRegistered{Name: orEmpty(account.DisplayName)},
		})
		if err != nil {
			return err
		}
	}
	return audit.Record(ctx, tx, by, audit.Event{
		Action: "auth.register", Outcome: audit.Failure, Reason: "email_taken",
		Target: s.target(account.ID, account.Email, account.EmailNorm),
	})
}

// registerActive makes an account that can sign in before its address is proven.
func (s *Service) registerActive(ctx context.Context, tx postgres.Tx, by actor.Actor, in Registration, hash string) (Registered, error) {
	created, err := user.Insert(ctx, tx, user.Draft{
		Kind: user.Human, Email: in.Email, EmailNorm: in.norm, Status: user.Active, PasswordHash: &hash,
		DisplayName: in.DisplayName, Locale: in.Locale,
	})
	if err != nil {
		return Registered{}, err
	}
	err = s.OneTime.StartVerification(ctx, tx, onetime.Recipient{
		UserID: created, Email: in.Email, EmailNorm: in.norm, AuthEpoch: user.FirstEpoch,
		Name: orEmpty(in.DisplayName), Locale: orEmpty(in.Locale), From: by.Origin.IP,
	})
	if err != nil {
		return Registered{}, err
	}
	found, err := user.Find(ctx, tx, []id.ID{created})
	if err != nil {
		return Registered{}, err
	}
	return Registered{User: found[created]}, audit.Record(ctx, tx, by.As(created, in.Email), audit.Event{
		Action: "auth.register", Outcome: audit.Success, Target: s.target(created, in.Email, in.norm),
	})
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

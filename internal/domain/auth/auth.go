// Package auth is the flows by which people come and go: register, verify, sign in, refresh, prove themselves again,
// sign out, change their address, accept an invitation. Each flow is a file. They run across nouns: account, attempt, session, limits, mail.
//
// Every path that judges a password does exactly one Argon2 verification outside any transaction, also for addresses
// that have no account, so that neither answer nor time tells who is registered.
package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/notify"
	"github.com/user-management-service/ums/internal/domain/onetime"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/throttle"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/password"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/secret"
	"github.com/user-management-service/ums/internal/platform/token"
)

// The values of the configuration.
const (
	open     = "open"
	closed   = "closed"
	required = "required"
	optional = "optional"
)

// Config is who may register, whether an address must be proven before it signs in, and how people may sign in.
type Config struct {
	Registration      string `env:"UMS_REGISTRATION" envDefault:"open"`
	EmailVerification string `env:"UMS_EMAIL_VERIFICATION" envDefault:"required"`
	// MagicLink lets people sign in with a link that is mailed to them.
	MagicLink bool `env:"UMS_MAGIC_LINK" envDefault:"false"`
}

// Validate returns every fault of the configuration, each naming its variable.
func (c Config) Validate() error {
	var errs []error
	if c.Registration != open && c.Registration != closed {
		errs = append(errs, fmt.Errorf("UMS_REGISTRATION is %q; use open or closed", c.Registration))
	}
	if c.EmailVerification != required && c.EmailVerification != optional {
		errs = append(errs, fmt.Errorf("UMS_EMAIL_VERIFICATION is %q; use required or optional", c.EmailVerification))
	}
	return errors.Join(errs...)
}

// The refusals of these flows.
var (
	ErrInvalidCredentials = fault.New(fault.Unauthenticated, "invalid_credentials",
		"The address or the password is wrong, or the account cannot sign in.")
	ErrRefreshToken = fault.New(fault.Unauthenticated, "invalid_refresh_token",
		"The refresh token is not valid or no longer; sign in again.")
	ErrEmailUnverified = fault.New(fault.Forbidden, "email_unverified",
		"Confirm the e-mail address first: open the link in the mail, or ask for a new one.")
	ErrSuspended = fault.New(fault.Forbidden, "account_suspended",
		"The account is suspended; ask an administrator.")
	ErrRegistrationClosed = fault.New(fault.Forbidden, "registration_closed",
		"Nobody can register here; ask an administrator for an account.")
)

// Deps is what the flows run on.
type Deps struct {
	Config      Config
	ProductName string // no password may be made of it
	DB          *postgres.Pool
	Changes     actor.Changes
	Ring        *keyring.Ring
	Clock       clock.Clock
	Hasher      *password.Hasher
	Policy      password.Policy
	Issuer      *token.Issuer
	Verifier    *signing.Verifier
	Access      *access.Service
	Limits      *throttle.Limits
	Sessions    *session.Service
	Factors     *mfa.Service
	Passkeys    *passkey.Service
	OneTime     *onetime.Service
	Outbox      onetime.Outbox
	Links       notify.Links
	Roles       role.Authorizer
}

// Service runs the flows.
type Service struct{ Deps }

// NewService returns a service on d.
func NewService(d Deps) *Service { return &Service{d} }

// Public is what anybody may know before he signs in.
type Public struct {
	Registration string // open or closed
	Verification string // required or optional
	MinPassword  int    // code points
	MaxPassword  int
	Methods      []string
	ProductName  string
}

// Public returns the configuration that sign-in pages need.
func (s *Service) Public() Public {
	methods := []string{"password"}
	if s.Config.MagicLink {
		methods = append(methods, "magic_link")
	}
	if s.Passkeys.Offered() {
		methods = append(methods, "passkey")
	}
	return Public{
		Registration: s.Config.Registration, Verification: s.Config.EmailVerification, MinPassword: s.Policy.MinLength(),
		MaxPassword: password.MaxLength, Methods: methods, ProductName: s.ProductName,
	}
}

// checkPassword records what is wrong with a new password. Context is what an attacker knows of the account.
func (s *Service) checkPassword(v *fault.Validation, p secret.Text, context ...string) {
	for _, problem := range s.Policy.Check(p, append(context, s.ProductName)...) {
		v.Add("/password", problem.Code, problem.Detail)
	}
}

// verify judges a password against a stored hash, nil where there is none, with exactly one verification. A hash that
// cannot be read is none.
func (s *Service) verify(ctx context.Context, p secret.Text, hash *string) (ok, rehash bool, err error) {
	if hash == nil {
		return false, false, s.Hasher.VerifyDummy(ctx, p)
	}
	ok, rehash, err = s.Hasher.Verify(ctx, p, *hash)
	if errors.Is(err, password.ErrUnreadable) { // somebody loaded it into the table: an account without a password, and no tell-tale
		return false, false, s.Hasher.VerifyDummy(ctx, p)
	}
	return ok, rehash, err
}

// judge is verify for an attempt that has been admitted. What a full queue refuses was never judged and is taken out of
// the counts: else whoever floods the service locks out those who only come back when they are told to.
func (s *Service) judge(ctx context.Context, a throttle.Attempt, p secret.Text, hash *string) (ok, rehash bool, err error) {
	ok, rehash, err = s.verify(ctx, p, hash)
	if errors.Is(err, password.ErrOverloaded) {
		if err := s.Limits.Withdraw(ctx, s.DB, a); err != nil {
			return false, false, err
		}
	}
	return ok, rehash, err
}

// admit counts an attempt and returns the refusal of one that is too many. The first of a window is recorded, with the
// account that it is about: who watches the log must see whom somebody guesses at.
func (s *Service) admit(ctx context.Context, by actor.Actor, a throttle.Attempt, e audit.Event) error {
	refusal, err := s.Limits.Raise(ctx, a)
	if err != nil || refusal == nil {
		return err
	}
	if refusal.First {
		if e.Target.ID == id.Nil {
			found, err := forLogin(ctx, s.DB, a.EmailNorm)
			if err != nil {
				return err
			}
			e.Target = s.target(found.ID, found.Email, a.EmailNorm)
		}
		if err := s.fail(ctx, by, e, refusal.Err); err != nil {
			return err
		}
	}
	return refusal.Err
}

// fail records an attempt that failed, outside any transaction: there is no effect that it must be atomic with.
func (s *Service) fail(ctx context.Context, by actor.Actor, e audit.Event, why error) error {
	e.Outcome = audit.Failure
	if f := fault.As(why); f != nil {
		e.Reason = f.Code
	}
	return audit.Record(ctx, s.DB, by, e)
}

// target is an account as the audit log names it; an address without one is named by a keyed hash, never in the clear.
func (s *Service) target(user id.ID, label, emailNorm string) audit.Target {
	if user == id.Nil {
		return audit.Target{Type: "user", Label: audit.UnknownLogin(s.Ring.MAC("login-label", []byte(emailNorm)))}
	}
	return audit.Target{Type: "user", ID: user, Label: label, Owner: user}
}

// evenly runs fn in a time that does not depend on what fn finds: where no hash hides the difference, the difference
// between a known and an unknown address must not show. It waits holding nothing.
func evenly(ctx context.Context, fn func() error) error {
	const floor = 50 * time.Millisecond
	rest := time.NewTimer(floor)
	defer rest.Stop()
	err := fn()
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
	return err
}

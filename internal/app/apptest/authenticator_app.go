package apptest

import (
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/clock"
)

const step = 30 * time.Second

// App is the authenticator app on a person's telephone.
type App struct {
	FactorID      string
	RecoveryCodes []string

	secret string
	clock  *clock.Fake
	next   time.Time // within the step of the next code
}

// NewApp is the app after it has read the secret of an enrolment.
func (s *Service) NewApp(t testing.TB, enrolment *Answer) *App {
	t.Helper()
	enrolment.Want(t, 201)
	return &App{
		FactorID: enrolment.String(t, "id"), secret: enrolment.String(t, "secret"), clock: s.Clock, next: s.Clock.Now().Add(-step),
	}
}

// Enrol gives the account of c, who has a fresh session, an authenticator app.
func (s *Service) Enrol(t testing.TB, c *Client) *App {
	t.Helper()
	a := s.NewApp(t, c.POST(t, "/auth/mfa/totp", nil))
	done := c.POST(t, "/auth/mfa/totp/"+a.FactorID+"/activate", map[string]any{"code": a.Code(t)}).Want(t, 200)
	codes, _ := done.Get(t, "recovery_codes").([]any)
	for _, code := range codes {
		text, _ := code.(string)
		a.RecoveryCodes = append(a.RecoveryCodes, text)
	}
	return a
}

// Code is the next code that nobody has used: of three without moving the clock, the one that enrolled included.
func (a *App) Code(t testing.TB) string {
	t.Helper()
	if now := a.clock.Now(); a.next.Before(now.Add(-step)) {
		a.next = now.Add(-step)
	}
	require.True(t, a.next.Before(a.clock.Now().Add(2*step)), "all codes of this time are used: advance the clock")
	code := a.At(t, a.next)
	a.next = a.next.Add(step)
	return code
}

// At is the code of a moment.
func (a *App) At(t testing.TB, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(a.secret, at)
	require.NoError(t, err)
	return code
}

// Ticket signs in with the password and returns the mfa_token of an account with a second factor.
func (s *Service) Ticket(t testing.TB, email, password string) string {
	t.Helper()
	a := s.POST(t, "/auth/login", map[string]any{"email": email, "password": password}).Want(t, 403, "mfa_required")
	return a.String(t, "mfa_token")
}

// SignInTwice signs in with password and code.
func (s *Service) SignInTwice(t testing.TB, email, password string, by *App) *Client {
	t.Helper()
	a := s.POST(t, "/auth/mfa/verify", map[string]any{"mfa_token": s.Ticket(t, email, password), "method": "totp", "code": by.Code(t)}).Want(t, 200)
	return s.Bearer(a.String(t, "access_token"))
}

package httpapi_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

const (
	rightPassword = "violet harbour sings 42 times"
	wrongPassword = "crimson meadow shouts 17 times"
)

// From nothing to a session and out again, over HTTP and real mail.
func TestAuthOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	config := s.GET(t, "/auth/config").Want(t, http.StatusOK)
	require.Equal(t, "public, max-age=300", config.Header.Get("Cache-Control"))
	require.EqualValues(t, 12, config.Get(t, "password.min"))

	registered := s.POST(t, "/auth/register", fields{
		"email": "Ada@Example.org", "password": rightPassword, "display_name": "Ada", "locale": "de-AT",
	}).Want(t, http.StatusAccepted)
	require.Equal(t, "pending_verification", registered.String(t, "status"))
	mail := s.Mail.WaitFor(t, "Ada@example.org", 1)
	s.POST(t, "/auth/login", fields{"email": "ada@example.org", "password": rightPassword}).Want(t, http.StatusForbidden, "email_unverified")
	s.POST(t, "/auth/email/verify", fields{"token": mail.Token()}).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	s.POST(t, "/auth/email/verify", fields{"token": mail.Token(), "password": wrongPassword}).Want(t, http.StatusUnauthorized, "invalid_credentials")
	byCode := fields{"code": mail.Code(), "registration_id": registered.String(t, "registration_id")}
	s.POST(t, "/auth/email/verify", byCode).Want(t, http.StatusNoContent)
	s.POST(t, "/auth/email/verify", byCode).Want(t, http.StatusNoContent)

	login := s.POST(t, "/auth/login", fields{"email": "ada@example.org", "password": rightPassword, "device_name": "My phone"}).Want(t, http.StatusOK)
	require.Equal(t, "Bearer", login.String(t, "token_type"))
	require.EqualValues(t, 300, login.Get(t, "expires_in"))
	ada := s.Bearer(login.String(t, "access_token"))
	me := ada.GET(t, "/users/me").Want(t, http.StatusOK)
	require.Equal(t, "Ada", me.String(t, "display_name"))
	require.Equal(t, "de-AT", me.String(t, "locale"))
	sessions := ada.GET(t, "/auth/sessions").Want(t, http.StatusOK)
	require.Equal(t, login.String(t, "session_id"), sessions.String(t, "data.0.id"))
	require.Equal(t, "My phone", sessions.String(t, "data.0.device_name"))
	require.Equal(t, true, sessions.Get(t, "data.0.current"))

	again := ada.POST(t, "/auth/reauthenticate", fields{"password": rightPassword}).Want(t, http.StatusOK)
	require.Equal(t, login.String(t, "refresh_token"), again.String(t, "refresh_token"), "not rotated")
	ada.POST(t, "/auth/reauthenticate", fields{"password": wrongPassword}).Want(t, http.StatusUnauthorized, "invalid_credentials")

	// An expired or broken access token never blocks a refresh; two credentials are still refused.
	refreshed := s.Bearer("broken").POST(t, "/auth/refresh", fields{"refresh_token": login.String(t, "refresh_token")}).Want(t, http.StatusOK)
	s.Bearer("a").With("X-API-Key", "b").POST(t, "/auth/refresh", fields{"refresh_token": "x"}).Want(t, http.StatusBadRequest, "multiple_credentials")
	s.POST(t, "/auth/refresh", fields{"refresh_token": "x"}).Want(t, http.StatusUnauthorized, "invalid_refresh_token")
	s.POST(t, "/auth/refresh", fields{}).Want(t, http.StatusUnauthorized, "invalid_refresh_token")
	s.POST(t, "/auth/refresh", nil).Want(t, http.StatusUnauthorized, "invalid_refresh_token")

	s.Bearer("broken").POST(t, "/auth/logout", nil).Want(t, http.StatusNoContent)
	ada.GET(t, "/users/me").Want(t, http.StatusOK)
	s.POST(t, "/auth/logout", fields{"refresh_token": refreshed.String(t, "refresh_token")}).Want(t, http.StatusNoContent)
	ada.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	ada.POST(t, "/auth/logout", nil).Want(t, http.StatusNoContent)
	s.POST(t, "/auth/refresh", fields{"refresh_token": refreshed.String(t, "refresh_token")}).Want(t, http.StatusUnauthorized, "invalid_refresh_token")

	keys := s.GET(t, "/.well-known/jwks.json").Want(t, http.StatusOK)
	require.NotContains(t, string(keys.Body), `"d"`)
}

// Known and unknown addresses are answered alike: status, headers, length and shape of the body (REG-02).
func TestREG02OverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_MAGIC_LINK=true"))
	s.Person(t, s.Admin(t), "alice@example.com")
	for path, body := range map[string]fields{
		"/auth/register":           {"password": rightPassword},
		"/auth/email/verification": {},
		"/auth/password/forgot":    {},
		"/auth/magic-link":         {},
		"/auth/login":              {"password": wrongPassword},
	} {
		var seen []*apptest.Answer
		for _, email := range []string{"alice@example.com", "nobod@example.com"} {
			body["email"] = email
			a := s.POST(t, path, body)
			for name, values := range a.Header {
				require.Len(t, values, 1, name)
			}
			for _, name := range []string{"X-Request-Id", "Date"} {
				a.Header.Del(name)
			}
			seen = append(seen, a)
		}
		require.Equal(t, seen[0].Status, seen[1].Status, path)
		require.Equal(t, seen[0].Header, seen[1].Header, path)
		require.Len(t, seen[1].Body, len(seen[0].Body), path)
	}
}

// A session ended on one replica is dead on the other within a second, and nobody ends another's (TOK-12, TOK-15).
func TestSessionsOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	beside := apptest.Start(t, apptest.Beside(s))
	admin := s.Admin(t)
	s.Person(t, admin, "alice@example.com")
	sign := func() (*apptest.Client, string, string) {
		a := s.POST(t, "/auth/login", fields{"email": "alice@example.com", "password": apptest.Password}).Want(t, http.StatusOK)
		return s.Bearer(a.String(t, "access_token")), a.String(t, "session_id"), a.String(t, "refresh_token")
	}
	first, _, _ := sign()
	second, secondID, secondRefresh := sign()
	second.At(beside).GET(t, "/users/me").Want(t, http.StatusOK)

	admin.DELETE(t, "/auth/sessions/"+secondID).Want(t, http.StatusNotFound, "not_found")
	admin.DELETE(t, "/auth/sessions/nonsense").Want(t, http.StatusNotFound, "not_found")
	first.DELETE(t, "/auth/sessions/"+secondID).Want(t, http.StatusNoContent)
	s.POST(t, "/auth/refresh", fields{"refresh_token": secondRefresh}).Want(t, http.StatusUnauthorized, "invalid_refresh_token")
	second.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	require.Eventually(t, func() bool {
		a, _, err := second.At(beside).Try("GET", "/users/me", nil)
		return err == nil && a.Status == http.StatusUnauthorized
	}, 5*time.Second, 20*time.Millisecond)

	third, _, _ := sign()
	first.DELETE(t, "/auth/sessions").Want(t, http.StatusNoContent)
	third.GET(t, "/users/me").Want(t, http.StatusUnauthorized)
	page := first.GET(t, "/auth/sessions?limit=1").Want(t, http.StatusOK)
	require.Nil(t, page.Get(t, "next_cursor"))
	first.GET(t, "/auth/sessions?cursor=x").Want(t, http.StatusBadRequest, "invalid_cursor")
	s.GET(t, "/auth/sessions").Want(t, http.StatusUnauthorized, "unauthenticated")
}

// Guesses end in 429 with the policy and a time to wait, alike for every address.
func TestLoginLimitOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=3/15m"))
	for _, email := range []string{apptest.AdminEmail, "nobody@example.com"} {
		for range 3 {
			s.POST(t, "/auth/login", fields{"email": email, "password": wrongPassword}).Want(t, http.StatusUnauthorized, "invalid_credentials")
		}
		limited := s.POST(t, "/auth/login", fields{"email": email, "password": wrongPassword}).Want(t, http.StatusTooManyRequests, "rate_limited")
		require.Equal(t, "login", limited.String(t, "policy"))
		require.NotEmpty(t, limited.Header.Get("Retry-After"))
	}
}

// Where proof is optional the account is there at once, with its address and its tag; a repeat gets the same answer.
func TestOptionalRegistrationOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_EMAIL_VERIFICATION=optional"))
	body := fields{"email": "ada@example.org", "password": rightPassword}
	repeatable := s.With("Idempotency-Key", "once")
	made := repeatable.POST(t, "/auth/register", body).Want(t, http.StatusCreated)
	require.Equal(t, "/api/v1/users/"+made.String(t, "id"), made.Header.Get("Location"))
	require.NotEmpty(t, made.Header.Get("ETag"))
	replayed := repeatable.POST(t, "/auth/register", body).Want(t, http.StatusCreated)
	require.Equal(t, made.Body, replayed.Body)
	require.Equal(t, "true", replayed.Header.Get("Idempotency-Replayed"))
	s.POST(t, "/auth/register", body).Want(t, http.StatusConflict, "email_taken")
	s.SignIn(t, "ada@example.org", rightPassword)
}

// What the contract does not have is refused, with every fault of the shape in one answer.
func TestRegistrationShapes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_REGISTRATION=open"))
	for _, body := range []any{
		fields{"email": "a@example.org", "password": rightPassword, "status": "active"},
		fields{"email": "a@example.org", "password": rightPassword, "roles": []string{"admin"}},
		fields{"email": "a@example.org", "password": rightPassword, "display_name": "a\r\nBcc: b@example.org"},
		fields{"email": "a@example.org", "password": strings.Repeat("x", 2000)},
		fields{"email": "a@example.org", "password": "short"},
		fields{"email": "Bob <a@example.org>", "password": rightPassword},
		fields{"Email": "a@example.org", "password": rightPassword},
		fields{"password": rightPassword},
	} {
		s.POST(t, "/auth/register", body).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	}
	s.POST(t, "/auth/register", "{").Want(t, http.StatusBadRequest, "malformed_request")
	s.With("Content-Type", "text/plain").POST(t, "/auth/register", "{}").Want(t, http.StatusUnsupportedMediaType)

	closed := apptest.Start(t, apptest.Beside(s), apptest.Env("UMS_REGISTRATION=closed"))
	closed.POST(t, "/auth/register", fields{"email": "a@example.org", "password": rightPassword}).Want(t, http.StatusForbidden, "registration_closed")
}

// 100 parallel registrations through two replicas: one account, three mails, answers alike, no 500 (REG-01).
func TestREG01OverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	replicas := []*apptest.Service{s, apptest.Start(t, apptest.Beside(s))}
	statuses := make([]int, 100)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() {
			for statuses[i] == 0 || statuses[i] == http.StatusServiceUnavailable { // overloaded: again, as told
				a, _, err := replicas[i%2].Try("POST", "/auth/register", fields{"email": "eve@example.org", "password": rightPassword})
				if err != nil {
					statuses[i] = -1
					return
				}
				statuses[i] = a.Status
			}
		})
	}
	wg.Wait()
	for _, status := range statuses {
		require.Equal(t, http.StatusAccepted, status)
	}
	admin := s.Admin(t)
	require.Len(t, admin.GET(t, "/users?email=eve@example.org").Want(t, http.StatusOK).Get(t, "data"), 1)
	require.Len(t, admin.GET(t, "/audit-events?action=auth.register").Want(t, http.StatusOK).Get(t, "data"), 3)
	s.Mail.WaitFor(t, "eve@example.org", 3)
}

package apptest

import (
	"testing"
)

// Password is that of everyone whom Person makes.
const Password = "violet harbour keeps singing"

// SignIn returns a client with a new session of the account.
func (s *Service) SignIn(t testing.TB, email, password string) *Client {
	t.Helper()
	a := s.POST(t, "/auth/login", map[string]any{"email": email, "password": password}).Want(t, 200)
	return s.Bearer(a.String(t, "access_token"))
}

// Admin returns a client with a new session of the first administrator.
func (s *Service) Admin(t testing.TB) *Client {
	t.Helper()
	return s.SignIn(t, AdminEmail, AdminPassword)
}

// Person makes an active account with these roles, on the administrator's word, and signs it in.
func (s *Service) Person(t testing.TB, admin *Client, email string, roles ...string) (id string, c *Client) {
	t.Helper()
	a := admin.POST(t, "/users", map[string]any{
		"email": email, "password": Password, "email_verified": true, "roles": append([]string{}, roles...),
	}).Want(t, 201)
	return a.String(t, "id"), s.SignIn(t, email, Password)
}

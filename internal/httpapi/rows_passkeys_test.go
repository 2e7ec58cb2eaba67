package httpapi_test

import (
	"testing"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// passkeys has the rows of passkeys.
func (w *world) passkeys(t *testing.T) {
	t.Helper()
	s := w.s
	_, ada := w.person(t)
	credential := func(c *apptest.Client, a *apptest.Authenticator) func() any {
		return func() any {
			return doc{"credential": a.Create(t, c.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200))}
		}
	}
	key, made := addPasskey(t, ada)
	one := "/auth/passkeys/" + made.String(t, "id")
	_, second := addPasskey(t, ada)
	w.ok("POST /auth/passkeys/registration/options", ada, "", nil, 200, "")
	w.ok("POST /auth/passkeys/registration", ada, "", credential(ada, apptest.NewAuthenticator(t)), 201, "passkey.create passkey")
	w.no("POST /auth/passkeys/registration", ada, "", credential(ada, key), 409, "already_exists")
	w.no("POST /auth/passkeys/registration", ada, "", doc{"credential": doc{}}, 422, "validation_failed")
	w.ok("POST /auth/passkeys/login/options", s.Client, "", doc{}, 200, "")
	w.no("POST /auth/passkeys/login/options", s.Client, "", doc{"mfa_token": "x"}, 401, "invalid_mfa_token")
	w.ok("POST /auth/passkeys/login", s.Client, "", func() any { return doc{"credential": key.Get(t, offer(t, s.Client))} }, 200, "auth.login session")
	w.no("POST /auth/passkeys/login", s.Client, "", doc{"credential": doc{}}, 401, "invalid_credentials")
	w.no("POST /auth/passkeys/login", s.Client, "", doc{"credential": doc{}, "mfa_token": "x"}, 401, "invalid_mfa_token")
	w.ok("POST /auth/passkeys/reauthentication/options", ada, "", nil, 200, "")
	w.ok("GET /auth/passkeys", ada, "", nil, 200, "")
	w.no("GET /auth/passkeys", ada, "/auth/passkeys?cursor=x", nil, 400, "invalid_cursor")
	w.ok("PATCH /auth/passkeys/{id}", ada, one, doc{"name": "Phone"}, 200, "passkey.update passkey")
	w.no("PATCH /auth/passkeys/{id}", ada, "/auth/passkeys/"+unknownID, doc{}, 404, "not_found")
	w.no("PATCH /auth/passkeys/{id}", ada.With("If-Match", `"999"`), one, doc{"name": "Late"}, 412, "precondition_failed")
	w.ok("DELETE /auth/passkeys/{id}", ada, "/auth/passkeys/"+second.String(t, "id"), nil, 204, "passkey.delete passkey")
	w.no("DELETE /auth/passkeys/{id}", ada, "/auth/passkeys/"+unknownID, nil, 404, "not_found")
	w.no("DELETE /auth/passkeys/{id}", ada.With("If-Match", `"999"`), one, nil, 412, "precondition_failed")
	id, bob := w.person(t)
	_, last := addPasskey(t, bob)
	execute(t, s, "UPDATE users SET password_hash = NULL WHERE id = $1", id)
	w.no("DELETE /auth/passkeys/{id}", bob, "/auth/passkeys/"+last.String(t, "id"), nil, 409, "last_credential")
}

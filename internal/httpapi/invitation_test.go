package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

const acceptPath = "/auth/invitations/accept"

// invited makes a pending account with an invitation by the caller, and returns its id and the token of the n-th mail.
func invited(t *testing.T, s *apptest.Service, by *apptest.Client, email string, roles ...string) (id, token string) {
	t.Helper()
	body := doc{"email": email, "send_invite": true}
	if len(roles) > 0 {
		body["roles"] = roles
	}
	id = by.POST(t, "/users", body).Want(t, http.StatusCreated).String(t, "id")
	return id, s.Mail.WaitFor(t, email, 1).Token()
}

func accept(t *testing.T, s *apptest.Service, token string) *apptest.Answer {
	t.Helper()
	return s.POST(t, acceptPath, doc{"token": token, "password": apptest.Password})
}

func TestInvitation(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	admin.POST(t, "/roles", doc{"name": "editor", "permissions": []string{"profiles:write"}}).Want(t, http.StatusCreated)
	admin.PATCH(t, "/users/me", doc{"display_name": "Ada\u202e <b>x.example</b>"}).Want(t, http.StatusOK)

	made := admin.POST(t, "/users", doc{"email": "bob@example.com", "send_invite": true, "roles": []string{"editor"}, "locale": "de"}).Want(t, http.StatusCreated)
	id := made.String(t, "id")
	require.Equal(t, "pending", made.String(t, "status"))
	require.Equal(t, []any{"editor"}, made.Get(t, "roles"), "the roles are there at once, so that edits of them are checked against it")
	first := s.Mail.WaitFor(t, "bob@example.com", 1)
	require.Contains(t, first.Text, "/accept-invitation#token=")
	require.Contains(t, first.Text, "Ada <b>x․example</b> hat Sie", "who invites is named, harmlessly")
	require.Contains(t, first.Text, "7 Tage")

	// An invitation is no password, and none for who is there already.
	for _, body := range []doc{
		{"email": "x@example.com", "send_invite": true, "password": apptest.Password},
		{"email": "x@example.com", "send_invite": true, "email_verified": true},
		{"kind": "service", "display_name": "x", "send_invite": true},
	} {
		admin.POST(t, "/users", body).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	}
	admin.POST(t, "/users", doc{"email": "bob@example.com", "send_invite": true}).Want(t, http.StatusConflict, "email_taken")

	// The newer kills the older.
	admin.POST(t, "/users/"+id+"/invite", nil).Want(t, http.StatusAccepted)
	second := s.Mail.WaitFor(t, "bob@example.com", 2)
	accept(t, s, first.Token()).Want(t, http.StatusBadRequest, "invalid_token")

	// REG-08: the address and the roles come from the invitation alone, and no verification mail was sent beside it.
	for _, more := range []string{"email", "roles", "email_verified", "status"} {
		s.POST(t, acceptPath, doc{"token": second.Token(), "password": apptest.Password, more: "admin"}).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	}
	s.POST(t, acceptPath, doc{"token": second.Token(), "password": "short"}).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	s.POST(t, acceptPath, doc{"token": second.Token(), "password": apptest.Password, "display_name": "Bob"}).Want(t, http.StatusNoContent)
	accept(t, s, second.Token()).Want(t, http.StatusBadRequest, "invalid_token")
	me := s.SignIn(t, "bob@example.com", apptest.Password).GET(t, "/users/me").Want(t, http.StatusOK)
	require.Equal(t, []any{"editor", "user"}, me.Get(t, "roles"))
	require.Equal(t, "Bob", me.String(t, "display_name"))
	require.Equal(t, true, me.Get(t, "email_verified"))
	require.Len(t, s.Mail.To("bob@example.com"), 2)

	for _, other := range []string{
		id, admin.POST(t, "/users", doc{"kind": "service", "display_name": "x"}).Want(t, http.StatusCreated).String(t, "id"),
	} {
		admin.POST(t, "/users/"+other+"/invite", nil).Want(t, http.StatusConflict, "already_exists")
	}
	events := admin.GET(t, "/audit-events?target_id="+id+"&action=invitation.create").Want(t, http.StatusOK)
	require.Len(t, events.Get(t, "data"), 2)
}

// AZ-03 for invitations: nobody hands over more than he has, neither at the creation nor by inviting anew.
func TestAZ03_Invitations(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	admin.POST(t, "/roles", doc{"name": "clerk", "permissions": []string{"users:write", "roles:assign"}}).Want(t, http.StatusCreated)
	_, clerk := s.Person(t, admin, "clerk@example.com", "clerk")
	clerk.POST(t, "/users", doc{"email": "x@example.com", "send_invite": true, "roles": []string{"admin"}}).Want(t, http.StatusForbidden, "privilege_escalation")
	id, _ := invited(t, s, admin, "boss@example.com", "admin")
	clerk.POST(t, "/users/"+id+"/invite", nil).Want(t, http.StatusForbidden, "privilege_escalation")
	require.Len(t, s.Mail.To("boss@example.com"), 1)
	require.Empty(t, s.Mail.To("x@example.com"))
}

// An invitation is as good as who made it: what keeps him out, or takes what he gave, voids it, however it comes about.
func TestInvitationsAreVoidWithoutTheirInviter(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	roleID := func(name string, permissions ...string) string {
		return admin.POST(t, "/roles", doc{"name": name, "permissions": permissions}).Want(t, http.StatusCreated).String(t, "id")
	}
	manager, editor := roleID("manager", "users:write", "roles:assign"), roleID("editor", "profiles:write")
	for name, void := range map[string]func(id string){
		"suspended": func(id string) {
			admin.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, http.StatusOK)
		},
		"suspended and back": func(id string) {
			admin.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, http.StatusOK)
			admin.POST(t, "/users/"+id+"/reactivate", nil).Want(t, http.StatusOK)
		},
		"deleted":                 func(id string) { admin.DELETE(t, "/users/"+id).Want(t, http.StatusNoContent) },
		"no longer a manager":     func(id string) { admin.DELETE(t, "/users/"+id+"/roles/"+manager).Want(t, http.StatusNoContent) },
		"without the role itself": func(id string) { admin.DELETE(t, "/users/"+id+"/roles/"+editor).Want(t, http.StatusNoContent) },
		"until an hour ago": func(id string) {
			execute(t, s, `UPDATE user_roles SET expires_at = now() - interval '1 hour' WHERE user_id = $1 AND role_id = $2`, id, manager)
		},
	} {
		inviter, by := s.Person(t, admin, "by-"+word(name)+"@example.com", "manager", "editor")
		id, token := invited(t, s, by, "to-"+word(name)+"@example.com", "editor")
		void(inviter)
		accept(t, s, token).Want(t, http.StatusBadRequest, "invalid_token")
		s.POST(t, acceptPath, doc{"token": token, "password": "short"}).Want(t, http.StatusBadRequest, "invalid_token")
		require.Equal(t, "pending", admin.GET(t, "/users/"+id).Want(t, http.StatusOK).String(t, "status"), name)

		admin.POST(t, "/users/"+id+"/invite", nil).Want(t, http.StatusAccepted)
		accept(t, s, s.Mail.WaitFor(t, "to-"+word(name)+"@example.com", 2).Token()).Want(t, http.StatusNoContent)
	}

	// What somebody else gives the account beside it is no concern of the inviter's.
	_, by := s.Person(t, admin, "by@example.com", "manager")
	id, token := invited(t, s, by, "to@example.com")
	admin.PUT(t, "/users/"+id+"/roles/"+editor, nil).Want(t, http.StatusNoContent)
	accept(t, s, token).Want(t, http.StatusNoContent)
}

// word makes the name of a case fit for an address.
func word(name string) string { return strings.ReplaceAll(name, " ", "-") }

// What voids an invitation is not got around by another proof of the same mailbox: its owner gets in, as a mere user.
func TestVoidInvitationsGiveNoRoles(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_MAGIC_LINK=true", "UMS_RATE_LIMIT_ADDRESS=off"))
	admin := s.Admin(t)
	roleID := func(name string, permissions ...string) string {
		return admin.POST(t, "/roles", doc{"name": name, "permissions": permissions}).Want(t, http.StatusCreated).String(t, "id")
	}
	manager, _ := roleID("manager", "users:write", "roles:assign"), roleID("editor", "profiles:write")

	doors := map[string]func(email string){
		"reset": func(email string) {
			s.POST(t, "/auth/password/forgot", doc{"email": email}).Want(t, http.StatusAccepted)
			s.POST(t, "/auth/password/reset", doc{"token": s.Mail.WaitFor(t, email, 2).Token(), "new_password": apptest.Password}).Want(t, http.StatusNoContent)
		},
		"magic link": func(email string) {
			s.POST(t, "/auth/magic-link", doc{"email": email}).Want(t, http.StatusAccepted)
			s.POST(t, "/auth/magic-link/verify", doc{"token": s.Mail.WaitFor(t, email, 2).Token()}).Want(t, http.StatusOK)
		},
		"registration": func(email string) {
			s.POST(t, "/auth/register", doc{"email": email, "password": apptest.Password}).Want(t, http.StatusAccepted)
			s.POST(t, "/auth/email/verify", doc{"token": s.Mail.WaitFor(t, email, 2).Token(), "password": apptest.Password}).Want(t, http.StatusNoContent)
		},
	}
	nothing := func(string, string) {}
	suspend := func(inviter, _ string) {
		admin.POST(t, "/users/"+inviter+"/suspend", doc{"reason": "x"}).Want(t, http.StatusOK)
	}
	for name, c := range map[string]struct {
		void  func(inviter, invited string)
		door  string
		roles []any
	}{
		"good reset":             {nothing, "reset", []any{"editor", "user"}},
		"good magic link":        {nothing, "magic link", []any{"editor", "user"}},
		"good registration":      {nothing, "registration", []any{"editor", "user"}},
		"suspended reset":        {suspend, "reset", []any{"user"}},
		"suspended magic link":   {suspend, "magic link", []any{"user"}},
		"suspended registration": {suspend, "registration", []any{"user"}},
		"suspended and back": {func(inviter, _ string) {
			suspend(inviter, "")
			admin.POST(t, "/users/"+inviter+"/reactivate", nil).Want(t, http.StatusOK)
		}, "reset", []any{"user"}},
		"deleted": {func(inviter, _ string) {
			admin.DELETE(t, "/users/"+inviter).Want(t, http.StatusNoContent)
		}, "reset", []any{"user"}},
		"demoted": {func(inviter, _ string) {
			admin.DELETE(t, "/users/"+inviter+"/roles/"+manager).Want(t, http.StatusNoContent)
		}, "registration", []any{"user"}},
		"expired and demoted": {func(inviter, invited string) {
			execute(t, s, `UPDATE one_time_tokens SET expires_at = now() - interval '1 second' WHERE user_id = $1`, invited)
			admin.DELETE(t, "/users/"+inviter+"/roles/"+manager).Want(t, http.StatusNoContent)
		}, "reset", []any{"user"}},
		"kept out and in again": {func(inviter, invited string) {
			admin.POST(t, "/users/"+invited+"/suspend", doc{"reason": "x"}).Want(t, http.StatusOK)
			admin.POST(t, "/users/"+invited+"/reactivate", nil).Want(t, http.StatusOK)
			suspend(inviter, "")
		}, "reset", []any{"user"}},
		"another vouches": {func(inviter, invited string) {
			suspend(inviter, "")
			admin.POST(t, "/users/"+invited+"/invite", nil).Want(t, http.StatusAccepted)
		}, "", []any{"editor", "user"}},
	} {
		inviter, by := s.Person(t, admin, "by-"+word(name)+"@example.com", "manager", "editor")
		email := "to-" + word(name) + "@example.com"
		id, _ := invited(t, s, by, email, "editor")
		c.void(inviter, id)
		if c.door == "" {
			accept(t, s, s.Mail.WaitFor(t, email, 2).Token()).Want(t, http.StatusNoContent)
		} else {
			doors[c.door](email)
		}
		account := admin.GET(t, "/users/"+id).Want(t, http.StatusOK)
		require.Equal(t, "active", account.String(t, "status"), name)
		require.Equal(t, c.roles, account.Get(t, "roles"), name)
	}
}

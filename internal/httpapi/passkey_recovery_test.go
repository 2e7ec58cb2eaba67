package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
)

// REG-05: whoever registered somebody else's address keeps no way in when its owner takes the account.
func TestREG05_PasskeysOfANeverProvenAccountDieInItsRecovery(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_EMAIL_VERIFICATION=optional"))
	const mine = "owner@reg05.test"
	s.POST(t, "/auth/register", doc{"email": mine, "password": apptest.Password}).Want(t, 201)
	thief := s.SignIn(t, mine, apptest.Password)
	key, _ := addPasskey(t, thief)
	signInWith(t, s, key).Want(t, 200)
	open := offer(t, s.Client)
	started := thief.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)

	s.POST(t, "/auth/password/forgot", doc{"email": mine}).Want(t, 202)
	mail, err := s.Mail.Wait(t.Context(), func(m mailtest.Message) bool { return m.To == mine && strings.Contains(m.Text, "/reset-password#") })
	require.NoError(t, err)
	token := mail.Token()
	s.POST(t, "/auth/password/reset", doc{"token": token, "new_password": "amber lighthouse hums softly"}).Want(t, 204)
	s.POST(t, "/auth/passkeys/login", doc{"credential": key.Get(t, open)}).Want(t, 401, "invalid_credentials")
	thief.POST(t, "/auth/passkeys/registration", doc{"credential": apptest.NewAuthenticator(t).Create(t, started)}).Want(t, 401, "invalid_access_token")
	owner := s.SignIn(t, mine, "amber lighthouse hums softly")
	require.Equal(t, false, owner.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"))
	require.Empty(t, owner.GET(t, "/auth/passkeys").Want(t, 200).Get(t, "data"))
}

// What somebody proves again with a passkey counts for this session, and is good for what needs a recent authentication.
func TestReauthenticationByPasskey(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	_, ada := s.Person(t, root, "ada@again.test")
	_, bob := s.Person(t, root, "bob@again.test")
	key, made := addPasskey(t, ada)
	others, _ := addPasskey(t, bob)
	options := func(c *apptest.Client) *apptest.Answer {
		return c.POST(t, "/auth/passkeys/reauthentication/options", nil).Want(t, 200)
	}
	again := func(c *apptest.Client, credential any) *apptest.Answer {
		return c.POST(t, "/auth/reauthenticate", doc{"method": "passkey", "credential": credential})
	}
	second := s.Bearer(signInWith(t, s, key).Want(t, 200).String(t, "access_token"))
	require.Len(t, options(ada).Get(t, "publicKey.allowCredentials"), 1)

	again(ada, others.Get(t, options(ada))).Want(t, 401, "invalid_credentials")
	again(ada, key.Get(t, options(bob))).Want(t, 401, "invalid_credentials")
	again(ada, key.Get(t, options(second))).Want(t, 401, "invalid_credentials") // another session of the same person
	again(ada, key.Get(t, offer(t, s.Client))).Want(t, 401, "invalid_credentials")
	s.POST(t, "/auth/passkeys/login", doc{"credential": key.Get(t, options(ada))}).Want(t, 401, "invalid_credentials")
	ada.POST(t, "/auth/reauthenticate", doc{"method": "passkey"}).Want(t, 422, "validation_failed")
	ada.POST(t, "/auth/reauthenticate", doc{"method": "passkey", "credential": doc{}, "password": apptest.Password}).Want(t, 422, "validation_failed")
	ada.POST(t, "/auth/reauthenticate", doc{"credential": doc{}}).Want(t, 422, "validation_failed")

	execute(t, s, "UPDATE sessions SET auth_time = now() - interval '1 hour'")
	s.Clock.Advance(2 * time.Second) // what the replica remembers of a session
	path := "/auth/passkeys/" + made.String(t, "id")
	ada.PATCH(t, path, doc{"name": "Phone"}).Want(t, 403, "reauthentication_required")
	credential := key.Get(t, options(ada))
	tokens := again(ada, credential).Want(t, 200)
	require.Equal(t, "aal2", claims(t, tokens)["acr"])
	require.Equal(t, []any{"hwk", "user", "mfa"}, claims(t, tokens)["amr"])
	s.Bearer(tokens.String(t, "access_token")).PATCH(t, path, doc{"name": "Phone"}).Want(t, 200)
	second.PATCH(t, path, doc{"name": "Mine"}).Want(t, 403, "reauthentication_required")
	again(ada, credential).Want(t, 401, "invalid_credentials")
	clone := *key
	clone.Count = 0
	again(ada, clone.Get(t, options(ada))).Want(t, 401, "invalid_credentials")
	require.Len(t, root.GET(t, "/audit-events?action=passkey.clone").Want(t, 200).Get(t, "data"), 1)
}

// An administrator's reset takes passkeys as well as other factors, and what was begun with them.
func TestResetOfFactorsTakesPasskeys(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	id, ada := s.Person(t, root, "ada@reset.test")
	key, _ := addPasskey(t, ada)
	ticket := s.POST(t, "/auth/login", doc{"email": "ada@reset.test", "password": apptest.Password}).Want(t, 403, "mfa_required").String(t, "mfa_token")
	begun := s.POST(t, "/auth/passkeys/login/options", doc{"mfa_token": ticket}).Want(t, 200)
	root.DELETE(t, "/users/"+id+"/mfa").Want(t, 204)
	require.Equal(t, 401, s.POST(t, "/auth/passkeys/login", doc{"credential": key.Get(t, begun), "mfa_token": ticket}).Status)
	signInWith(t, s, key).Want(t, 401, "invalid_credentials")
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	ada = s.SignIn(t, "ada@reset.test", apptest.Password)
	require.Equal(t, false, ada.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"))
}

// Last admin: a passkey is a usable credential, and the reset of factors may not take the last one of them.
func TestAdministratorsMayHavePasskeysOnly(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	id, ada := s.Person(t, root, "ada@admins.test", "admin")
	addPasskey(t, ada)
	execute(t, s, "UPDATE users SET password_hash = NULL WHERE id = $1", id)
	root.DELETE(t, "/users/me").Want(t, 204)
	ada.DELETE(t, "/users/"+id+"/mfa").Want(t, 409, "last_admin")
	ada.DELETE(t, "/users/me").Want(t, 409, "last_admin")
}

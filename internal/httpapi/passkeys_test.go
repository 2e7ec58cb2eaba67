package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
)

// addPasskey registers a new authenticator's passkey for the caller.
func addPasskey(t *testing.T, c *apptest.Client, change ...func(*apptest.Authenticator)) (*apptest.Authenticator, *apptest.Answer) {
	t.Helper()
	a := apptest.NewAuthenticator(t)
	for _, f := range change {
		f(a)
	}
	options := c.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)
	return a, c.POST(t, "/auth/passkeys/registration", doc{"credential": a.Create(t, options)}).Want(t, 201)
}

// offer asks for options of a sign-in.
func offer(t *testing.T, c *apptest.Client) *apptest.Answer {
	t.Helper()
	return c.POST(t, "/auth/passkeys/login/options", nil).Want(t, 200)
}

func signInWith(t *testing.T, s *apptest.Service, a *apptest.Authenticator) *apptest.Answer {
	t.Helper()
	return s.POST(t, "/auth/passkeys/login", doc{"credential": a.Get(t, offer(t, s.Client)), "device_name": "Phone"})
}

// claims are what an access token says.
func claims(t *testing.T, tokens *apptest.Answer) map[string]any {
	t.Helper()
	part := strings.Split(tokens.String(t, "access_token"), ".")[1]
	text, err := base64.RawURLEncoding.DecodeString(part)
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

func TestPasskeySignsInByItself(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	id, ada := s.Person(t, s.Admin(t), "ada@passkeys.test")
	require.Contains(t, s.GET(t, "/auth/config").Get(t, "methods"), "passkey")

	options := ada.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)
	for path, want := range map[string]any{
		"publicKey.rp.id": "localhost", "publicKey.rp.name": "UMS", "publicKey.user.name": "ada@passkeys.test",
		"publicKey.user.displayName": "ada@passkeys.test", "publicKey.attestation": "none", "publicKey.timeout": 300000.0,
		"publicKey.authenticatorSelection.residentKey": "required", "publicKey.authenticatorSelection.userVerification": "required",
		"publicKey.excludeCredentials": nil,
	} {
		require.Equal(t, want, options.Get(t, path), path)
	}
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(options.String(t, "publicKey.challenge"))
	require.NoError(t, err)
	require.Len(t, challenge, 32)

	key := apptest.NewAuthenticator(t)
	made := ada.POST(t, "/auth/passkeys/registration", doc{"credential": key.Create(t, options), "name": "Ada's phone"}).Want(t, 201)
	require.Equal(t, "/api/v1/auth/passkeys/"+made.String(t, "id"), made.Header.Get("Location"))
	require.Equal(t, `"1"`, made.Header.Get("ETag"))
	require.Equal(t, "Ada's phone", made.String(t, "name"))
	require.Equal(t, []any{"internal"}, made.Get(t, "transports"))
	require.Contains(t, s.Mail.WaitFor(t, "ada@passkeys.test", 1).Text, "Ada's phone")
	again := ada.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(key.ID), again.String(t, "publicKey.excludeCredentials.0.id"))

	options = offer(t, s.Bearer("broken"))
	require.Equal(t, "localhost", options.String(t, "publicKey.rpId"))
	require.Equal(t, "required", options.String(t, "publicKey.userVerification"))
	require.Nil(t, options.Get(t, "publicKey.allowCredentials"), "nobody has said who he is")
	tokens := s.POST(t, "/auth/passkeys/login", doc{"credential": key.Get(t, options), "device_name": "Phone"}).Want(t, 200)
	said := claims(t, tokens)
	require.Equal(t, id, said["sub"])
	require.Equal(t, "aal2", said["acr"])
	require.Equal(t, []any{"hwk", "user", "mfa"}, said["amr"])
	cookie := s.POST(t, "/auth/passkeys/login", doc{"credential": key.Get(t, offer(t, s.Client)), "cookie": true}).Want(t, 200)
	require.Empty(t, cookie.String(t, "refresh_token"))
	require.Contains(t, cookie.Header.Get("Set-Cookie"), "HttpOnly")
	in := s.Bearer(tokens.String(t, "access_token"))
	require.Equal(t, true, in.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"))
	require.Equal(t, "Phone", in.GET(t, "/auth/sessions").Want(t, 200).String(t, "data.1.device_name"))
	listed := in.GET(t, "/auth/passkeys").Want(t, 200)
	require.Equal(t, made.String(t, "id"), listed.String(t, "data.0.id"))
	require.NotEmpty(t, listed.String(t, "data.0.last_used_at"))
}

func TestPasskeysAreListedNamedAndRemoved(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, ada := s.Person(t, s.Admin(t), "ada@keyring.test")
	_, first := addPasskey(t, ada)
	_, second := addPasskey(t, ada)
	require.Equal(t, "Passkey", first.String(t, "name"))
	page := ada.GET(t, "/auth/passkeys?limit=1").Want(t, 200)
	require.Equal(t, second.String(t, "id"), page.String(t, "data.0.id"), "the newest first")
	page = ada.GET(t, "/auth/passkeys?limit=1&cursor="+page.String(t, "next_cursor")).Want(t, 200)
	require.Equal(t, first.String(t, "id"), page.String(t, "data.0.id"))
	require.Nil(t, page.Get(t, "next_cursor"))

	path := "/auth/passkeys/" + first.String(t, "id")
	named := ada.With("If-Match", `"1"`).PATCH(t, path, doc{"name": "Laptop"}).Want(t, 200)
	require.Equal(t, "Laptop", named.String(t, "name"))
	require.Equal(t, `"2"`, named.Header.Get("ETag"))
	require.Equal(t, `"2"`, ada.PATCH(t, path, doc{}).Want(t, 200).Header.Get("ETag"), "nothing changed")
	ada.PATCH(t, path, doc{"name": nil}).Want(t, 422, "validation_failed")
	ada.With("If-Match", `"1"`).PATCH(t, path, doc{"name": "Phone"}).Want(t, 412, "precondition_failed")
	ada.With("If-Match", `"1"`).DELETE(t, path).Want(t, 412, "precondition_failed")
	ada.With("If-Match", `"2"`).DELETE(t, path).Want(t, 204)
	ada.DELETE(t, path).Want(t, 404, "not_found")
	s.Mail.WaitFor(t, "ada@keyring.test", 3)
	told := slices.ContainsFunc(s.Mail.To("ada@keyring.test"), func(m mailtest.Message) bool {
		return strings.Contains(m.Subject, "removed") && strings.Contains(m.Text, "Laptop")
	})
	require.True(t, told)
}

func TestPasskeyThatMovesBetweenDevicesSaysSo(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, ada := s.Person(t, s.Admin(t), "ada@cloud.test")
	key, made := addPasskey(t, ada, func(a *apptest.Authenticator) {
		a.Flags |= apptest.BackupEligible
		a.Count = 0 // such ones do not count
	})
	require.Equal(t, true, made.Get(t, "backup_eligible"))
	require.Equal(t, false, made.Get(t, "backed_up"))
	path := "/auth/passkeys/" + made.String(t, "id")
	for range 2 {
		tokens := signInWith(t, s, key).Want(t, 200)
		require.Equal(t, []any{"swk", "user", "mfa"}, claims(t, tokens)["amr"])
		require.Equal(t, `"1"`, ada.PATCH(t, path, doc{}).Want(t, 200).Header.Get("ETag"), "a use is no new version")
	}
	key.Flags |= apptest.BackedUp
	signInWith(t, s, key).Want(t, 200)
	now := ada.PATCH(t, path, doc{}).Want(t, 200)
	require.Equal(t, `"2"`, now.Header.Get("ETag"))
	require.Equal(t, true, now.Get(t, "backed_up"))
	key.Flags &^= apptest.BackupEligible | apptest.BackedUp
	signInWith(t, s, key).Want(t, 401, "invalid_credentials")
}

func TestFirstPasskeyEndsTheOtherSessions(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, ada := s.Person(t, s.Admin(t), "ada@first.test")
	other := s.SignIn(t, "ada@first.test", apptest.Password)
	key, _ := addPasskey(t, ada)
	other.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	other = s.Bearer(signInWith(t, s, key).Want(t, 200).String(t, "access_token"))
	addPasskey(t, ada) // the session counts as strong as the account now
	other.GET(t, "/users/me").Want(t, 200)
	demand := s.POST(t, "/auth/login", doc{"email": "ada@first.test", "password": apptest.Password}).Want(t, 403, "mfa_required")
	require.Equal(t, []any{"passkey"}, demand.Get(t, "factors"))
}

func TestPasskeyPageIsForDevelopment(t *testing.T) {
	t.Parallel()
	common(t).GET(t, "/dev/passkeys").Want(t, 200)
	s := apptest.Start(t, apptest.Env("UMS_ENV=production", "UMS_BOOTSTRAP_ADMIN_PASSWORD="))
	for _, path := range []string{"/dev/passkeys", "/dev/passkeys/passkeys.js", "/dev/passkeys/pages.css"} {
		s.GET(t, path).Want(t, 404, "not_found")
	}
}

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// TestUserWorkflow is what one person does with the service, from sign-up to deletion.
func TestUserWorkflow(t *testing.T) {
	t.Parallel()
	p := start(t)
	admin := p.admin(t)

	t.Run("from sign-up to deletion", func(t *testing.T) {
		t.Parallel()
		const email, password = "ada@example.org", "quiet lanterns drift home"
		p.register(t, "Ada@Example.ORG", password, "display_name", "Ada Lovelace")
		p.login(t, email, password).Want(t, 403, "email_unverified")
		p.login(t, email, apptest.Password).Want(t, 401, "invalid_credentials")

		mail := p.mailTo(t, "Ada@example.org", 1)
		require.Equal(t, "Confirm your e-mail address for UMS", mail.Subject)
		require.Equal(t, "http://localhost:8080/verify-email#token="+mail.Token(), link(mail))
		require.Len(t, mail.Recipients, 1)
		require.Contains(t, mail.HTML, mail.Token())
		require.NotContains(t, mail.Raw, password)
		for range 3 { // OTT-02: looking consumes nothing
			require.Contains(t, string(p.GET(t, "/verify-email").Want(t, 200).Body), "<script")
		}
		proof := doc{"token": mail.Token(), "password": apptest.Password}
		p.POST(t, "/auth/email/verify", proof).Want(t, 401, "invalid_credentials")
		proof["password"] = password
		p.POST(t, "/auth/email/verify", proof).Want(t, 204)
		p.POST(t, "/auth/email/verify", proof).Want(t, 204) // holds, and changes nothing

		p.login(t, " ", password).Want(t, 401, "invalid_credentials")
		a := p.POST(t, "/auth/login", doc{"email": "ADA@example.org", "password": password, "device_name": "Ada's phone"})
		first := p.tokens(t, a)
		require.Equal(t, "Bearer", a.String(t, "token_type"))
		require.InDelta(t, 300, a.Get(t, "expires_in"), 1)
		require.InDelta(t, 14*24*3600, a.Get(t, "refresh_expires_in"), 60)
		phone := p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": first.refresh}))
		require.Equal(t, first.session, phone.session)
		require.NotEqual(t, first.refresh, phone.refresh)

		a = phone.GET(t, "/users/me").Want(t, 200)
		id := a.String(t, "id")
		require.Equal(t, doc{
			"id": id, "kind": "human", "email": "Ada@example.org", "email_verified": true, "display_name": "Ada Lovelace",
			"locale": nil, "timezone": nil, "status": "active", "roles": []any{"user"}, "metadata": doc{}, "app_metadata": doc{},
			"external_id": nil, "mfa_enabled": false, "last_login_at": a.Get(t, "last_login_at"),
			"created_at": a.Get(t, "created_at"), "updated_at": a.Get(t, "updated_at"),
		}, a.JSON(t))
		checkClaims(t, p, phone, id)

		changesHerself(t, phone, a.Header.Get("ETag"))
		changesHerProfile(t, phone, id)
		endsSessions(t, p, phone, email, password)

		phone.POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}).Want(t, 401, "invalid_credentials")
		again := p.tokens(t, phone.POST(t, "/auth/reauthenticate", doc{"password": password}))
		require.Equal(t, phone.refresh, again.refresh, "not rotated")
		require.Equal(t, phone.session, again.session)

		again.POST(t, "/auth/logout", nil).Want(t, 204)
		again.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		p.POST(t, "/auth/refresh", doc{"refresh_token": again.refresh}).Want(t, 401, "invalid_refresh_token")
		again.POST(t, "/auth/logout", nil).Want(t, 204)
		p.POST(t, "/auth/logout", doc{"refresh_token": again.refresh}).Want(t, 204)
		p.POST(t, "/auth/logout", nil).Want(t, 204)

		last := p.signIn(t, email, password)
		last.DELETE(t, "/users/me").Want(t, 204)
		last.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		p.login(t, email, password).Want(t, 401, "invalid_credentials")
		admin.GET(t, "/users/"+id).Want(t, 404, "not_found")

		// AUD-02: each step once. What she did stays, who she was does not.
		mine := admin.events(t, "actor_id", id)
		require.Equal(t, map[string]int{
			"auth.register": 1, "auth.verify_email": 1, "auth.login": 4, "session.refresh": 1, "user.update": 3,
			"profile.update": 2, "session.end": 3, "auth.reauthenticate": 1, "auth.reauthenticate failure": 1, "user.delete": 1,
		}, acts(mine))
		for _, e := range mine {
			require.NotEmpty(t, e["request_id"])
			require.Equal(t, "user", e["actor"].(doc)["type"])
			require.Nil(t, e["actor"].(doc)["label"])
			require.Nil(t, e["ip"])
			require.Empty(t, e["changes"])
		}
		failed := admin.events(t, "target_id", id, "outcome", "failure")
		require.Equal(t, map[string]int{"auth.login failure": 2, "auth.verify_email failure": 1}, acts(failed))
		require.Zero(t, p.count(t, "SELECT count(*) FROM audit_personal WHERE label ILIKE '%ada@%' OR changes::text ILIKE '%lovelace%'"))

		// AZ-13: who comes back under the address is somebody else.
		p.register(t, email, password)
		p.POST(t, "/auth/email/verify", doc{"token": p.mailTo(t, email, 1).Token(), "password": password}).Want(t, 204)
		require.NotEqual(t, id, p.signIn(t, email, password).GET(t, "/users/me").Want(t, 200).String(t, "id"))
	})

	t.Run("verified by code", func(t *testing.T) {
		t.Parallel()
		const email = "code@example.org"
		registration := p.register(t, email, apptest.Password)
		mail := p.mailTo(t, email, 1)
		wrong := "00000000"
		if mail.Code() == wrong {
			wrong = "11111111"
		}
		p.POST(t, "/auth/email/verify", doc{"code": wrong, "registration_id": registration}).Want(t, 400, "invalid_token")
		p.POST(t, "/auth/email/verify", doc{"code": mail.Code(), "registration_id": registration[1:] + "A"}).Want(t, 400, "invalid_token")
		p.POST(t, "/auth/email/verify", doc{"code": mail.Code()}).Want(t, 422, "validation_failed")
		p.POST(t, "/auth/email/verify", doc{"code": mail.Code(), "registration_id": registration}).Want(t, 204)
		p.signIn(t, email, apptest.Password)
	})

	t.Run("verified by link on the device that registered", func(t *testing.T) {
		t.Parallel()
		const email = "link@example.org"
		registration := p.register(t, email, apptest.Password)
		first := p.mailTo(t, email, 1)
		p.POST(t, "/auth/email/verification", doc{"email": email, "registration_id": registration}).Want(t, 202)
		second := p.mailTo(t, email, 2)
		// OTT-07: the newer one kills the older.
		p.POST(t, "/auth/email/verify", doc{"token": first.Token(), "registration_id": registration}).Want(t, 400, "invalid_token")
		p.POST(t, "/auth/email/verify", doc{"token": second.Token(), "registration_id": registration}).Want(t, 204)
		p.signIn(t, email, apptest.Password)
	})

	t.Run("REG-05 the first proof wins, the other claims die", func(t *testing.T) {
		t.Parallel()
		const email, attackers, owners = "both@example.org", "stolen harbours at midnight", "my own harbour at dawn"
		theirs := p.register(t, email, attackers)
		p.mailTo(t, email, 1)
		p.register(t, email, owners)
		mine := p.mailTo(t, email, 2)
		p.POST(t, "/auth/email/verify", doc{"token": mine.Token(), "registration_id": theirs}).Want(t, 400, "invalid_token")
		p.POST(t, "/auth/email/verify", doc{"token": mine.Token(), "password": attackers}).Want(t, 401, "invalid_credentials")
		p.POST(t, "/auth/email/verify", doc{"token": mine.Token(), "password": owners}).Want(t, 204)
		p.login(t, email, attackers).Want(t, 401, "invalid_credentials")
		p.signIn(t, email, owners)
	})

	t.Run("mails in German", func(t *testing.T) {
		t.Parallel()
		const email = "zoe@example.org"
		p.register(t, email, apptest.Password, "locale", "de-at", "display_name", "Zoë")
		mail := p.mailTo(t, email, 1)
		require.Equal(t, "Bestätigen Sie Ihre E-Mail-Adresse für UMS", mail.Subject)
		require.Contains(t, mail.Text, "Guten Tag Zoë")
		require.Contains(t, mail.Text, "24 Stunden")
		require.Contains(t, mail.HTML, `<html lang="de">`)
		p.POST(t, "/auth/email/verify", doc{"token": mail.Token(), "password": apptest.Password}).Want(t, 204)
		p.register(t, email, "another good passphrase") // somebody, or she herself, tries once more
		require.Contains(t, p.mailTo(t, email, 2).Text, "Guten Tag Zoë")
		require.Equal(t, "de-AT", p.signIn(t, email, apptest.Password).GET(t, "/users/me").Want(t, 200).String(t, "locale"))
	})
}

// checkClaims reads the access token as another program would.
func checkClaims(t *testing.T, p *process, s *signedIn, id string) {
	t.Helper()
	part := func(i int) (v doc) {
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(s.access, ".")[i])
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, &v))
		return v
	}
	header, claims := part(0), part(1)
	require.Equal(t, "at+jwt", header["typ"])
	require.Equal(t, "EdDSA", header["alg"])
	keys := p.GET(t, "/.well-known/jwks.json").Want(t, 200)
	require.Contains(t, string(keys.Body), header["kid"])
	require.NotContains(t, string(keys.Body), `"d"`)
	for name, want := range map[string]any{
		"iss": "http://localhost:8080", "sub": id, "client_id": "ums", "sid": s.session, "acr": "aal1", "amr": []any{"pwd"}, "roles": []any{"user"},
	} {
		require.Equal(t, want, claims[name], name)
	}
	for _, name := range []string{"aud", "exp", "iat", "jti", "auth_time"} {
		require.Contains(t, claims, name)
	}
}

// changesHerself leaves three changes.
func changesHerself(t *testing.T, s *signedIn, tag string) {
	t.Helper()
	me := s.With("If-None-Match", tag).GET(t, "/users/me").Want(t, 304)
	require.Empty(t, me.Body)
	a := s.With("If-Match", tag).PATCH(t, "/users/me", doc{
		"display_name": "Ada", "timezone": "Europe/London", "metadata": doc{"theme": "dark", "seen": doc{"tour": true, "news": 1}},
	}).Want(t, 200)
	require.NotEqual(t, tag, a.Header.Get("ETag"))
	s.With("If-Match", tag).PATCH(t, "/users/me", doc{"display_name": "Eve"}).Want(t, 412, "precondition_failed")
	s.With("If-Match", tag).DELETE(t, "/users/me").Want(t, 412, "precondition_failed")
	a = s.With("If-Match", a.Header.Get("ETag")).With("Content-Type", "application/merge-patch+json").
		PATCH(t, "/users/me", doc{"timezone": nil, "metadata": doc{"theme": nil, "seen": doc{"news": 2}}}).Want(t, 200)
	require.Nil(t, a.Get(t, "timezone"))
	require.Equal(t, doc{"seen": doc{"tour": true, "news": 2.0}}, a.Get(t, "metadata"))
	s.PATCH(t, "/users/me", doc{"status": "suspended", "roles": []string{"admin"}}).Want(t, 422, "validation_failed") // REG-08
	same := s.PATCH(t, "/users/me", doc{"display_name": "Ada"}).Want(t, 200)
	require.Equal(t, a.Header.Get("ETag"), same.Header.Get("ETag"), "nothing changed")
	s.PATCH(t, "/users/me", doc{"metadata": nil}).Want(t, 200)
}

// changesHerProfile leaves two changes.
func changesHerProfile(t *testing.T, s *signedIn, id string) {
	t.Helper()
	a := s.GET(t, "/profiles/me").Want(t, 200)
	require.Nil(t, a.Get(t, "given_name"))
	require.Equal(t, "private", a.Get(t, "visibility"))
	a = s.With("If-Match", a.Header.Get("ETag")).PUT(t, "/profiles/me", doc{
		"given_name": "Ada", "family_name": "Lovelace", "bio": "First line\nsecond", "phone": "+442071234567", "birth_date": "1985-12-10",
		"address": doc{"locality": "London", "country": "GB"}, "social_links": doc{"blog": "https://ada.example/"}, "visibility": "public",
	}).Want(t, 200)
	stale := a.Header.Get("ETag")
	a = s.PATCH(t, "/profiles/me", doc{"phone": nil, "address": doc{"locality": nil}, "nickname": "Countess"}).Want(t, 200)
	require.Nil(t, a.Get(t, "phone"))
	require.Equal(t, "GB", a.Get(t, "address.country"))
	require.Equal(t, "Countess", a.Get(t, "nickname"))
	s.With("If-Match", stale).PATCH(t, "/profiles/me", doc{"nickname": "x"}).Want(t, 412, "precondition_failed")
	require.Equal(t, a.JSON(t), s.GET(t, "/profiles/"+id).Want(t, 200).JSON(t))
}

// endsSessions signs in on two more devices and leaves the first one alone.
func endsSessions(t *testing.T, p *process, s *signedIn, email, password string) {
	t.Helper()
	laptop, tablet := p.signIn(t, email, password), p.signIn(t, email, password)
	list := rows(t, s.GET(t, "/auth/sessions?sort=created_at").Want(t, 200))
	require.Equal(t, []string{s.session, laptop.session, tablet.session}, column(list, "id"))
	require.Equal(t, "Ada's phone", list[0]["device_name"])
	require.Equal(t, true, list[0]["current"])
	require.Equal(t, false, list[1]["current"])
	require.Equal(t, "127.0.0.1", list[0]["ip"])
	s.DELETE(t, "/auth/sessions/"+laptop.session).Want(t, 204)
	laptop.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	p.POST(t, "/auth/refresh", doc{"refresh_token": laptop.refresh}).Want(t, 401, "invalid_refresh_token")
	s.DELETE(t, "/auth/sessions/"+laptop.session).Want(t, 404, "not_found")
	s.DELETE(t, "/auth/sessions").Want(t, http.StatusNoContent)
	tablet.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	require.Len(t, rows(t, s.GET(t, "/auth/sessions").Want(t, 200)), 1)
}

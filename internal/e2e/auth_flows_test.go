package e2e

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// TestAuthFlows is signing in, refused and refreshed, in every way but the straight one.
func TestAuthFlows(t *testing.T) {
	t.Parallel()
	p := start(t)
	admin := p.admin(t)

	t.Run("a lost answer is repeated within the grace", func(t *testing.T) {
		t.Parallel()
		_, first := p.person(t, admin, "grace@example.org")
		next := p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": first.refresh}))
		again := p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": first.refresh}))
		require.Equal(t, next.refresh, again.refresh)
		require.NotEqual(t, next.access, again.access)
		for _, s := range []*signedIn{first, next, again} {
			s.GET(t, "/users/me").Want(t, 200)
		}
		p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": next.refresh}))
	})

	t.Run("TOK-02 a token that comes back ends its session", func(t *testing.T) {
		t.Parallel()
		for name, comesBack := range map[string]func(t *testing.T, first *signedIn) *signedIn{
			"grandparent": func(t *testing.T, first *signedIn) *signedIn {
				second := p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": first.refresh}))
				return p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": second.refresh}))
			},
			"parent-after-the-grace": func(t *testing.T, first *signedIn) *signedIn {
				second := p.tokens(t, p.POST(t, "/auth/refresh", doc{"refresh_token": first.refresh}))
				p.execute(t, "UPDATE sessions SET rotated_at = rotated_at - interval '11 seconds' WHERE id = $1", first.session)
				return second
			},
		} {
			email := name + "@example.org"
			id, first := p.person(t, admin, email)
			other := p.signIn(t, email, apptest.Password)
			newest := comesBack(t, first)
			refusal := p.POST(t, "/auth/refresh", doc{"refresh_token": first.refresh}).Want(t, 401, "invalid_refresh_token")
			alike(t, refusal, p.POST(t, "/auth/refresh", doc{"refresh_token": newest.refresh}).Want(t, 401, "invalid_refresh_token"))
			alike(t, refusal, p.POST(t, "/auth/refresh", doc{"refresh_token": "garbage"}).Want(t, 401, "invalid_refresh_token"))
			newest.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
			other.GET(t, "/users/me").Want(t, 200)
			require.Equal(t, "We ended a session of your account with UMS", p.mailTo(t, email, 1).Subject)
			events := admin.events(t, "target_id", first.session)
			require.Equal(t, 1, acts(events)["session.reuse failure"], "%s", name)
			require.Equal(t, "anonymous", events[len(events)-1]["actor"].(doc)["type"])
			require.Len(t, p.mail.To(email), 1, "%s", id)
		}
	})

	t.Run("PWD-06 a wrong password tells nothing of the account", func(t *testing.T) {
		t.Parallel()
		p.person(t, admin, "active@example.org")
		suspended, _ := p.person(t, admin, "suspended@example.org")
		admin.POST(t, "/users/"+suspended+"/suspend", doc{"reason": "spam"}).Want(t, 200)
		admin.POST(t, "/users", doc{"email": "passwordless@example.org", "email_verified": true}).Want(t, 201)
		p.register(t, "pending@example.org", apptest.Password)
		wrong := p.login(t, "active@example.org", "not the right words").Want(t, 401, "invalid_credentials")
		for _, email := range []string{"unknown@example.org", "suspended@example.org", "pending@example.org", "passwordless@example.org", "no address"} {
			alike(t, wrong, p.login(t, email, "not the right words"))
		}
		p.login(t, "suspended@example.org", apptest.Password).Want(t, 403, "account_suspended")
		p.login(t, "pending@example.org", apptest.Password).Want(t, 403, "email_unverified")
		admin.POST(t, "/users/"+suspended+"/reactivate", nil).Want(t, 200)
		p.signIn(t, "suspended@example.org", apptest.Password)
		unknown := p.count(t, "SELECT count(*) FROM audit_personal WHERE label ILIKE '%unknown@%'")
		require.Zero(t, unknown, "a login name typed for no account is not kept in the clear")
	})

	t.Run("REG-02 nobody learns who is registered", func(t *testing.T) {
		t.Parallel()
		p.person(t, admin, "known@example.org")
		p.register(t, "waiting@example.org", apptest.Password)
		p.mailTo(t, "waiting@example.org", 1)
		for _, call := range []struct {
			path string
			body doc
		}{
			{"/auth/register", doc{"password": "another good passphrase"}},
			{"/auth/email/verification", doc{}},
		} {
			ask := func(email string) *apptest.Answer {
				call.body["email"] = email
				return p.POST(t, call.path, call.body).Want(t, 202)
			}
			first := ask("nobody@example.org")
			alike(t, first, ask("known@example.org"))
			alike(t, first, ask("waiting@example.org"))
		}
		require.Equal(t, "You already have an account with UMS", p.mailTo(t, "known@example.org", 1).Subject)
		p.mailTo(t, "waiting@example.org", 3)
	})

	t.Run("PWD-03 PWD-04 which passwords are taken", func(t *testing.T) {
		t.Parallel()
		const email = "katharina.lindqvist@example.org"
		long := fmt.Sprintf("%x%x", sha512.Sum512([]byte("one")), sha512.Sum512([]byte("two")))
		for _, c := range []struct{ password, code string }{
			{"k3$Vz!q", "too_short"},
			{"k3$Vz!qW8#r", "too_short"},
			{"k3$Vz!qW8#rT", ""},
			{long[:64], ""},
			{"🚣" + long[:255], ""},
			{"🚣" + long, "too_long"},
			{"passwordpassword", "too_common"},
			{"aaaaaaaaaaaaaaa", "too_common"},
			{"abcabcabcabcabcabc", "too_predictable"},
			{"katharina.lindqvist", "contains_context"},
			{"ums ums ums ums", "too_predictable"},
			{"seven small boats on a grey sea", ""},
			{"sieben kleine boote 🚣 auf see", ""},
		} {
			a := p.POST(t, "/auth/register", doc{"email": email, "password": c.password})
			p.secret(c.password)
			if c.code == "" {
				a.Want(t, 202)
				continue
			}
			a.Want(t, 422, "validation_failed")
			require.Equal(t, "/password", a.String(t, "errors.0.pointer"))
			require.NotContains(t, string(a.Body), c.password)
			require.Equal(t, c.code, a.String(t, "errors.0.code"), c.password)
		}
		p.POST(t, "/auth/register", doc{"email": email, "password": strings.Repeat("x", 1<<20)}).Want(t, 413, "payload_too_large")
	})

	t.Run("an administrator is invited on the command line", func(t *testing.T) {
		t.Parallel()
		const email, password = "second.admin@example.org", "eleven green bottles hang"
		out, errs, code := run(t, p.env, "admin", "create", "--email", email, "--json")
		require.Zero(t, code, errs)
		var made struct{ Email, Link string }
		require.NoError(t, json.Unmarshal([]byte(out), &made))
		require.Equal(t, email, made.Email)
		token, ok := strings.CutPrefix(made.Link, "http://localhost:8080/accept-invitation#token=")
		require.True(t, ok, made.Link)
		p.secret(token, password)
		p.GET(t, "/accept-invitation").Want(t, 200)
		p.POST(t, "/auth/email/verify", doc{"token": token, "password": password}).Want(t, 400, "invalid_token")
		p.POST(t, "/auth/invitations/accept", doc{"token": token, "password": "short"}).Want(t, 422, "validation_failed")
		p.POST(t, "/auth/invitations/accept", doc{"token": token, "password": password, "display_name": "Second"}).Want(t, 204)
		p.POST(t, "/auth/invitations/accept", doc{"token": token, "password": password}).Want(t, 400, "invalid_token")
		me := p.signIn(t, email, password).GET(t, "/users/me").Want(t, 200)
		require.Equal(t, []any{"admin", "user"}, me.Get(t, "roles"))
		require.Equal(t, "Second", me.String(t, "display_name"))
		require.Equal(t, map[string]int{"invitation.create": 1, "invitation.accept": 1},
			acts(admin.events(t, "target_id", me.String(t, "id"))))

		out, errs, code = run(t, p.env, "admin", "create", "--email", email)
		require.Equal(t, 1, code)
		require.Empty(t, out)
		require.Regexp(t, `^ums: .*already.*\n$`, errs)
	})
}

// TestClosedRegistrationAndLockout shares a service whose settings are strict.
func TestClosedRegistrationAndLockout(t *testing.T) {
	t.Parallel()
	p := start(t, "UMS_REGISTRATION=closed", "UMS_RATE_LIMIT_LOGIN=3/15m")
	admin := p.admin(t)
	require.Equal(t, "closed", p.GET(t, "/auth/config").Want(t, 200).String(t, "registration"))
	p.POST(t, "/auth/register", doc{"email": "x@example.org", "password": apptest.Password}).Want(t, 403, "registration_closed")

	known, _ := p.person(t, admin, "known@example.org")
	for range 5 { // a success gives back what it counted
		p.signIn(t, "known@example.org", apptest.Password)
	}
	for range 3 {
		alike(t, p.login(t, "known@example.org", "not the right words").Want(t, 401, "invalid_credentials"),
			p.login(t, "unknown@example.org", "not the right words"))
	}
	for range 2 {
		limited := p.login(t, "known@example.org", apptest.Password).Want(t, 429, "rate_limited")
		wait, err := strconv.Atoi(limited.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.InDelta(t, 900, wait, 120)
		alike(t, limited, p.login(t, "unknown@example.org", apptest.Password))
	}
	p.admin(t) // others are not concerned
	// The first of the window is recorded; an address that is nobody's not in the clear.
	require.Equal(t, []string{"invalid_credentials", "invalid_credentials", "invalid_credentials", "rate_limited"},
		column(admin.events(t, "target_id", known, "outcome", "failure"), "reason"))
	require.Len(t, slices.DeleteFunc(admin.events(t, "action", "auth.login", "outcome", "failure"), func(e doc) bool {
		label := e["target"].(doc)["label"].(string)
		return e["reason"] != "rate_limited" || strings.Contains(label, "@")
	}), 1)
}

func TestVerificationOptional(t *testing.T) {
	t.Parallel()
	p := start(t, "UMS_EMAIL_VERIFICATION=optional", "UMS_PRODUCT_NAME=Harbour Ledger")
	a := p.POST(t, "/auth/register", doc{"email": "ada@example.org", "password": "Harbour Ledger 1"}).Want(t, 422, "validation_failed")
	require.Equal(t, "contains_context", a.String(t, "errors.0.code"))
	a = p.With("Idempotency-Key", "signup-1").POST(t, "/auth/register", doc{"email": "ada@example.org", "password": apptest.Password}).Want(t, 201)
	require.Equal(t, "active", a.String(t, "status"))
	require.Equal(t, false, a.Get(t, "email_verified"))
	require.Equal(t, "/api/v1/users/"+a.String(t, "id"), a.Header.Get("Location"))
	p.POST(t, "/auth/register", doc{"email": "Ada@example.org", "password": apptest.Password}).Want(t, 409, "email_taken")
	again := p.With("Idempotency-Key", "signup-1").POST(t, "/auth/register", doc{"email": "ada@example.org", "password": apptest.Password}).Want(t, 201)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.JSONEq(t, string(a.Body), string(again.Body))

	ada := p.signIn(t, "ada@example.org", apptest.Password)
	token := p.mailTo(t, "ada@example.org", 1).Token()
	p.POST(t, "/auth/email/verify", doc{"token": token, "password": "not the right words"}).Want(t, 401, "invalid_credentials")
	p.POST(t, "/auth/email/verify", doc{"token": token, "password": apptest.Password}).Want(t, 204)
	require.Equal(t, true, ada.GET(t, "/users/me").Want(t, 200).Get(t, "email_verified"))
}

// TestFirstAdministratorByInvitation is a first start in which no password was configured, of two replicas.
func TestFirstAdministratorByInvitation(t *testing.T) {
	t.Parallel()
	p := start(t, "UMS_BOOTSTRAP_ADMIN_PASSWORD=")
	p.beside(t)
	mail := p.mailTo(t, apptest.AdminEmail, 1)
	require.Equal(t, 1, p.count(t, "SELECT count(*) FROM mail_messages"))
	require.NotContains(t, p.output(), "accept-invitation#", "where mails leave the house, the log is no place for a link")
	p.login(t, apptest.AdminEmail, apptest.AdminPassword).Want(t, 401, "invalid_credentials")
	p.POST(t, "/auth/invitations/accept", doc{"token": mail.Token(), "password": apptest.AdminPassword}).Want(t, 204)
	require.NotEmpty(t, p.admin(t).events(t, "action", "invitation.accept"))
	q := p.beside(t) // there is one now
	q.admin(t)
	require.Equal(t, 1, p.count(t, "SELECT count(*) FROM mail_messages"))
}

// alike holds two answers against each other as somebody would who wants to know whether an account exists.
func alike(t testing.TB, a, b *apptest.Answer) {
	t.Helper()
	require.Equal(t, a.Status, b.Status, "%s\n%s", a.Body, b.Body)
	headers := func(h http.Header) http.Header {
		h = h.Clone()
		for _, name := range []string{"Date", "X-Request-Id", "Retry-After"} {
			if h.Get(name) != "" {
				h.Set(name, "…")
			}
		}
		return h
	}
	require.Equal(t, headers(a.Header), headers(b.Header))
	require.Len(t, b.Body, len(a.Body))
	if len(a.Body) == 0 {
		return
	}
	body := func(a *apptest.Answer) doc {
		v := a.JSON(t)
		for _, name := range []string{"request_id", "registration_id"} {
			if _, there := v[name]; there {
				v[name] = "…"
			}
		}
		return v
	}
	require.Equal(t, body(a), body(b))
}

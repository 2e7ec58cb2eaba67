package httpapi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// row is one request that the contract knows the answer of.
type row struct {
	route  string // as the matrix writes it
	by     *apptest.Client
	path   string // "": the route's own
	body   any    // a func() any makes it anew for each request: what is good once
	status int
	code   string // of a refusal
	// Of a success: the one event that it records, as "action target-type", "" when it has no effect.
	event string
}

func (r row) method() string { method, _, _ := strings.Cut(r.route, " "); return method }

func (r row) url() string {
	if r.path != "" {
		return r.path
	}
	_, path, _ := strings.Cut(r.route, " ")
	return path
}

func (r row) payload() any {
	if make, ok := r.body.(func() any); ok {
		return make()
	}
	return r.body
}

func (r row) success() bool { return r.status < 300 }

// world is a service with something for every route to work on.
type world struct {
	s                 *apptest.Service
	root              *apptest.Client
	rootID            string
	plain             *apptest.Client
	denied, elsewhere *apptest.Client // keys: one that may do nothing, one that belongs to another network
	full              *apptest.Client // a key for everything
	secrets           []string        // that no record may hold
	success, refusals []row
	people            int
}

func (w *world) person(t *testing.T, roles ...string) (id string, c *apptest.Client) {
	t.Helper()
	w.people++
	return w.s.Person(t, w.root, strings.Repeat("a", w.people)+"@rows.test", roles...)
}

// signIn returns the tokens of a new session of a new person.
func (w *world) signIn(t *testing.T) *apptest.Answer {
	t.Helper()
	w.person(t)
	a := w.s.POST(t, "/auth/login", doc{"email": strings.Repeat("a", w.people) + "@rows.test", "password": apptest.Password}).Want(t, 200)
	w.secrets = append(w.secrets, a.String(t, "access_token"), a.String(t, "refresh_token"))
	return a
}

func (w *world) key(t *testing.T, by *apptest.Client, changes ...doc) (id, text string) {
	t.Helper()
	a := by.POST(t, "/api-keys", newKey(changes...)).Want(t, 201)
	w.secrets = append(w.secrets, a.String(t, "key"))
	return a.String(t, "id"), a.String(t, "key")
}

// invite makes a pending account with an invitation, and returns the token of the mail.
func (w *world) invite(t *testing.T, email string) (text string) {
	t.Helper()
	w.root.POST(t, "/users", doc{"email": email, "send_invite": true}).Want(t, 201)
	text = w.s.Mail.WaitFor(t, email, 1).Token()
	w.secrets = append(w.secrets, text)
	return text
}

// register registers an address and returns the token of the mail.
func (w *world) register(t *testing.T, email string) (proof, registration string) {
	t.Helper()
	a := w.s.POST(t, "/auth/register", doc{"email": email, "password": apptest.Password}).Want(t, 202)
	mail := w.s.Mail.WaitFor(t, email, 1)
	w.secrets = append(w.secrets, mail.Token(), mail.Code(), a.String(t, "registration_id"))
	return mail.Token(), a.String(t, "registration_id")
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off", "UMS_MAGIC_LINK=true"))
	w := &world{s: s, root: s.Admin(t), secrets: []string{apptest.Password, apptest.AdminPassword}}
	w.rootID = w.root.GET(t, "/users/me").Want(t, 200).String(t, "id")
	_, w.plain = w.person(t)
	_, idle := w.key(t, w.root, doc{"scopes": []string{"mail:read"}})
	_, away := w.key(t, w.root, doc{"allowed_ips": []string{"203.0.113.0/24"}})
	_, full := w.key(t, w.root, doc{"scopes": []string{"*"}})
	w.denied, w.elsewhere, w.full = s.Bearer(idle), s.Bearer(away), s.Bearer(full)
	w.auth(t)
	w.passkeys(t)
	w.factors(t)
	w.users(t)
	w.profiles(t)
	w.roles(t)
	w.keys(t)
	w.audit(t)
	return w
}

func (w *world) ok(route string, by *apptest.Client, path string, body any, status int, event string) {
	w.success = append(w.success, row{route: route, by: by, path: path, body: body, status: status, event: event})
}

func (w *world) no(route string, by *apptest.Client, path string, body any, status int, code string) {
	w.refusals = append(w.refusals, row{route: route, by: by, path: path, body: body, status: status, code: code})
}

func (w *world) auth(t *testing.T) {
	t.Helper()
	s, person := w.s, doc{"email": "new@rows.test", "password": apptest.Password}
	w.ok("GET /auth/config", s.Client, "", nil, 200, "")
	w.ok("POST /auth/register", s.Client, "", person, 202, "auth.register user")
	w.no("POST /auth/register", s.Client, "", doc{"email": "new@rows.test", "password": "short"}, 422, "validation_failed")

	proof, registration := w.register(t, "claimed@rows.test")
	w.ok("POST /auth/email/verify", s.Client, "", doc{"token": proof, "registration_id": registration}, 204, "auth.verify_email user")
	w.no("POST /auth/email/verify", s.Client, "", doc{"token": proof, "password": "not the password"}, 401, "invalid_credentials")
	w.no("POST /auth/email/verify", s.Client, "", doc{"token": registration, "registration_id": registration}, 400, "invalid_token")
	w.register(t, "again@rows.test")
	w.ok("POST /auth/email/verification", s.Client, "", doc{"email": "again@rows.test"}, 202, "auth.resend_verification user")

	w.emailChange(t)

	login := func(email, password string) doc { return doc{"email": email, "password": password} }
	w.ok("POST /auth/login", s.Client, "", login("a@rows.test", apptest.Password), 200, "auth.login session")
	w.no("POST /auth/login", s.Client, "", login("a@rows.test", "not the password"), 401, "invalid_credentials")
	w.no("POST /auth/login", s.Client, "", login("again@rows.test", apptest.Password), 403, "email_unverified")
	w.ok("POST /auth/refresh", s.Client, "", doc{"refresh_token": w.signIn(t).String(t, "refresh_token")}, 200, "session.refresh session")
	w.no("POST /auth/refresh", s.Client, "", doc{"refresh_token": "x"}, 401, "invalid_refresh_token")
	w.ok("POST /auth/logout", s.Client, "", doc{"refresh_token": w.signIn(t).String(t, "refresh_token")}, 204, "session.end session")

	first, second := w.signIn(t), w.signIn(t)
	at := s.Bearer(first.String(t, "access_token"))
	w.ok("GET /auth/sessions", at, "", nil, 200, "")
	w.ok("DELETE /auth/sessions/{id}", at, "/auth/sessions/"+first.String(t, "session_id"), nil, 204, "session.end session")
	w.no("DELETE /auth/sessions/{id}", w.plain, "/auth/sessions/"+unknownID, nil, 404, "not_found")
	w.ok("DELETE /auth/sessions", s.Bearer(second.String(t, "access_token")), "", nil, 204, "session.end session")
	w.ok("POST /auth/reauthenticate", w.plain, "", doc{"password": apptest.Password}, 200, "auth.reauthenticate session")
	w.no("POST /auth/reauthenticate", w.plain, "", doc{"password": "not the password"}, 401, "invalid_credentials")

	w.person(t)
	forgetful := strings.Repeat("a", w.people) + "@rows.test"
	s.POST(t, "/auth/password/forgot", doc{"email": forgetful}).Want(t, 202)
	reset := s.Mail.WaitFor(t, forgetful, 1).Token()
	w.secrets = append(w.secrets, reset)
	w.person(t)
	w.ok("POST /auth/password/forgot", s.Client, "", doc{"email": strings.Repeat("a", w.people) + "@rows.test"}, 202, "auth.password_forgot user")
	w.ok("POST /auth/password/reset", s.Client, "", doc{"token": reset, "new_password": apptest.Password}, 204, "auth.password_reset user")
	w.no("POST /auth/password/reset", s.Client, "", doc{"token": reset, "new_password": "short"}, 422, "validation_failed")
	w.no("POST /auth/password/reset", s.Client, "", doc{"token": "x", "new_password": apptest.Password}, 400, "invalid_token")
	entering := strings.Repeat("a", w.people) + "@rows.test"
	s.POST(t, "/auth/magic-link", doc{"email": entering}).Want(t, 202)
	link := s.Mail.WaitFor(t, entering, 1).Token()
	w.secrets = append(w.secrets, link)
	w.person(t)
	w.ok("POST /auth/magic-link", s.Client, "", doc{"email": strings.Repeat("a", w.people) + "@rows.test"}, 202, "auth.magic_link user")
	w.ok("POST /auth/magic-link/verify", s.Client, "", doc{"token": link}, 200, "auth.login session")
	w.no("POST /auth/magic-link/verify", s.Client, "", doc{"token": "x"}, 400, "invalid_token")
	change := func(current, next string) doc { return doc{"current_password": current, "new_password": next} }
	changer := s.Bearer(w.signIn(t).String(t, "access_token"))
	w.ok("PUT /auth/password", changer, "", change(apptest.Password, apptest.Password+" anew"), 204, "auth.password_change user")
	w.no("PUT /auth/password", changer, "", change("not the password", apptest.Password), 401, "invalid_credentials")
	w.no("PUT /auth/password", changer, "", change(apptest.Password, "short"), 422, "validation_failed")
	w.no("POST /auth/reauthenticate", w.plain, "", doc{"method": "totp", "code": "000000"}, 401, "invalid_code")
	w.no("POST /auth/reauthenticate", w.plain, "", doc{"method": "totp"}, 422, "validation_failed")

	invitation := w.invite(t, "invited@rows.test")
	w.ok("POST /auth/invitations/accept", s.Client, "", doc{"token": invitation, "password": apptest.Password, "display_name": "Ina"}, 204, "invitation.accept user")
	w.no("POST /auth/invitations/accept", s.Client, "", doc{"token": invitation, "password": "short"}, 422, "validation_failed")
	w.no("POST /auth/invitations/accept", s.Client, "", doc{"token": "x", "password": apptest.Password}, 400, "invalid_token")

	w.ok("POST /auth/introspect", asForm(w.root), "", "token="+w.signIn(t).String(t, "access_token"), 200, "")
	w.no("POST /auth/introspect", asForm(w.root), "", "token_type_hint=access_token", 422, "validation_failed")
	w.no("POST /auth/introspect", w.root, "", doc{"token": "x"}, 415, "unsupported_media_type")
	w.ok("POST /auth/revoke", asForm(s.Client), "", "token="+w.signIn(t).String(t, "refresh_token"), 200, "session.end session")
	w.no("POST /auth/revoke", s.Client, "", doc{"token": "x"}, 415, "unsupported_media_type")
}

// emailChange has the rows of changes of address.
func (w *world) emailChange(t *testing.T) {
	t.Helper()
	const change, confirm, undo = "POST /auth/email/change", "POST /auth/email/change/confirm", "POST /auth/email/change/undo"
	ask := func(to string) (back, forth string) {
		_, c := w.person(t)
		c.POST(t, "/auth/email/change", doc{"new_email": to}).Want(t, 202)
		forth = w.s.Mail.WaitFor(t, to, 1).Token()
		back = w.s.Mail.WaitFor(t, strings.Repeat("a", w.people)+"@rows.test", 1).Token()
		w.secrets = append(w.secrets, back, forth)
		return back, forth
	}
	_, mover := w.person(t)
	w.ok(change, mover, "", doc{"new_email": "moved@rows.test"}, 202, "email_change.request user")
	w.no(change, mover, "", doc{"new_email": "no address"}, 422, "validation_failed")
	_, forth := ask("confirmed@rows.test")
	w.ok(confirm, w.s.Client, "", doc{"token": forth}, 204, "email_change.confirm user")
	w.no(confirm, w.s.Client, "", doc{"token": "x"}, 400, "invalid_token")
	_, forth = ask("lost@rows.test")
	w.root.POST(t, "/users", doc{"email": "lost@rows.test"}).Want(t, 201)
	w.no(confirm, w.s.Client, "", doc{"token": forth}, 409, "email_taken")
	back, _ := ask("undone@rows.test")
	w.ok(undo, w.s.Client, "", doc{"token": back}, 204, "email_change.undo user")
	w.no(undo, w.s.Client, "", doc{"token": forth}, 400, "invalid_token")
	back, forth = ask("gone@rows.test")
	w.s.POST(t, "/auth/email/change/confirm", doc{"token": forth}).Want(t, 204)
	w.root.POST(t, "/users", doc{"email": strings.Repeat("a", w.people) + "@rows.test", "email_verified": true}).Want(t, 201)
	w.no(undo, w.s.Client, "", doc{"token": back}, 409, "email_taken")
}

// enrol makes a person with an authenticator app, whose clock stands still.
func (w *world) enrol(t *testing.T) (email string, c *apptest.Client, a *apptest.App) {
	t.Helper()
	_, c = w.person(t)
	a = w.s.Enrol(t, c)
	w.secrets = append(w.secrets, a.RecoveryCodes...)
	return strings.Repeat("a", w.people) + "@rows.test", c, a
}

func (w *world) factors(t *testing.T) {
	t.Helper()
	s := w.s
	email, c, a := w.enrol(t)
	step := func(ticket, code string) doc { return doc{"mfa_token": ticket, "method": "totp", "code": code} }
	ticket := s.Ticket(t, email, apptest.Password)
	w.secrets = append(w.secrets, ticket)
	w.no("POST /auth/login", s.Client, "", doc{"email": email, "password": apptest.Password}, 403, "mfa_required")
	w.no("POST /auth/mfa/verify", s.Client, "", step(ticket, "no code"), 401, "invalid_code")
	w.no("POST /auth/mfa/verify", s.Client, "", step("x", "000000"), 401, "invalid_mfa_token")
	w.ok("POST /auth/mfa/verify", s.Client, "", step(ticket, a.Code(t)), 200, "auth.login session")
	w.ok("GET /auth/mfa/factors", c, "", nil, 200, "")
	w.ok("POST /auth/mfa/recovery-codes", c, "", nil, 200, "factor.recovery_codes user")
	w.no("POST /auth/mfa/recovery-codes", w.plain, "", nil, 404, "not_found")

	_, remover, gone := w.enrol(t)
	w.ok("DELETE /auth/mfa/factors/{id}", remover, "/auth/mfa/factors/"+gone.FactorID, nil, 204, "factor.delete factor")
	w.no("DELETE /auth/mfa/factors/{id}", w.plain, "/auth/mfa/factors/"+unknownID, nil, 404, "not_found")

	_, starter := w.person(t)
	w.ok("POST /auth/mfa/totp", starter, "", doc{"name": "telephone"}, 201, "factor.create factor")
	_, pending := w.person(t)
	enrolment := pending.POST(t, "/auth/mfa/totp", nil)
	app := s.NewApp(t, enrolment)
	w.secrets = append(w.secrets, enrolment.String(t, "secret"))
	path := "/auth/mfa/totp/" + app.FactorID + "/activate"
	w.no("POST /auth/mfa/totp/{id}/activate", pending, path, doc{"code": "no code"}, 401, "invalid_code")
	w.no("POST /auth/mfa/totp/{id}/activate", w.plain, "/auth/mfa/totp/"+unknownID+"/activate", doc{"code": "000000"}, 404, "not_found")
	w.ok("POST /auth/mfa/totp/{id}/activate", pending, path, doc{"code": app.Code(t)}, 200, "factor.activate factor")

	lost, loser := w.person(t)
	s.Enrol(t, loser)
	w.ok("DELETE /users/{id}/mfa", w.root, "/users/"+lost+"/mfa", nil, 204, "user.mfa_reset user")
	w.no("DELETE /users/{id}/mfa", w.root, "/users/"+unknownID+"/mfa", nil, 404, "not_found")
}

func (w *world) users(t *testing.T) {
	t.Helper()
	root, stale := w.root, w.root.With("If-Match", `"999"`)
	w.ok("GET /users/me", w.plain, "", nil, 200, "")
	w.ok("PATCH /users/me", w.plain, "", doc{"display_name": "Ada", "metadata": doc{"theme": "dark"}}, 200, "user.update user")
	w.no("PATCH /users/me", w.plain.With("If-Match", `"999"`), "", doc{"display_name": "Ada"}, 412, "precondition_failed")
	_, leaver := w.person(t)
	w.ok("DELETE /users/me", leaver, "", nil, 204, "user.delete user")
	w.no("DELETE /users/me", root, "", nil, 409, "last_admin")
	w.no("DELETE /users/me", stale, "", nil, 412, "precondition_failed")
	w.ok("GET /users/me/permissions", w.plain, "", nil, 200, "")

	w.ok("GET /users", root, "/users?limit=2&sort=email", nil, 200, "")
	w.no("GET /users", root, "/users?cursor=x", nil, 400, "invalid_cursor")
	w.no("GET /users", root, "/users?limit=201", nil, 422, "validation_failed")
	w.ok("GET /users/export", root, "/users/export?kind=human", nil, 200, "user.bulk_export user")
	w.no("GET /users/export", root, "/users/export?sort=email", nil, 422, "validation_failed")
	w.no("GET /users/export", root, "/users/export?kind=human&status=active&role=admin", nil, 422, "unsupported_filter")
	w.ok("POST /users/import", asLines(root), "", `{"email": "imported@rows.test"}`, 202, "user.import import")
	w.no("POST /users/import", asLines(root), "", "\n", 422, "validation_failed")
	w.no("POST /users/import", root, "", doc{}, 415, "unsupported_media_type")
	imported := asLines(root).POST(t, "/users/import", "{}").Want(t, 202).String(t, "id")
	w.ok("GET /users/import/{id}", root, "/users/import/"+imported, nil, 200, "")
	w.no("GET /users/import/{id}", root, "/users/import/"+unknownID, nil, 404, "not_found")
	w.ok("GET /users/import/{id}/errors", root, "/users/import/"+imported+"/errors", nil, 200, "")
	w.no("GET /users/import/{id}/errors", root, "/users/import/"+unknownID+"/errors", nil, 404, "not_found")
	w.ok("POST /users", root, "", doc{"email": "made@rows.test", "password": apptest.Password, "email_verified": true, "roles": []string{"admin"}}, 201, "user.create user")
	w.no("POST /users", root, "", doc{"email": "a@rows.test"}, 409, "email_taken")
	w.no("POST /users", root, "", doc{"email": "b@rows.test", "send_invite": true, "password": apptest.Password}, 422, "validation_failed")

	id, _ := w.person(t)
	one, none, self := "/users/"+id, "/users/"+unknownID, "/users/"+w.rootID
	w.ok("GET /users/{id}", root, one, nil, 200, "")
	w.no("GET /users/{id}", root, none, nil, 404, "not_found")
	w.ok("PATCH /users/{id}", root, one, doc{"external_id": "crm-1", "app_metadata": doc{"plan": "pro"}}, 200, "user.update user")
	w.no("PATCH /users/{id}", root, none, doc{}, 404, "not_found")
	w.no("PATCH /users/{id}", root, one, doc{"email": "a@rows.test"}, 409, "email_taken")
	w.no("PATCH /users/{id}", root, self, doc{"email": "other@rows.test"}, 409, "last_admin")
	w.no("PATCH /users/{id}", stale, one, doc{"email": "a@rows.test"}, 412, "precondition_failed")
	for route, event := range map[string]string{"suspend": "user.suspend user", "reactivate": "user.reactivate user"} {
		id, _ := w.person(t)
		body := any(nil)
		if route == "suspend" {
			body = doc{"reason": "line\nline"}
		} else {
			root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
		}
		w.ok("POST /users/{id}/"+route, root, "/users/"+id+"/"+route, body, 200, event)
		w.no("POST /users/{id}/"+route, root, none+"/"+route, body, 404, "not_found")
	}
	w.ok("GET /users/{id}/sessions", root, one+"/sessions?limit=1&sort=created_at", nil, 200, "")
	w.no("GET /users/{id}/sessions", root, none+"/sessions", nil, 404, "not_found")
	w.no("GET /users/{id}/sessions", root, one+"/sessions?cursor=x", nil, 400, "invalid_cursor")
	w.ok("DELETE /users/{id}/sessions", root, one+"/sessions", nil, 204, "user.end_sessions user")
	w.no("DELETE /users/{id}/sessions", root, none+"/sessions", nil, 404, "not_found")
	w.ok("POST /users/{id}/password-reset", root, one+"/password-reset", nil, 202, "user.password_reset user")
	w.no("POST /users/{id}/password-reset", root, none+"/password-reset", nil, 404, "not_found")
	waiting := root.POST(t, "/users", doc{"email": "waiting@rows.test"}).Want(t, 201).String(t, "id")
	w.ok("POST /users/{id}/invite", root, "/users/"+waiting+"/invite", nil, 202, "invitation.create user")
	w.no("POST /users/{id}/invite", root, none+"/invite", nil, 404, "not_found")
	w.no("POST /users/{id}/invite", root, one+"/invite", nil, 409, "already_exists")
	w.no("POST /users/{id}/suspend", root, self+"/suspend", doc{"reason": "x"}, 409, "last_admin")
	gone, _ := w.person(t)
	w.ok("DELETE /users/{id}", root, "/users/"+gone, nil, 204, "user.delete user")
	w.no("DELETE /users/{id}", root, none, nil, 404, "not_found")
	w.no("DELETE /users/{id}", root, self, nil, 409, "last_admin")
	w.no("DELETE /users/{id}", stale, one, nil, 412, "precondition_failed")
}

func (w *world) profiles(t *testing.T) {
	t.Helper()
	w.ok("GET /profiles/me", w.plain, "", nil, 200, "")
	w.ok("PUT /profiles/me", w.plain, "", doc{"nickname": "ada", "bio": "a\nb"}, 200, "profile.update profile")
	w.ok("PATCH /profiles/me", w.plain, "", doc{"phone": "+431234567"}, 200, "profile.update profile")
	w.ok("GET /profiles", w.root, "", nil, 200, "")
	w.no("GET /profiles", w.root, "/profiles?cursor=x", nil, 400, "invalid_cursor")
	id, _ := w.person(t)
	for _, method := range []string{"GET", "PUT", "PATCH"} {
		route, body, event := method+" /profiles/{user_id}", any(nil), ""
		if method != "GET" {
			body, event = doc{"given_name": "Ada " + method}, "profile.update profile"
			w.no(method+" /profiles/me", w.plain.With("If-Match", `"999"`), "", body, 412, "precondition_failed")
			w.no(route, w.root.With("If-Match", `"999"`), "/profiles/"+id, body, 412, "precondition_failed")
			w.no(route, w.root, "/profiles/"+id, doc{"website": "ftp://x"}, 422, "validation_failed")
		}
		w.ok(route, w.root, "/profiles/"+id, body, 200, event)
		w.no(route, w.root, "/profiles/"+unknownID, body, 404, "not_found")
	}

	photo := pngOf(t, 8, 4)
	for path, by := range map[string]*apptest.Client{"me": w.plain, "{user_id}": w.root} {
		with, gone := strings.Replace(path, "{user_id}", id, 1), strings.Replace(path, "{user_id}", unknownID, 1)
		set, remove := "PUT /profiles/"+path+"/avatar", "DELETE /profiles/"+path+"/avatar"
		at := "/profiles/" + with + "/avatar"
		w.ok(set, asPicture(by), at, photo, 200, "profile.avatar_set profile")
		w.no(set, asPicture(by).With("If-Match", `"999"`), at, photo, 412, "precondition_failed")
		w.no(set, asPicture(by), at, "GIF89a", 422, "validation_failed")
		w.no(set, by, at, doc{}, 415, "unsupported_media_type")
		w.no(set, asPicture(by), at, strings.Repeat("x", 2<<20+1), 413, "payload_too_large")
		w.ok(remove, by, at, nil, 204, "profile.avatar_remove profile")
		w.no(remove, w.full, "/profiles/"+gone+"/avatar", nil, 404, "not_found") // the key's owner has none
		if path != "me" {
			w.no(set, asPicture(by), "/profiles/"+gone+"/avatar", photo, 404, "not_found")
		}
		asPicture(by).PUT(t, at, photo).Want(t, 200)
		w.no(remove, by.With("If-Match", `"999"`), at, nil, 412, "precondition_failed")
	}
}

func (w *world) roles(t *testing.T) {
	t.Helper()
	root, stale := w.root, w.root.With("If-Match", `"999"`)
	role := func(name string, permissions ...string) string {
		id := root.POST(t, "/roles", doc{"name": name, "permissions": append([]string{}, permissions...)}).Want(t, 201).String(t, "id")
		return "/roles/" + id
	}
	edited, held, gone := role("edited"), role("held", "audit:read"), role("gone")
	w.ok("GET /roles", root, "", nil, 200, "")
	w.no("GET /roles", root, "/roles?cursor=x", nil, 400, "invalid_cursor")
	w.ok("POST /roles", root, "", doc{"name": "made", "permissions": []string{"users:read"}, "inherits": []string{"held"}}, 201, "role.create role")
	w.no("POST /roles", root, "", doc{"name": "held"}, 409, "already_exists")
	w.ok("GET /roles/{id}", root, edited, nil, 200, "")
	w.no("GET /roles/{id}", root, "/roles/1", nil, 404, "not_found")
	w.ok("PATCH /roles/{id}", root, edited, doc{"permissions": []string{"audit:*"}}, 200, "role.update role")
	w.no("PATCH /roles/{id}", root, edited, doc{"inherits": []string{"edited"}}, 422, "role_cycle")
	w.no("PATCH /roles/{id}", root, "/roles/"+unknownID, doc{}, 404, "not_found")
	w.no("PATCH /roles/{id}", root, "/roles/"+adminRole, doc{"description": "x"}, 409, "system_role")
	w.no("PATCH /roles/{id}", stale, edited, doc{"description": "x"}, 412, "precondition_failed")
	w.ok("DELETE /roles/{id}", root, gone, nil, 204, "role.delete role")
	w.no("DELETE /roles/{id}", root, "/roles/"+unknownID, nil, 404, "not_found")
	w.no("DELETE /roles/{id}", root, held, nil, 409, "role_in_use")
	w.no("DELETE /roles/{id}", stale, edited, nil, 412, "precondition_failed")
	w.ok("DELETE /roles/{id}", root, held+"?force=true&dry_run=true", nil, 200, "")
	w.ok("PATCH /roles/{id}", root, edited+"?dry_run=true", doc{"permissions": []string{"users:read"}}, 200, "")
	w.no("PATCH /roles/{id}", root, edited+"?dry_run=true", doc{"inherits": []string{"edited"}}, 422, "role_cycle")
	w.no("DELETE /roles/{id}", root, held+"?dry_run=true", nil, 409, "role_in_use")
	w.ok("GET /roles/{id}/users", root, held+"/users", nil, 200, "")
	w.no("GET /roles/{id}/users", root, "/roles/"+unknownID+"/users", nil, 404, "not_found")

	root.POST(t, "/permissions", doc{"name": "orders:gone"}).Want(t, 201)
	w.ok("GET /permissions", root, "", nil, 200, "")
	w.ok("POST /permissions", root, "", doc{"name": "orders:read"}, 201, "permission.create permission")
	w.no("POST /permissions", root, "", doc{"name": "users:read"}, 409, "already_exists")
	w.ok("DELETE /permissions/{name}", root, "/permissions/orders:gone", nil, 204, "permission.delete permission")
	w.no("DELETE /permissions/{name}", root, "/permissions/orders:none", nil, 404, "not_found")
	w.no("DELETE /permissions/{name}", root, "/permissions/users:read", nil, 409, "permission_in_use")

	id, _ := w.person(t, "held")
	w.ok("POST /authz/check", root, "", doc{"user_id": id, "permissions": []string{"audit:read", "*"}}, 200, "")
	w.no("POST /authz/check", root, "", doc{"permissions": []string{"*:read"}}, 422, "validation_failed")
	w.no("POST /authz/check", root, "", doc{"user_id": unknownID, "permissions": []string{"*"}}, 404, "not_found")
	w.no("POST /authz/check", w.plain, "", doc{"user_id": id, "permissions": []string{"*"}}, 403, "permission_denied")
	user := "/users/" + id
	for _, list := range []string{"/roles", "/permissions"} {
		w.ok("GET /users/{id}"+list, root, user+list, nil, 200, "")
		w.no("GET /users/{id}"+list, root, "/users/"+unknownID+list, nil, 404, "not_found")
	}
	w.ok("PUT /users/{id}/roles/{role_id}", root, user+edited, nil, 204, "role.assign user")
	w.no("PUT /users/{id}/roles/{role_id}", root, user+edited, doc{"expires_at": "2001-01-01T00:00:00Z"}, 422, "validation_failed")
	w.no("PUT /users/{id}/roles/{role_id}", root, user+"/roles/"+unknownID, doc{}, 404, "not_found")
	w.no("PUT /users/{id}/roles/{role_id}", root, user+"/roles/"+userRole, doc{}, 409, "system_role")
	w.ok("DELETE /users/{id}/roles/{role_id}", root, user+held, nil, 204, "role.unassign user")
	w.no("DELETE /users/{id}/roles/{role_id}", root, user+edited, nil, 404, "not_found")
	w.no("DELETE /users/{id}/roles/{role_id}", root, "/users/"+w.rootID+"/roles/"+adminRole, nil, 409, "last_admin")
}

func (w *world) keys(t *testing.T) {
	t.Helper()
	root, stale := w.root, w.root.With("If-Match", `"999"`)
	edited, _ := w.key(t, root)
	gone, _ := w.key(t, root)
	w.ok("POST /api-keys", root, "", newKey(), 201, "api_key.create api_key")
	w.no("POST /api-keys", w.plain, "", newKey(doc{"scopes": []string{"*"}}), 403, "privilege_escalation")
	w.ok("GET /api-keys", root, "", nil, 200, "")
	w.no("GET /api-keys", root, "/api-keys?scope=all&user_id="+unknownID, nil, 422, "unsupported_filter")
	w.ok("GET /api-keys/current", w.full, "", nil, 200, "")
	w.no("GET /api-keys/current", root, "", nil, 404, "not_found")
	w.ok("GET /api-keys/{id}", root, "/api-keys/"+edited, nil, 200, "")
	w.no("GET /api-keys/{id}", root, "/api-keys/"+unknownID, nil, 404, "not_found")
	w.ok("PATCH /api-keys/{id}", root, "/api-keys/"+edited, doc{"name": "renamed"}, 200, "api_key.update api_key")
	w.no("PATCH /api-keys/{id}", root, "/api-keys/"+unknownID, doc{}, 404, "not_found")
	w.no("PATCH /api-keys/{id}", stale, "/api-keys/"+edited, doc{"name": "late"}, 412, "precondition_failed")
	w.ok("DELETE /api-keys/{id}", root, "/api-keys/"+gone, nil, 204, "api_key.revoke api_key")
	w.no("DELETE /api-keys/{id}", root, "/api-keys/"+unknownID, nil, 404, "not_found")
	w.no("DELETE /api-keys/{id}", stale, "/api-keys/"+edited, nil, 412, "precondition_failed")
	turned, _ := w.key(t, root)
	twice, _ := w.key(t, root)
	w.secrets = append(w.secrets, root.POST(t, "/api-keys/"+twice+"/rotate", doc{}).Want(t, 201).String(t, "key"))
	w.ok("POST /api-keys/{id}/rotate", root, "/api-keys/"+turned+"/rotate", doc{"overlap_seconds": 3600}, 201, "api_key.rotate api_key")
	w.no("POST /api-keys/{id}/rotate", root, "/api-keys/"+unknownID+"/rotate", doc{}, 404, "not_found")
	w.no("POST /api-keys/{id}/rotate", root, "/api-keys/"+twice+"/rotate", doc{}, 409, "rotation_in_progress")
	w.no("POST /api-keys/{id}/rotate", root, "/api-keys/"+turned+"/rotate", doc{"overlap_seconds": 2592001}, 422, "validation_failed")
	w.ok("GET /api-keys/{id}/usage", root, "/api-keys/"+turned+"/usage", nil, 200, "")
	w.no("GET /api-keys/{id}/usage", root, "/api-keys/"+unknownID+"/usage", nil, 404, "not_found")
	_, shown := w.key(t, root)
	w.ok("POST /api-keys/verify", root, "", doc{"key": shown, "permissions": []string{"me:read"}, "ip": "192.0.2.1", "environment": "live"}, 200, "")
	w.no("POST /api-keys/verify", root, "", doc{"key": shown, "permissions": []string{"me"}, "ip": "here"}, 422, "validation_failed")
	_, found := w.key(t, root)
	w.ok("POST /api-keys/leaked", w.s.Client, "", doc{"key": found}, 202, "api_key.quarantine api_key")
	w.no("POST /api-keys/leaked", w.s.Client, "", doc{}, 422, "validation_failed")
}

func (w *world) audit(t *testing.T) {
	t.Helper()
	w.ok("GET /audit-events", w.root, "/audit-events?limit=3", nil, 200, "")
	w.no("GET /audit-events", w.root, "/audit-events?cursor=x", nil, 400, "invalid_cursor")
	w.ok("GET /audit-events/export", w.root, "/audit-events/export?format=csv&action=user.create", nil, 200, "audit_event.export audit_event")
	w.no("GET /audit-events/export", w.root, "/audit-events/export?format=xml", nil, 422, "validation_failed")
	w.ok("GET /users/me/export", w.plain, "", nil, 200, "user.export user")
	w.ok("GET /users/me/audit-events", w.plain, "/users/me/audit-events?limit=3", nil, 200, "")
	w.no("GET /users/me/audit-events", w.plain, "/users/me/audit-events?cursor=x", nil, 400, "invalid_cursor")
	event := w.root.GET(t, "/audit-events?limit=1").Want(t, 200).String(t, "data.0.id")
	require.NotEmpty(t, event)
	w.ok("GET /audit-events/{id}", w.root, "/audit-events/"+event, nil, 200, "")
	w.no("GET /audit-events/{id}", w.root, "/audit-events/"+unknownID, nil, 404, "not_found")
}

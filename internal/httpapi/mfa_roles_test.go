package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// enrolmentRoutes are those that stay open to an account which has to enrol a second factor: what it needs for that, and
// the way out.
var enrolmentRoutes = strings.Split(strings.TrimSpace(`
POST /auth/logout
POST /auth/reauthenticate
POST /auth/passkeys/reauthentication/options
GET /auth/mfa/factors
GET /auth/passkeys
POST /auth/mfa/totp
POST /auth/mfa/totp/{id}/activate
POST /auth/passkeys/registration/options
POST /auth/passkeys/registration`), "\n")

// The holders of a role with require_mfa reach nothing but the enrolment, by whatever they come: an old session, a new
// one, a refreshed one, a key; directly or by inheritance. A program has no second factor and is not asked for one.
func TestARoleRequiresASecondFactor(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	s := pair[0]
	root := s.Admin(t)
	base := root.POST(t, "/roles", doc{"name": "guarded", "require_mfa": true}).Want(t, 201).String(t, "id")
	heir := root.POST(t, "/roles", doc{"name": "heir", "permissions": []string{"users:read"}, "inherits": []string{"guarded"}}).Want(t, 201).String(t, "id")

	id, ada := s.Person(t, root, "ada@guarded.test")
	key := s.Bearer(ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"me:read"}})).Want(t, 201).String(t, "key"))
	login := s.POST(t, "/auth/login", doc{"email": "ada@guarded.test", "password": apptest.Password}).Want(t, 200)
	program := root.POST(t, "/users", doc{"kind": "service", "display_name": "job", "roles": []string{"heir"}}).Want(t, 201).String(t, "id")
	job := s.Bearer(root.POST(t, "/api-keys", newKey(doc{"scopes": []string{"users:read"}, "user_id": program})).Want(t, 201).String(t, "key"))
	ada.GET(t, "/users/me").Want(t, 200)
	key.GET(t, "/users/me").Want(t, 200)
	root.PUT(t, "/users/"+id+"/roles/"+heir, doc{}).Want(t, 204)

	closed := func(c *apptest.Client) {
		t.Helper()
		c.GET(t, "/users/me").Want(t, 403, "mfa_enrollment_required")
		c.GET(t, "/users/me/permissions").Want(t, 403, "mfa_enrollment_required")
	}
	closed(ada)
	closed(key)
	closed(s.Bearer(login.String(t, "access_token")))
	refreshed := s.POST(t, "/auth/refresh", doc{"refresh_token": login.String(t, "refresh_token")}).Want(t, 200)
	closed(s.Bearer(refreshed.String(t, "access_token")))
	again := s.SignIn(t, "ada@guarded.test", apptest.Password)
	closed(again)
	closed(again.At(pair[1]))
	for _, r := range rules(t) {
		if r.who == "public" {
			continue
		}
		a := r.call(t, again, unknown.Replace(r.path))
		if strings.HasSuffix(r.route(), "/auth/logout") {
			again = s.SignIn(t, "ada@guarded.test", apptest.Password)
		}
		open := false
		for _, route := range enrolmentRoutes {
			open = open || route == r.route()
		}
		require.Equal(t, !open, a.Code(t) == "mfa_enrollment_required", "%s: %d %s", r.route(), a.Status, a.Body)
	}
	job.GET(t, "/users").Want(t, 200)

	app := s.Enrol(t, again)
	again.GET(t, "/users/me").Want(t, 200)
	again.GET(t, "/users").Want(t, 200)
	key.GET(t, "/users/me").Want(t, 200)
	again.DELETE(t, "/auth/mfa/factors/"+app.FactorID).Want(t, 204)
	closed(again)
	closed(key)
	root.PATCH(t, "/roles/"+base, doc{"require_mfa": false}).Want(t, 200)
	again.GET(t, "/users/me").Want(t, 200)
	key.GET(t, "/users/me").Want(t, 200)
}

// Several factors: each is good by itself; a newer pending one takes the place of an older; with the last one recovery
// codes die and the password is enough again.
func TestSeveralFactors(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, ada := s.Person(t, s.Admin(t), "ada@factors.test")
	replaced := s.NewApp(t, ada.POST(t, "/auth/mfa/totp", doc{"name": "lost"}))
	first := s.NewApp(t, ada.POST(t, "/auth/mfa/totp", doc{"name": "telephone"}))
	ada.POST(t, "/auth/mfa/totp/"+replaced.FactorID+"/activate", doc{"code": replaced.Code(t)}).Want(t, 404, "not_found")
	require.Equal(t, false, ada.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"), "pending is not active")
	s.SignIn(t, "ada@factors.test", apptest.Password)
	list := ada.GET(t, "/auth/mfa/factors").Want(t, 200)
	require.Len(t, list.Get(t, "data"), 1)
	require.Equal(t, false, list.Get(t, "data.0.confirmed"))
	require.Equal(t, "telephone", list.String(t, "data.0.name"))
	require.NotContains(t, string(list.Body), "secret")

	code := first.Code(t)
	old := ada.POST(t, "/auth/mfa/totp/"+first.FactorID+"/activate", doc{"code": code}).Want(t, 200).String(t, "recovery_codes.0")
	ada.POST(t, "/auth/mfa/totp/"+first.FactorID+"/activate", doc{"code": first.Code(t)}).Want(t, 404, "not_found")
	second := s.Enrol(t, ada)
	require.Len(t, second.RecoveryCodes, 10)
	list = ada.GET(t, "/auth/mfa/factors").Want(t, 200)
	require.Len(t, list.Get(t, "data"), 2)
	require.Equal(t, true, list.Get(t, "data.1.confirmed"))
	require.NotNil(t, list.Get(t, "data.1.last_used_at"))
	require.EqualValues(t, 10, list.Get(t, "recovery_codes_left"))

	verify := func(method, code string) *apptest.Answer {
		return s.POST(t, "/auth/mfa/verify", secondStep(s.Ticket(t, "ada@factors.test", apptest.Password), method, code))
	}
	verify("recovery_code", old).Want(t, 401, "invalid_code") // each activation makes new ones
	verify("totp", second.Code(t)).Want(t, 200)
	verify("totp", first.Code(t)).Want(t, 200)
	ada.DELETE(t, "/auth/mfa/factors/"+first.FactorID).Want(t, 204)
	ada.DELETE(t, "/auth/mfa/factors/"+first.FactorID).Want(t, 404, "not_found")
	verify("recovery_code", second.RecoveryCodes[0]).Want(t, 200)
	ada.DELETE(t, "/auth/mfa/factors/"+second.FactorID).Want(t, 204)
	require.Equal(t, false, ada.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"))
	ada.POST(t, "/auth/mfa/recovery-codes", nil).Want(t, 404, "not_found")
	var left int
	scan(t, s, &left, "SELECT count(*) FROM mfa_recovery_codes c JOIN users u ON u.id = c.user_id WHERE u.email = 'ada@factors.test'")
	require.Zero(t, left)
	s.SignIn(t, "ada@factors.test", apptest.Password)
	s.Mail.WaitFor(t, "ada@factors.test", 5) // two added, two removed, a code used
}

// An administrator takes the factors of whoever lost them, and of nobody who may do more than he; the owner is told.
func TestAnAdministratorResetsFactors(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	s := pair[0]
	root := s.Admin(t)
	root.POST(t, "/roles", doc{"name": "helpdesk", "permissions": []string{"users:read", "users:write"}}).Want(t, 201)
	root.POST(t, "/roles", doc{"name": "payer", "permissions": []string{"mail:read"}}).Want(t, 201)
	id, ada := s.Person(t, root, "ada@reset.test")
	app := s.Enrol(t, ada)
	pending := ada.POST(t, "/auth/mfa/totp", nil).Want(t, 201).String(t, "id")
	addPasskey(t, ada)
	ticket := s.Ticket(t, "ada@reset.test", apptest.Password)
	above, boss := s.Person(t, root, "boss@reset.test", "payer")
	s.Enrol(t, boss)
	_, helper := s.Person(t, root, "helper@reset.test", "helpdesk")

	helper.DELETE(t, "/users/"+above+"/mfa").Want(t, 403, "privilege_escalation")
	boss.GET(t, "/users/me").Want(t, 200)
	helper.DELETE(t, "/users/"+id+"/mfa").Want(t, 204)
	for _, c := range []*apptest.Client{ada, ada.At(pair[1])} {
		require.Eventually(t, func() bool { return c.GET(t, "/users/me").Status == http.StatusUnauthorized }, 10*time.Second, 10*time.Millisecond)
	}
	s.POST(t, "/auth/mfa/verify", secondStep(ticket, "totp", app.Code(t))).Want(t, 401, "invalid_mfa_token")
	ada = s.SignIn(t, "ada@reset.test", apptest.Password) // the password is enough
	list := ada.GET(t, "/auth/mfa/factors").Want(t, 200)
	require.Empty(t, list.Get(t, "data"))
	require.EqualValues(t, 0, list.Get(t, "recovery_codes_left"))
	require.Empty(t, ada.GET(t, "/auth/passkeys").Want(t, 200).Get(t, "data"))
	ada.POST(t, "/auth/mfa/totp/"+pending+"/activate", doc{"code": "000000"}).Want(t, 404, "not_found")
	event := root.GET(t, "/audit-events?action=user.mfa_reset&target_id="+id+"&outcome=success").Want(t, 200)
	require.Len(t, event.Get(t, "data"), 1)
	require.Equal(t, true, event.Get(t, "data.0.changes.mfa_enabled.from"))
	helper.DELETE(t, "/users/"+id+"/mfa").Want(t, 204) // nothing to take: no session ends, nothing is recorded
	ada.GET(t, "/users/me").Want(t, 200)
	require.Len(t, root.GET(t, "/audit-events?action=user.mfa_reset&target_id="+id+"&outcome=success").Want(t, 200).Get(t, "data"), 1)
	var told bool
	s.Mail.WaitFor(t, "ada@reset.test", 3) // a factor, a passkey, the reset; in any order
	for _, m := range s.Mail.To("ada@reset.test") {
		told = told || strings.Contains(m.Text, "an administrator took all second factors")
	}
	require.True(t, told)

	// A key takes nothing, neither from its own owner nor from others.
	owner, keeper := s.Person(t, root, "keeper@reset.test", "admin")
	key := s.Bearer(keeper.POST(t, "/api-keys", newKey(doc{"scopes": []string{"*"}})).Want(t, 201).String(t, "key"))
	key.DELETE(t, "/users/"+owner+"/mfa").Want(t, 403, "session_required")
	key.DELETE(t, "/users/"+id+"/mfa").Want(t, 403, "session_required")
}

// A new password by mail signs nobody in, and lifts no second factor.
func TestOTT06_AResetLeavesTheSecondFactor(t *testing.T) {
	t.Parallel()
	s := common(t)
	id, ada := s.Person(t, s.Admin(t), "ada@ott06.test")
	app := s.Enrol(t, ada)
	s.Mail.WaitFor(t, "ada@ott06.test", 1)
	waiting := s.Ticket(t, "ada@ott06.test", apptest.Password)
	s.POST(t, "/auth/password/forgot", doc{"email": "ada@ott06.test"}).Want(t, 202)
	token := s.Mail.WaitFor(t, "ada@ott06.test", 2).Token()
	const anew = "amber kettle hums softly"
	done := s.POST(t, "/auth/password/reset", doc{"token": token, "new_password": anew}).Want(t, 204)
	require.Empty(t, done.Header.Values("Set-Cookie"))
	var sessions int
	scan(t, s, &sessions, "SELECT count(*) FROM sessions WHERE user_id = $1", id)
	require.Zero(t, sessions)
	ada.GET(t, "/users/me").Want(t, 401)
	s.POST(t, "/auth/mfa/verify", secondStep(waiting, "totp", app.Code(t))).Want(t, 401, "invalid_mfa_token") // of the old password
	s.POST(t, "/auth/login", doc{"email": "ada@ott06.test", "password": anew}).Want(t, 403, "mfa_required")
	c := s.SignInTwice(t, "ada@ott06.test", anew, app)
	require.Equal(t, true, c.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"))
}

package httpapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// text returns the one value that a query gives.
func text(t testing.TB, s *apptest.Service, sql string, args ...any) (out string) {
	t.Helper()
	conn := connect(t, s)
	require.NoError(t, conn.QueryRow(t.Context(), sql, args...).Scan(&out))
	require.NoError(t, conn.Close(t.Context()))
	return out
}

// rightsOf is everything that rights follow from, and who can be reached where.
func rightsOf(t testing.TB, s *apptest.Service) string {
	t.Helper()
	return text(t, s, `SELECT concat(
		(SELECT json_agg(x ORDER BY id) FROM roles x), (SELECT json_agg(x ORDER BY role_id, permission) FROM role_permissions x),
		(SELECT json_agg(x ORDER BY role_id, inherits_id) FROM role_inherits x), (SELECT json_agg(x ORDER BY user_id, role_id) FROM user_roles x),
		(SELECT json_agg(json_build_array(id, email, status, display_name, mfa_enabled, password_hash) ORDER BY id) FROM users),
		(SELECT json_agg(json_build_array(id, scopes, expires_at, revoked_at) ORDER BY id) FROM api_keys),
		(SELECT count(*) FROM api_key_secrets), (SELECT count(*) FROM one_time_tokens), (SELECT count(*) FROM passkeys))`)
}

// attempt is one request that reaches for more.
type attempt struct {
	name, method, path string
	body               any
}

// AZ-03: who manages people gives nobody, himself included, what he has not, and touches nobody above him, on whichever
// path: directly, by what roles hold and inherit, by accounts that are made, invited or recovered, by keys.
func TestAZ03_NoPathLeadsUp(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	root := s.Admin(t)
	makeRole := func(name string, permissions []string, inherits ...string) string {
		return root.POST(t, "/roles", doc{"name": name, "permissions": permissions, "inherits": append([]string{}, inherits...)}).Want(t, 201).String(t, "id")
	}
	root.POST(t, "/permissions", doc{"name": "invoices:approve"}).Want(t, 201)
	manages := []string{
		"users:read", "users:write", "users:delete", "roles:read", "roles:write", "roles:assign", "profiles:read", "profiles:write", "api_keys:read", "api_keys:write",
		"users:import",
	}
	managers := makeRole("manager", manages)
	extra := makeRole("extra", []string{"audit:read"}) // one permission more than the manager has
	hidden := makeRole("hidden", []string{}, "extra")
	shared := makeRole("shared", []string{"users:read"})
	makeRole("approver", []string{"invoices:approve"})
	mid, m := s.Person(t, root, "manager@az03.test", "manager")
	uid, _ := s.Person(t, root, "user@az03.test")
	bid, boss := s.Person(t, root, "boss@az03.test", "admin", "shared")
	aid, _ := s.Person(t, root, "auditor@az03.test", "hidden")
	pending := root.POST(t, "/users", doc{"email": "pending@az03.test", "roles": []string{"extra"}}).Want(t, 201).String(t, "id")
	robot := root.POST(t, "/users", doc{"kind": "service", "display_name": "robot", "roles": []string{"approver"}}).Want(t, 201).String(t, "id")
	clerk, _ := s.Person(t, root, "clerk@az03.test", "approver")
	bossKey := boss.POST(t, "/api-keys", newKey(doc{"scopes": []string{"audit:read"}})).Want(t, 201).String(t, "id")
	robotKey := root.POST(t, "/api-keys", newKey(doc{"user_id": robot, "scopes": []string{"invoices:approve"}})).Want(t, 201).String(t, "id")
	ownKey := m.POST(t, "/api-keys", newKey(doc{"scopes": []string{"users:read"}})).Want(t, 201).String(t, "id")

	var all []attempt
	try := func(name, method, path string, body any) { all = append(all, attempt{name, method, path, body}) }
	for _, role := range []string{adminRole, extra, hidden} {
		for _, whom := range []string{mid, uid} {
			try("assign", "PUT", "/users/"+whom+"/roles/"+role, doc{})
			try("assign for a while", "PUT", "/users/"+whom+"/roles/"+role, doc{"expires_at": s.Clock.Now().Add(time.Hour)})
		}
	}
	for i, role := range []string{"admin", "extra", "hidden"} {
		email := fmt.Sprintf("made%d@az03.test", i)
		try("create", "POST", "/users", doc{"email": email, "password": apptest.Password, "email_verified": true, "roles": []string{role}})
		try("create pending", "POST", "/users", doc{"email": email, "roles": []string{"manager", role}})
		try("create invited", "POST", "/users", doc{"email": email, "send_invite": true, "roles": []string{role}})
		try("create program", "POST", "/users", doc{"kind": "service", "display_name": "x", "roles": []string{role}})
		try("inherit", "PATCH", "/roles/"+managers, doc{"inherits": []string{role}})
		try("make an heir", "POST", "/roles", doc{"name": "made", "inherits": []string{role}})
	}
	for _, p := range []string{"*", "audit:read", "users:*"} {
		try("widen", "PATCH", "/roles/"+managers, doc{"permissions": append([]string{p}, manages...)})
		try("widen everyone's", "PATCH", "/roles/"+userRole, doc{"permissions": []string{p, "me:read", "me:write"}})
		try("make", "POST", "/roles", doc{"name": "made", "permissions": []string{p}})
		try("own key", "POST", "/api-keys", newKey(doc{"scopes": []string{p}}))
		try("widen own key", "PATCH", "/api-keys/"+ownKey, doc{"scopes": []string{p}})
	}
	for _, role := range []string{extra, hidden, shared} { // above him, or in the hands of somebody above him
		try("weaken", "PATCH", "/roles/"+role, doc{"permissions": []string{}, "inherits": []string{}})
		try("oblige", "PATCH", "/roles/"+role+"?dry_run=true", doc{"require_mfa": true})
		try("remove", "DELETE", "/roles/"+role+"?force=true", nil)
		try("try to remove", "DELETE", "/roles/"+role+"?force=true&dry_run=true", nil)
	}
	for _, whom := range []string{bid, aid, pending} { // each holds what he has not
		u := "/users/" + whom
		try("suspend", "POST", u+"/suspend", doc{"reason": "x"})
		try("reactivate", "POST", u+"/reactivate", nil)
		try("delete", "DELETE", u, nil)
		try("rename", "PATCH", u, doc{"display_name": "x"})
		try("correct the address", "PATCH", u, doc{"email": "mine@az03.test"})
		try("reset", "POST", u+"/password-reset", nil)
		try("invite", "POST", u+"/invite", nil)
		try("reset factors", "DELETE", u+"/mfa", nil)
		try("look where from", "GET", u+"/sessions", nil)
		try("sign out", "DELETE", u+"/sessions", nil)
		try("write the profile", "PATCH", "/profiles/"+whom, doc{"bio": "x"})
		try("give", "PUT", u+"/roles/"+managers, doc{})
	}
	try("take", "DELETE", "/users/"+bid+"/roles/"+shared, nil)
	try("take", "DELETE", "/users/"+bid+"/roles/"+adminRole, nil)
	try("take", "DELETE", "/users/"+aid+"/roles/"+hidden, nil)
	// Whoever controls an account does all that it may do, another program's permissions too.
	try("control by address", "PATCH", "/users/"+clerk, doc{"email": "mine@az03.test"})
	try("control by factors", "DELETE", "/users/"+clerk+"/mfa", nil)
	try("control by key", "POST", "/api-keys", newKey(doc{"user_id": robot, "scopes": []string{"invoices:approve"}}))
	try("control by rotation", "POST", "/api-keys/"+robotKey+"/rotate", doc{})
	try("control by scopes", "PATCH", "/api-keys/"+robotKey, doc{"scopes": []string{"*"}})
	try("somebody's key", "PATCH", "/api-keys/"+bossKey, doc{"name": "x"})
	try("somebody's key", "DELETE", "/api-keys/"+bossKey, nil)
	try("somebody's key", "POST", "/api-keys/"+bossKey+"/rotate", doc{})

	before := rightsOf(t, s)
	for _, a := range all {
		answer := m.Do(t, a.method, a.path, a.body)
		require.Equal(t, 403, answer.Status, "%s: %s %s: %s", a.name, a.method, a.path, answer.Body)
		require.Equal(t, "privilege_escalation", answer.Code(t), "%s: %s", a.name, a.path)
	}
	// By an import each line is refused for itself.
	var lines []string
	for i, role := range []string{"admin", "extra", "hidden"} {
		lines = append(lines,
			fmt.Sprintf(`{"email": "made%d@az03.test", "email_verified": true, "roles": [%q]}`, i, role),
			fmt.Sprintf(`{"email": "made%d@az03.test", "roles": ["manager", %q]}`, i, role),
			fmt.Sprintf(`{"kind": "service", "display_name": "x", "roles": [%q]}`, role))
	}
	for _, whom := range []string{"boss", "auditor", "pending"} {
		lines = append(lines, fmt.Sprintf(`{"email": "%s@az03.test", "display_name": "x", "profile": {"bio": "x"}}`, whom))
	}
	for _, mode := range []string{"update", "update&dry_run=true"} {
		sent := asLines(m).POST(t, "/users/import?on_conflict="+mode, strings.Join(lines, "\n")).Want(t, 202)
		require.EqualValues(t, len(lines), finished(t, m, sent.Header.Get("Location")).Get(t, "failed"))
		for line, code := range lineErrors(t, m, sent.Header.Get("Location")) {
			require.Equal(t, "privilege_escalation", code, lines[line-1])
		}
	}
	require.Equal(t, before, rightsOf(t, s))
	denied := text(t, s, "SELECT count(*)::text FROM audit_events WHERE outcome = 'denied' AND actor_id = $1", mid)
	require.Equal(t, fmt.Sprint(len(all)), denied, "each is recorded")

	// And what lies within his own he does.
	m.PUT(t, "/users/"+uid+"/roles/"+managers, doc{}).Want(t, 204)
	m.POST(t, "/users", doc{"email": "within@az03.test", "send_invite": true, "roles": []string{"manager"}}).Want(t, 201)
	m.POST(t, "/users/"+clerk+"/suspend", doc{"reason": "x"}).Want(t, 200)
	sent := asLines(m).POST(t, "/users/import", `{"email": "imported@az03.test", "roles": ["manager"], "profile": {"bio": "x"}}`).Want(t, 202)
	require.EqualValues(t, 1, finished(t, m, sent.Header.Get("Location")).Get(t, "created"))
}

const lastingAdmins = `SELECT coalesce(string_agg(u.id::text, ' '), '') FROM users u JOIN user_roles r ON r.user_id = u.id
	WHERE r.role_id = '` + adminRole + `' AND r.expires_at IS NULL AND u.status = 'active' AND u.email_verified AND u.kind = 'human'`

// AZ-06: whatever would leave no administrator who can sign in is refused and changes nothing.
func TestAZ06_TheLastAdministratorStaysOnEveryPath(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	root := s.Admin(t)
	id := root.GET(t, "/users/me").Want(t, 200).String(t, "id")
	s.Person(t, root, "other@az06.test")
	self := "/users/" + id
	hour := doc{"expires_at": s.Clock.Now().Add(time.Hour)}
	acts := []attempt{
		{"demote", "DELETE", self + "/roles/" + adminRole, nil},
		{"set an end", "PUT", self + "/roles/" + adminRole, hour},
		{"suspend", "POST", self + "/suspend", doc{"reason": "x"}},
		{"delete", "DELETE", self, nil},
		{"delete oneself", "DELETE", "/users/me", nil},
		{"lose the address", "PATCH", self, doc{"email": "other2@az06.test"}},
	}
	refused := func() {
		t.Helper()
		before := rightsOf(t, s)
		for _, a := range acts {
			require.Equal(t, "last_admin", root.Do(t, a.method, a.path, a.body).Want(t, 409).Code(t), a.name)
		}
		for _, a := range []attempt{
			{"edit", "PATCH", "/roles/" + adminRole, doc{"permissions": []string{}}},
			{"try to edit", "PATCH", "/roles/" + adminRole + "?dry_run=true", doc{"require_mfa": true}},
			{"remove", "DELETE", "/roles/" + adminRole + "?force=true", nil},
			{"try to remove", "DELETE", "/roles/" + adminRole + "?force=true&dry_run=true", nil},
		} {
			require.Equal(t, "system_role", root.Do(t, a.method, a.path, a.body).Want(t, 409).Code(t), a.name)
		}
		require.Equal(t, before, rightsOf(t, s))
		root.GET(t, "/users/me").Want(t, 200)
	}
	refused()
	// An administrator for a while, a suspended one, one by inheritance and a program do not stand in for him.
	until, _ := s.Person(t, root, "until@az06.test")
	root.PUT(t, "/users/"+until+"/roles/"+adminRole, hour).Want(t, 204)
	out, _ := s.Person(t, root, "out@az06.test", "admin")
	root.POST(t, "/users/"+out+"/suspend", doc{"reason": "x"}).Want(t, 200)
	root.POST(t, "/roles", doc{"name": "deputy", "inherits": []string{"admin"}}).Want(t, 201)
	s.Person(t, root, "deputy@az06.test", "deputy")
	root.POST(t, "/users", doc{"kind": "service", "display_name": "robot", "roles": []string{"admin"}}).Want(t, 201)
	refused()

	// His last credential: a passkey alone lets him in, and neither he nor a reset of factors takes it.
	_, made := addPasskey(t, root)
	execute(t, s, "UPDATE users SET password_hash = NULL WHERE id = $1", id)
	root.DELETE(t, "/auth/passkeys/"+made.String(t, "id")).Want(t, 409, "last_credential")
	_, deputy := s.Person(t, root, "deputy2@az06.test", "deputy")
	deputy.DELETE(t, self+"/mfa").Want(t, 409, "last_admin")
	require.Equal(t, "1", text(t, s, "SELECT count(*)::text FROM passkeys WHERE user_id = $1", id))
	refused()
}

// AZ-06 over replicas: two administrators who remove each other at the same moment, each by another path, leave one.
func TestAZ06_OneAdministratorStaysInEveryRace(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	acts := []func(whom string) attempt{
		func(whom string) attempt {
			return attempt{"demote", "DELETE", "/users/" + whom + "/roles/" + adminRole, nil}
		},
		func(whom string) attempt { return attempt{"delete", "DELETE", "/users/" + whom, nil} },
		func(whom string) attempt {
			return attempt{"suspend", "POST", "/users/" + whom + "/suspend", doc{"reason": "x"}}
		},
		func(whom string) attempt {
			return attempt{"end", "PUT", "/users/" + whom + "/roles/" + adminRole, doc{"expires_at": a.Clock.Now().Add(time.Hour)}}
		},
		func(whom string) attempt {
			return attempt{"readdress", "PATCH", "/users/" + whom, doc{"email": "lost-" + whom + "@race.test"}}
		},
	}
	root := a.Admin(t)
	rootID := root.GET(t, "/users/me").Want(t, 200).String(t, "id")
	for round := range 3 * len(acts) {
		otherID, other := a.Person(t, root, fmt.Sprintf("admin%d@race.test", round), "admin")
		for _, at := range []*apptest.Service{a, b} { // both know both, so that nothing but the transactions decides
			root.At(at).GET(t, "/users/me").Want(t, 200)
			other.At(at).GET(t, "/users/me").Want(t, 200)
		}
		one, two := acts[round%len(acts)](otherID), acts[(round+round/len(acts))%len(acts)](rootID)
		var wg sync.WaitGroup
		var answers [2]*apptest.Answer
		var errs [2]error
		wg.Go(func() { answers[0], _, errs[0] = root.At(a).Try(one.method, one.path, one.body) })
		wg.Go(func() { answers[1], _, errs[1] = other.At(b).Try(two.method, two.path, two.body) })
		wg.Wait()
		for i := range answers {
			require.NoError(t, errs[i])
			// Refused: he is the last one, or was removed before his own attempt came to its turn.
			require.Contains(t, []int{200, 204, 401, 403, 409}, answers[i].Status, "%s", answers[i].Body)
		}
		left := strings.Fields(text(t, a, lastingAdmins))
		require.Len(t, left, 1, "%s against %s", one.name, two.name)
		if left[0] == otherID {
			root, rootID = other, otherID
		}
		root.GET(t, "/users/me").Want(t, 200)
	}
}

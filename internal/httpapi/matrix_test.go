package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// matrix is who may call what: the contract's words as a table. It repeats the policies of the routes on purpose, by
// hand, so that a policy that is wrong has somebody who says so.
//
// After the route: who is let in: everybody (public), whoever is signed in (session), whoever is somebody (caller),
// everyone for what is his own (own), or those with a permission. Then what a key needs, one of the names; - is no key.
const matrix = `
GET    /auth/config                       public       *
POST   /auth/register                     public       *
POST   /auth/email/verify                 public       *
POST   /auth/email/verification           public       *
POST   /auth/email/change                 session      -
POST   /auth/email/change/confirm         public       *
POST   /auth/email/change/undo            public       *
POST   /auth/login                        public       *
POST   /auth/mfa/verify                   public       *
GET    /auth/mfa/factors                  session      -
DELETE /auth/mfa/factors/{id}             own          -
POST   /auth/mfa/totp                     session      -
POST   /auth/mfa/totp/{id}/activate       own          -
POST   /auth/mfa/recovery-codes           session      -
POST   /auth/refresh                      public       *
POST   /auth/logout                       public       *
POST   /auth/passkeys/login/options       public       *
POST   /auth/passkeys/login               public       *
POST   /auth/passkeys/registration/options session     -
POST   /auth/passkeys/registration        session      -
POST   /auth/passkeys/reauthentication/options session -
GET    /auth/passkeys                     session      -
PATCH  /auth/passkeys/{id}                own          -
DELETE /auth/passkeys/{id}                own          -
POST   /auth/invitations/accept           public       *
POST   /auth/introspect                   tokens:introspect tokens:introspect
POST   /auth/revoke                       public       *
POST   /auth/password/forgot              public       *
POST   /auth/password/reset               public       *
PUT    /auth/password                     session      -
POST   /auth/magic-link                   public       *
POST   /auth/magic-link/verify            public       *
GET    /auth/sessions                     session      -
DELETE /auth/sessions/{id}                own          -
DELETE /auth/sessions                     session      -
POST   /auth/reauthenticate               session      -
GET    /users/me                          own          me:read users:read
PATCH  /users/me                          own          me:write
DELETE /users/me                          own          -
GET    /users/me/permissions              own          me:read users:read
GET    /users/me/audit-events             session      -
GET    /users/me/export                   session      -
GET    /users                             users:read   users:read
POST   /users                             users:write  users:write
GET    /users/export                      users:export users:export
POST   /users/import                      users:import users:import
GET    /users/import/{id}                 users:import users:import
GET    /users/import/{id}/errors          users:import users:import
GET    /users/{id}                        users:read   users:read
PATCH  /users/{id}                        users:write  users:write
DELETE /users/{id}                        users:delete users:delete
POST   /users/{id}/suspend                users:write  users:write
POST   /users/{id}/reactivate             users:write  users:write
GET    /users/{id}/sessions               users:write  -
DELETE /users/{id}/sessions               users:write  -
POST   /users/{id}/invite                 users:write  users:write
POST   /users/{id}/password-reset         users:write  users:write
DELETE /users/{id}/mfa                    users:write  -
GET    /users/{id}/permissions            roles:read   roles:read
GET    /users/{id}/roles                  roles:read   roles:read
PUT    /users/{id}/roles/{role_id}        roles:assign -
DELETE /users/{id}/roles/{role_id}        roles:assign -
GET    /profiles/me                       own          me:read profiles:read
PUT    /profiles/me                       own          me:write profiles:write
PATCH  /profiles/me                       own          me:write profiles:write
GET    /profiles                          own          me:read profiles:read
GET    /profiles/{user_id}                own          me:read profiles:read
PUT    /profiles/{user_id}                own          me:write profiles:write
PATCH  /profiles/{user_id}                own          me:write profiles:write
PUT    /profiles/me/avatar                own          me:write profiles:write
DELETE /profiles/me/avatar                own          me:write profiles:write
PUT    /profiles/{user_id}/avatar         own          me:write profiles:write
DELETE /profiles/{user_id}/avatar         own          me:write profiles:write
GET    /roles                             roles:read   roles:read
POST   /roles                             roles:write  -
GET    /roles/{id}                        roles:read   roles:read
PATCH  /roles/{id}                        roles:write  -
DELETE /roles/{id}                        roles:write  -
GET    /roles/{id}/users                  roles:read   roles:read
GET    /permissions                       roles:read   roles:read
POST   /permissions                       roles:write  -
DELETE /permissions/{name}                roles:write  -
POST   /authz/check                       own          me:read roles:read
POST   /api-keys                          own          -
GET    /api-keys                          own          -
GET    /api-keys/current                  caller       *
POST   /api-keys/leaked                   public       *
POST   /api-keys/verify                   api_keys:verify api_keys:verify
GET    /api-keys/{id}                     own          -
PATCH  /api-keys/{id}                     own          -
DELETE /api-keys/{id}                     own          -
POST   /api-keys/{id}/rotate              own          -
GET    /api-keys/{id}/usage               own          -
GET    /audit-events                      audit:read   audit:read
GET    /audit-events/export               audit:read   audit:read
GET    /audit-events/{id}                 audit:read   audit:read
`

// builtin are the permissions that the service itself asks for, as the contract lists them.
var builtin = strings.Fields(`users:read users:write users:delete users:import users:export profiles:read profiles:write
	roles:read roles:write roles:assign api_keys:read api_keys:write api_keys:verify audit:read mail:read
	webhooks:read webhooks:write tokens:introspect me:read me:write`)

// rule is a line of the matrix.
type rule struct {
	method, path, who string
	keys              []string // what a key needs, one of them; empty: no key is let in; *: any
}

func (r rule) route() string { return r.method + " " + r.path }

func (r rule) permission() bool { return strings.Contains(r.who, ":") }

// rules reads the matrix, and fails when a route is not in it, or a line is of no route.
func rules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	var lines, routes []string
	for line := range strings.Lines(strings.TrimSpace(matrix)) {
		r := parseRule(line)
		all, lines = append(all, r), append(lines, r.route())
	}
	for _, r := range surface(t) {
		routes = append(routes, r.Method+" "+r.Path)
	}
	require.ElementsMatch(t, routes, lines, "the published matrix and the routes")
	return all
}

func parseRule(line string) rule {
	f := strings.Fields(line)
	r := rule{method: f[0], path: f[1], who: f[2], keys: f[3:]}
	if f[3] == "-" {
		r.keys = nil
	}
	return r
}

// somebody is a caller of the matrix.
type somebody struct {
	name   string
	c      *apptest.Client
	key    bool
	nobody bool
	may    []string // effective permissions
}

func (b somebody) has(p string) bool { return slices.Contains(b.may, p) || slices.Contains(b.may, "*") }

// refusal is what the contract has the caller answered: "" when he is let in.
func (r rule) refusal(b somebody) (code, required string) {
	anyOf := func(names []string) bool { return slices.Contains(names, "*") || slices.ContainsFunc(names, b.has) }
	switch {
	case r.who == "public":
		return "", ""
	case b.nobody:
		return "unauthenticated", ""
	case b.key && len(r.keys) == 0:
		return "session_required", ""
	case b.key && !anyOf(r.keys):
		return "permission_denied", r.keys[0]
	case !b.key && r.permission() && !b.has(r.who):
		return "permission_denied", r.who
	}
	return "", ""
}

// The ids and names of nothing.
var unknown = strings.NewReplacer("{id}", unknownID, "{user_id}", unknownID, "{role_id}", unknownID, "{name}", "no:such")

// takesForm says whether the body of the route is a form.
func takesForm(route string) bool {
	return route == "POST /auth/introspect" || route == "POST /auth/revoke"
}

// asForm sends bodies, which are texts, as forms.
func asForm(c *apptest.Client) *apptest.Client {
	return c.With("Content-Type", "application/x-www-form-urlencoded")
}

// takesPicture says whether the body of the route is a picture.
func takesPicture(route string) bool {
	return strings.HasPrefix(route, "PUT ") && strings.HasSuffix(route, "/avatar")
}

// asPicture sends bodies, which are texts, as pictures.
func asPicture(c *apptest.Client) *apptest.Client { return c.With("Content-Type", "image/png") }

// takesLines says whether the body of the route is NDJSON.
func takesLines(route string) bool { return route == "POST /users/import" }

// asLines sends bodies, which are texts, as NDJSON.
func asLines(c *apptest.Client) *apptest.Client {
	return c.With("Content-Type", "application/x-ndjson")
}

// call asks for a route in a way that changes nothing, whoever is let in: of what does not exist, with a body that lacks
// everything, for a version that never was.
func (r rule) call(t *testing.T, c *apptest.Client, path string) *apptest.Answer {
	t.Helper()
	var body any
	switch {
	case takesForm(r.route()):
		c, body = asForm(c), "x=y"
	case takesPicture(r.route()):
		c, body = asPicture(c), "no picture"
	case takesLines(r.route()):
		c, body = asLines(c), "\n"
	case r.method != http.MethodGet && r.method != http.MethodDelete:
		body = doc{}
	}
	if r.path == "/auth/mfa/totp/{id}/activate" {
		body = doc{"code": "no code"} // it tells that there is no such factor only to what has its form
	}
	return c.With("If-Match", `"999999"`).Do(t, r.method, path, body)
}

func TestAZ02_KEY03_PublishedMatrix(t *testing.T) {
	t.Parallel()
	all := rules(t)
	out := slices.IndexFunc(all, func(r rule) bool { return r.path == "/auth/logout" })
	all = append(slices.Delete(slices.Clone(all), out, out+1), all[out]) // the last: it succeeds
	s := common(t)
	root := s.Admin(t)
	own := []string{"me:read", "me:write"} // what every human has
	_, plain := s.Person(t, root, "plain@matrix.test")
	_, boss := s.Person(t, root, "boss@matrix.test", "admin")
	_, keeper := s.Person(t, root, "keeper@matrix.test", "admin")
	callers := []somebody{
		{name: "anonymous", c: s.Client, nobody: true},
		{name: "user", c: plain, may: own},
		{name: "admin", c: boss, may: []string{"*"}},
	}
	for _, p := range builtin {
		name := "only-" + strings.ReplaceAll(p, ":", "-")
		root.POST(t, "/roles", doc{"name": name, "permissions": []string{p}}).Want(t, 201)
		_, c := s.Person(t, root, name+"@matrix.test", name)
		callers = append(callers, somebody{name: "user with " + p, c: c, may: append([]string{p}, own...)})
	}
	for _, scope := range append([]string{"*"}, builtin...) {
		key := keeper.POST(t, "/api-keys", newKey(doc{"scopes": []string{scope}})).Want(t, 201).String(t, "key")
		callers = append(callers, somebody{name: "key for " + scope, c: s.Bearer(key), key: true, may: []string{scope}})
	}
	for _, b := range callers {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range all {
				a := r.call(t, b.c, unknown.Replace(r.path))
				code, required := r.refusal(b)
				if code == "" {
					if b.key && a.Code(t) == "privilege_escalation" {
						continue // by the target: an administrator's key for less touches no administrator, not even its owner
					}
					if a.Code(t) == "invalid_refresh_token" {
						continue // the token is what is refused, not the caller: nothing in the body leaves the cookie, and there is none
					}
					require.NotContains(t, []int{401, 403, 405, 429}, a.Status, "%s is let in to %s: %s", b.name, r.route(), a.Body)
					require.Less(t, a.Status, 500, "%s: %s", r.route(), a.Body)
					continue
				}
				require.Equal(t, code, a.Code(t), "%s to %s: %d %s", b.name, r.route(), a.Status, a.Body)
				require.Equal(t, map[bool]int{true: 401, false: 403}[b.nobody], a.Status, r.route())
				require.Equal(t, required, a.String(t, "required"), r.route())
			}
		})
	}
}

// same is an answer without what names this one request.
func same(t *testing.T, a *apptest.Answer) map[string]any {
	t.Helper()
	out := map[string]any{"status": a.Status}
	h := maps.Clone(a.Header)
	for _, name := range []string{"X-Request-Id", "Date"} {
		delete(h, name)
	}
	out["header"] = h
	if len(a.Body) > 0 {
		body := a.JSON(t)
		delete(body, "request_id")
		out["body"] = body
	}
	return out
}

func TestAZ01_RefusalsTellNothingOfIDs(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	bob, bobs := s.Person(t, root, "bob@az01.test")
	ann, anns := s.Person(t, root, "ann@az01.test")
	key := bobs.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "id")
	_, made := addPasskey(t, bobs)
	passkey := made.String(t, "id")
	session := bobs.GET(t, "/auth/sessions").Want(t, 200).String(t, "data.0.id")
	factor := bobs.POST(t, "/auth/mfa/totp", nil).Want(t, 201).String(t, "id")
	event := root.GET(t, "/audit-events?limit=1").Want(t, 200).String(t, "data.0.id")
	imported := asLines(root).POST(t, "/users/import", `{"email": "imported@az01.test"}`).Want(t, 202).String(t, "id")
	existing := func(path string) string {
		id := map[string]string{
			"users": bob, "profiles": bob, "roles": adminRole, "sessions": session, "passkeys": passkey, "mfa": factor, "api-keys": key,
			"audit-events": event, "permissions": "",
		}
		if strings.HasPrefix(path, "/users/import/") {
			return strings.ReplaceAll(path, "{id}", imported)
		}
		known, ok := id[strings.Split(strings.TrimPrefix(path, "/auth"), "/")[1]]
		require.True(t, ok, "say which id of Bob's %s takes", path)
		return strings.NewReplacer("{id}", known, "{user_id}", known, "{role_id}", adminRole, "{name}", "users:read").Replace(path)
	}
	malformed := strings.NewReplacer("{id}", "1", "{user_id}", "x", "{role_id}", "-", "{name}", "1")
	hidden := map[string]int{}
	for _, r := range rules(t) {
		if !strings.Contains(r.path, "{") {
			continue
		}
		want, code := 404, "not_found"
		if r.permission() {
			want, code = 403, "permission_denied"
		} else {
			hidden[existing(r.path)]++
		}
		others := r.call(t, anns, existing(r.path)).Want(t, want, code)
		for _, path := range []string{unknown.Replace(r.path), malformed.Replace(r.path)} {
			require.Equal(t, same(t, others), same(t, r.call(t, anns, path)), "%s %s", r.method, path)
		}
	}
	require.Len(t, hidden, 9, "a session, a passkey, a key, its rotation and usage, a factor in two ways, a profile and its avatar")
	for target, n := range map[string]int{bob: 5, key: 5, session: 1, passkey: 2, factor: 2, imported: 2} { // of Bob as user and as profile
		denied := root.GET(t, "/audit-events?outcome=denied&actor_id="+ann+"&target_id="+target).Want(t, 200)
		if target == bob {
			n += len(slices.DeleteFunc(rules(t), func(r rule) bool { return !strings.HasPrefix(r.path, "/users/{id}") }))
		}
		require.Len(t, denied.Get(t, "data"), n, "a denied event for each attempt at %s: %s", target, denied.Body)
	}

	// In query and body: a permission decides before anything is looked up.
	for _, id := range []string{bob, unknownID} {
		a := anns.GET(t, "/api-keys?user_id="+id).Want(t, 403, "permission_denied")
		require.Equal(t, "api_keys:read", a.String(t, "required"))
		a = anns.POST(t, "/api-keys", newKey(doc{"user_id": id})).Want(t, 403, "permission_denied")
		require.Equal(t, "api_keys:write", a.String(t, "required"))
		a = anns.POST(t, "/authz/check", doc{"user_id": id, "permissions": []string{"me:read"}}).Want(t, 403, "permission_denied")
		require.Equal(t, "roles:read", a.String(t, "required"))
		anns.GET(t, "/audit-events?actor_id="+id).Want(t, 403, "permission_denied")
	}
}

package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/httpapi"
)

// lists are the routes that answer in pages, with a path to one that has rows.
func lists(t *testing.T, s *apptest.Service, c *apptest.Client) map[*httpapi.Route]string {
	t.Helper()
	me := c.GET(t, "/users/me").Want(t, 200).String(t, "id")
	all := map[*httpapi.Route]string{}
	for _, r := range surface(t) {
		if operation(t, r).Parameters.GetByInAndName("query", "cursor") == nil {
			continue
		}
		path := strings.Replace(r.Path, "/users/{id}", "/users/"+me, 1)
		all[r] = strings.Replace(path, "/roles/{id}", "/roles/"+userRole, 1)
	}
	require.GreaterOrEqual(t, len(all), 10)
	require.NotNil(t, s)
	return all
}

// sorts are the orders that the contract gives a list, nil when it has one only.
func sorts(t *testing.T, r *httpapi.Route) []string {
	t.Helper()
	p := operation(t, r).Parameters.GetByInAndName("query", "sort")
	if p == nil {
		return nil
	}
	var all []string
	for _, v := range p.Schema.Value.Enum {
		all = append(all, v.(string))
	}
	return all
}

// rich makes an administrator for whom every list has at least three rows.
func rich(t *testing.T, name string) (*apptest.Service, *apptest.Client, *apptest.Client) {
	t.Helper()
	s := common(t)
	root := s.Admin(t)
	for i := range 3 {
		role := fmt.Sprintf("%s-%d", name, i)
		root.POST(t, "/roles", doc{"name": role, "permissions": builtin[:3]}).Want(t, 201)
	}
	_, a := s.Person(t, root, name+"@list.test", "admin", name+"-0", name+"-1", name+"-2")
	_, b := s.Person(t, root, name+"-other@list.test", "admin", name+"-0", name+"-1", name+"-2")
	for _, c := range []*apptest.Client{a, b} {
		for range 3 {
			c.POST(t, "/api-keys", newKey()).Want(t, 201)
			execute(t, s, `INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, aaguid, transports, backup_eligible, backed_up, name)
				VALUES (gen_random_uuid(), $1, gen_random_uuid()::text::bytea, '', 0, gen_random_uuid(), '{}', false, false, 'Phone')`,
				c.GET(t, "/users/me").Want(t, 200).String(t, "id"))
		}
		c.PATCH(t, "/profiles/me", doc{"visibility": "public"}).Want(t, 200)
	}
	for range 2 {
		s.SignIn(t, name+"@list.test", apptest.Password)
		s.SignIn(t, name+"-other@list.test", apptest.Password)
	}
	return s, a, b
}

// AZ-10: nothing sorts, filters or widens a list but what the contract names.
func TestAZ10_OnlyWhatTheContractNames(t *testing.T) {
	t.Parallel()
	s, c, _ := rich(t, "az10")
	for r, path := range lists(t, s, c) {
		for _, query := range []string{
			"fields=password_hash", "password_hash=x", "expand=roles", "filter=x", "include=secrets", "offset=1", "page=2", "order=asc", "email[ne]=x",
			"Limit=1", "LIMIT=1", "limit=1&limit=2", "cursor=a&cursor=b", "limit=0", "limit=-1", "limit=201", "limit=1e2", "q=%00", "$where=1",
			"sort=password_hash", "sort=mfa_secret", "sort=secret_hash", "sort=1", "limit=%zz", "sort=created_at;", "sort=created_at,email", "sort=--created_at", "sort=+created_at",
		} {
			a := c.GET(t, path+"?"+query)
			require.Equal(t, 422, a.Status, "%s?%s: %s", path, query, a.Body)
			name := "query/" + strings.Split(query, "=")[0]
			if strings.ContainsAny(query, ";") || strings.Contains(query, "%z") {
				name = "query"
			}
			require.Contains(t, pointers(t, a), name, "%s?%s", path, query)
		}
		require.LessOrEqual(t, len(c.GET(t, path+"?limit=200").Want(t, 200).Get(t, "data").([]any)), 200)
		for _, sort := range sorts(t, r) {
			c.GET(t, path+"?sort="+sort).Want(t, 200)
		}
	}
}

// AZ-11: a cursor is for its caller, list, filter and order, and no letter of it may change.
func TestAZ11_CursorsAreBound(t *testing.T) {
	t.Parallel()
	s, c, other := rich(t, "az11")
	all := lists(t, s, c)
	cursors := map[string]string{}
	for r, path := range all {
		first := c.GET(t, path+"?limit=1").Want(t, 200)
		cursor := first.String(t, "next_cursor")
		require.NotEmpty(t, cursor, "%s has a second page", path)
		require.Contains(t, first.Header.Get("Link"), cursor)
		cursors[path] = cursor
		next := path + "?limit=1&cursor="
		second := c.GET(t, next+url.QueryEscape(cursor)).Want(t, 200)
		require.NotEqual(t, first.Get(t, "data.0"), second.Get(t, "data.0"))
		refuse := func(by *apptest.Client, query string) {
			checkProblem(t, by.GET(t, path+"?"+query).Want(t, 400, "invalid_cursor"))
		}
		refuse(other, "limit=1&cursor="+cursor)
		for i := 0; i < len(cursor); i += 1 + len(cursor)/12 {
			changed := []byte(cursor)
			changed[i] = map[bool]byte{true: 'B', false: 'A'}[changed[i] == 'A']
			refuse(c, "cursor="+string(changed))
		}
		for _, bad := range []string{
			"x", cursor + "A", cursor[1:], cursor[:len(cursor)-1], cursor + "%3D", "e30", strings.Repeat("A", 100), strings.Repeat("A", 9000),
			"MjAyNi0wMS0wMVQwMDowMDowMFo", "01990000-0000-7000-8000-000000000000",
		} {
			refuse(c, "cursor="+bad)
		}
		for _, sort := range sorts(t, r) {
			if sort != operation(t, r).Parameters.GetByInAndName("query", "sort").Schema.Value.Default {
				refuse(c, "cursor="+cursor+"&sort="+sort)
			}
		}
	}
	for path, cursor := range cursors {
		for of := range cursors {
			if of != path {
				c.GET(t, of+"?cursor="+cursor).Want(t, 400, "invalid_cursor")
			}
		}
	}
	for path, filter := range map[string]string{"/users": "status=active", "/audit-events": "outcome=success", "/api-keys": "status=active", "/profiles": "search=a"} {
		c.GET(t, path+"?"+filter+"&cursor="+cursors[path]).Want(t, 400, "invalid_cursor")
	}
}

// AZ-12: a walk by creation sees every row that lived through it exactly once, whatever comes and goes meanwhile.
func TestAZ12_AWalkSeesEveryRowOnce(t *testing.T) {
	t.Parallel()
	s := common(t)
	_, c := s.Person(t, s.Admin(t), "az12@list.test", "admin")
	const insert = `INSERT INTO users (id, kind, display_name, status, created_at)
		SELECT gen_random_uuid(), 'service', $1 || n, 'active', now() + make_interval(secs => (n - $2::int) / 10) FROM generate_series(1, $2::int) n`
	for _, order := range []string{"created_at", "-created_at"} {
		name := "az12" + strings.Trim(order, "d_") + "-"
		execute(t, s, insert, name+"lives-", 60) // ten of them share each moment
		execute(t, s, insert, name+"goes-", 60)
		seen := map[string]int{}
		next := "/users?limit=7&kind=service&search=" + name + "&sort=" + order
		for page := 0; next != ""; page++ {
			a := c.GET(t, next).Want(t, 200)
			for _, row := range a.Get(t, "data").([]any) {
				seen[row.(doc)["display_name"].(string)]++
			}
			execute(t, s, "DELETE FROM users WHERE display_name IN (SELECT display_name FROM users WHERE display_name LIKE $1 || 'goes-%' LIMIT 6)", name)
			execute(t, s, insert, fmt.Sprintf("%scomes-%d-", name, page), 5)
			next = ""
			if cursor := a.String(t, "next_cursor"); cursor != "" && page < 100 {
				next = "/users?limit=7&kind=service&search=" + name + "&sort=" + order + "&cursor=" + url.QueryEscape(cursor)
			}
		}
		lived := 0
		for row, n := range seen {
			require.Equal(t, 1, n, "%s by %s", row, order)
			if strings.HasPrefix(row, name+"lives-") {
				lived++
			}
		}
		require.Equal(t, 60, lived, order)
	}
}

// HTTP-11: of two edits of one version one wins, on whichever replica; the other is told.
func TestHTTP11_OneOfTwoEditsWins(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	root := pair[0].Admin(t)
	id, me := pair[0].Person(t, root, "http11@list.test")
	role := root.POST(t, "/roles", doc{"name": "http11"}).Want(t, 201).String(t, "id")
	key := root.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "id")
	for _, target := range []struct {
		by   *apptest.Client
		path string
		edit string
	}{
		{by: me, path: "/users/me", edit: "display_name"},
		{by: root, path: "/users/" + id, edit: "external_id"},
		{by: me, path: "/profiles/me", edit: "nickname"},
		{by: root, path: "/profiles/" + id, edit: "given_name"},
		{by: root, path: "/roles/" + role, edit: "description"},
		{by: root, path: "/api-keys/" + key, edit: "name"},
	} {
		first := target.by.GET(t, target.path).Want(t, 200).Header.Get("ETag")
		require.Regexp(t, `^"[0-9]+"$`, first, "strong")
		const edits = 10
		type edited struct {
			value string
			a     *apptest.Answer
			err   error
		}
		results := make(chan edited, edits)
		for i := range edits {
			go func() {
				value := fmt.Sprintf("edit %d", i)
				a, _, err := target.by.At(pair[i%2]).With("If-Match", first).Try(http.MethodPatch, target.path, doc{target.edit: value})
				results <- edited{value, a, err}
			}()
		}
		var won []edited
		for range edits {
			r := <-results
			require.NoError(t, r.err)
			if r.a.Status == 200 {
				won = append(won, r)
				continue
			}
			r.a.Want(t, 412, "precondition_failed")
		}
		require.Len(t, won, 1, target.path)
		now := target.by.GET(t, target.path).Want(t, 200)
		require.Equal(t, won[0].value, now.String(t, target.edit))
		require.Equal(t, won[0].a.Header.Get("ETag"), now.Header.Get("ETag"))
		require.NotEqual(t, first, now.Header.Get("ETag"))

		stale := target.by.With("If-Match", first)
		for _, tag := range []string{first, `"999"`, `W/` + now.Header.Get("ETag"), "1", `""`, `"x"`, `"` + strings.Repeat("9", 400) + `"`} {
			stale.With("If-Match", tag).PATCH(t, target.path, doc{target.edit: "late"}).Want(t, 412, "precondition_failed")
		}
		for _, tag := range []string{now.Header.Get("ETag"), "*", first + ", " + now.Header.Get("ETag")} {
			target.by.With("If-Match", tag).PATCH(t, target.path, doc{}).Want(t, 200)
		}
		require.Equal(t, now.Header.Get("ETag"), target.by.GET(t, target.path).Header.Get("ETag"), "an edit that changes nothing is no version")
		for _, tag := range []string{now.Header.Get("ETag"), "W/" + now.Header.Get("ETag"), "*", `"0", ` + now.Header.Get("ETag")} {
			a := target.by.With("If-None-Match", tag).GET(t, target.path).Want(t, 304)
			require.Equal(t, now.Header.Get("ETag"), a.Header.Get("ETag"))
		}
	}
}

// HTTP-10 over two replicas: one effect, however often and wherever it is asked for.
func TestHTTP10_FiftyRepeatsOverTwoReplicas(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	root := pair[0].Admin(t)
	rotated := root.POST(t, "/api-keys", newKey(doc{"name": "rotated"})).Want(t, 201).String(t, "id")
	for _, c := range []struct {
		path string
		body doc
		by   *apptest.Client
		own  bool // another caller's key is another key
	}{
		{"/users", doc{"email": "http10@list.test"}, root, true},
		{"/roles", doc{"name": "http10"}, root, true},
		{"/permissions", doc{"name": "http10:read"}, root, true},
		{"/api-keys", newKey(), root, true},
		{"/api-keys/" + rotated + "/rotate", doc{"overlap_seconds": 60}, root, false},
		{"/auth/register", doc{"email": "http10-new@list.test", "password": apptest.Password}, pair[0].Client, false},
	} {
		by := c.by.With("Idempotency-Key", "http10")
		answers := make(chan *apptest.Answer, 50)
		for i := range 50 {
			go func() {
				a, _, err := by.At(pair[i%2]).Try(http.MethodPost, c.path, c.body)
				if err != nil {
					t.Error(err)
				}
				answers <- a
			}()
		}
		bodies := map[string]int{}
		first := 0
		for range 50 {
			a := <-answers
			require.NotNil(t, a)
			if a.Status == http.StatusConflict {
				require.Equal(t, "idempotency_in_progress", a.Code(t), "%s: %s", c.path, a.Body)
				continue
			}
			require.Contains(t, []int{201, 202}, a.Status, "%s: %s", c.path, a.Body)
			bodies[string(a.Body)]++
			if a.Header.Get("Idempotency-Replayed") == "" {
				first++
			}
		}
		require.Len(t, bodies, 1, c.path)
		require.Equal(t, 1, first, c.path)
		again := by.At(pair[1]).POST(t, c.path, c.body)
		require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
		require.Contains(t, bodies, string(again.Body))
		other := doc{}
		for k, v := range c.body {
			other[k] = v
		}
		if overlap, ok := c.body["overlap_seconds"].(int); ok {
			other["overlap_seconds"] = overlap + 1
		} else {
			name := []string{"name", "email"}[map[bool]int{true: 1, false: 0}[c.body["email"] != nil]]
			other[name] = strings.Replace(c.body[name].(string), "http10", "http-ten", 1) + map[bool]string{true: "x", false: ""}[c.path == "/api-keys"]
		}
		by.POST(t, c.path, other).Want(t, 422, "idempotency_key_reused")
		if c.own {
			_, boss := pair[0].Person(t, root, strings.Trim(c.path, "/")+"@http10.test", "admin")
			a := boss.With("Idempotency-Key", "http10").POST(t, c.path, c.body)
			require.Empty(t, a.Header.Get("Idempotency-Replayed"), "another caller is another request")
		}
	}
	var n int
	importsOnce(t, pair, root)
	scan(t, pair[0], &n, "SELECT count(*) FROM users WHERE email_norm = 'http10@list.test'")
	require.Equal(t, 1, n)
	scan(t, pair[0], &n, "SELECT count(*) FROM registration_attempts a JOIN users u ON u.id = a.user_id WHERE u.email_norm = 'http10-new@list.test'")
	require.Equal(t, 1, n)
	scan(t, pair[0], &n, "SELECT count(*) FROM api_key_secrets WHERE key_id = '"+rotated+"'")
	require.Equal(t, 2, n, "rotated once")

	// Routes that do not list it ignore the header.
	me := root.With("Idempotency-Key", "patch")
	for _, name := range []string{"A", "B"} {
		a := me.PATCH(t, "/users/me", doc{"display_name": name}).Want(t, 200)
		require.Equal(t, name, a.String(t, "display_name"))
	}
	for _, bad := range []string{"", " ", strings.Repeat("x", 256), "ä", "a b"} {
		a := root.With("Idempotency-Key", bad).POST(t, "/roles", doc{"name": "http10-bad"}).Want(t, 422, "validation_failed")
		require.Equal(t, []string{"header/Idempotency-Key"}, pointers(t, a))
	}
}

// HTTP-10: while the first request is being worked on, a repeat is told so at once and when to come again.
// importsOnce is the same for an import, whose body is known at its end only.
func importsOnce(t *testing.T, pair []*apptest.Service, root *apptest.Client) {
	t.Helper()
	by := asLines(root).With("Idempotency-Key", "http10")
	body := strings.Repeat(`{"kind": "service", "display_name": "http10 import"}`+"\n", 40)
	answers := make(chan *apptest.Answer, 50)
	for i := range 50 {
		go func() {
			a, _, err := by.At(pair[i%2]).Try(http.MethodPost, "/users/import", body)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	bodies := map[string]int{}
	for range 50 {
		a := <-answers
		require.NotNil(t, a)
		if a.Status == http.StatusConflict {
			require.Equal(t, "idempotency_in_progress", a.Code(t))
			continue
		}
		bodies[string(a.Want(t, 202).Body)]++
	}
	require.Len(t, bodies, 1)
	again := by.POST(t, "/users/import", body).Want(t, 202)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Contains(t, bodies, string(again.Body))
	by.POST(t, "/users/import", body+body).Want(t, 422, "idempotency_key_reused")
	finished(t, root, again.Header.Get("Location"))
	var n int
	scan(t, pair[0], &n, "SELECT count(*) FROM imports")
	require.Equal(t, 1, n, "the other uploads left nothing")
	scan(t, pair[0], &n, "SELECT count(*) FROM river_job WHERE kind = 'import'")
	require.Equal(t, 1, n)
	scan(t, pair[0], &n, "SELECT count(*) FROM users WHERE display_name = 'http10 import'")
	require.Equal(t, 40, n)
}

func TestHTTP10_InFlight(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	root := a.Admin(t)
	by := root.With("Idempotency-Key", "in-flight")
	root.At(b).GET(t, "/users/me").Want(t, 200) // known there from now on
	conn := connect(t, a)
	defer func() { _ = conn.Close(t.Context()) }()
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE permissions IN SHARE MODE") // readers pass, writers wait
	require.NoError(t, err)
	first := make(chan *apptest.Answer, 1)
	go func() {
		a, _, err := by.Try(http.MethodPost, "/permissions", doc{"name": "flight:read"})
		if err != nil {
			t.Error(err)
		}
		first <- a
	}()
	for waiting := 0; waiting == 0; { // until the first one has its key and stands before the table
		select {
		case a := <-first:
			t.Fatalf("it did not wait: %d %s", a.Status, a.Body)
		default:
			scan(t, b, &waiting, "SELECT count(*) FROM pg_locks WHERE relation = 'permissions'::regclass AND NOT granted")
		}
	}
	for _, at := range []*apptest.Service{a, b} {
		again := by.At(at).POST(t, "/permissions", doc{"name": "flight:read"}).Want(t, 409, "idempotency_in_progress")
		require.NotEmpty(t, again.Header.Get("Retry-After"))
	}
	by.POST(t, "/permissions", doc{"name": "flight:write"}).Want(t, 422, "idempotency_key_reused")
	require.NoError(t, tx.Commit(t.Context()))
	(<-first).Want(t, 201)
	require.Equal(t, "true", by.POST(t, "/permissions", doc{"name": "flight:read"}).Want(t, 201).Header.Get("Idempotency-Replayed"))
}

package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// TestAdminFlows is the work of administrators. Deletions have a grace here; without one see the user's workflow.
func TestAdminFlows(t *testing.T) {
	t.Parallel()
	p := start(t, "UMS_DELETION_GRACE=720h")
	admin := p.admin(t)

	t.Run("accounts of every kind", func(t *testing.T) {
		t.Parallel()
		once := admin.With("Idempotency-Key", "create-vera")
		vera := doc{"email": "vera@example.org", "password": apptest.Password, "email_verified": true, "external_id": "crm-7", "app_metadata": doc{"plan": "pro"}}
		a := once.POST(t, "/users", vera).Want(t, 201)
		require.Equal(t, "active", a.String(t, "status"))
		again := once.POST(t, "/users", vera).Want(t, 201)
		require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
		require.Equal(t, a.JSON(t), again.JSON(t))
		require.Equal(t, a.Header.Get("Location"), again.Header.Get("Location"))
		once.POST(t, "/users", doc{"email": "other@example.org"}).Want(t, 422, "idempotency_key_reused")
		require.Equal(t, doc{"plan": "pro"}, p.signIn(t, "vera@example.org", apptest.Password).GET(t, "/users/me").Want(t, 200).Get(t, "app_metadata"))

		// Not vouched for: the mailbox proves the password that came along, or chooses the first one.
		a = admin.POST(t, "/users", doc{"email": "pia@example.org", "password": apptest.Password}).Want(t, 201)
		require.Equal(t, "pending", a.String(t, "status"))
		p.login(t, "pia@example.org", apptest.Password).Want(t, 403, "email_unverified")
		token := p.mailTo(t, "pia@example.org", 1).Token()
		p.POST(t, "/auth/email/verify", doc{"token": token, "password": "not the right words"}).Want(t, 401, "invalid_credentials")
		p.POST(t, "/auth/email/verify", doc{"token": token, "password": apptest.Password}).Want(t, 204)
		p.signIn(t, "pia@example.org", apptest.Password)

		admin.POST(t, "/users", doc{"email": "noa@example.org", "display_name": "Noa"}).Want(t, 201)
		p.login(t, "noa@example.org", apptest.Password).Want(t, 401, "invalid_credentials")
		token = p.mailTo(t, "noa@example.org", 1).Token()
		p.POST(t, "/auth/email/verify", doc{"token": token, "password": "short"}).Want(t, 422, "validation_failed")
		p.POST(t, "/auth/email/verify", doc{"token": token, "password": apptest.Password}).Want(t, 204)
		require.Equal(t, "Noa", p.signIn(t, "noa@example.org", apptest.Password).GET(t, "/users/me").Want(t, 200).String(t, "display_name"))

		a = admin.POST(t, "/users", doc{"kind": "service", "display_name": "Nightly job"}).Want(t, 201)
		require.Equal(t, "active", a.String(t, "status"))
		require.Nil(t, a.Get(t, "email"))
		require.Empty(t, a.Get(t, "roles"))
		admin.POST(t, "/users", doc{"kind": "service"}).Want(t, 422, "validation_failed")
		admin.POST(t, "/users", doc{"kind": "service", "display_name": "x", "password": apptest.Password}).Want(t, 422, "validation_failed")
		admin.POST(t, "/users", doc{"email": "VERA@example.org"}).Want(t, 409, "email_taken")
		admin.POST(t, "/users", doc{"email": "w@example.org", "external_id": "crm-7"}).Want(t, 409, "already_exists")
		require.ElementsMatch(t, []string{"/email", "/password", "/locale"}, pointers(t,
			admin.POST(t, "/users", doc{"email": "no address", "password": "short", "locale": "??"}).Want(t, 422, "validation_failed")))
	})

	t.Run("suspension and what it cuts", func(t *testing.T) {
		t.Parallel()
		id, s := p.person(t, admin, "sam@example.org")
		key := s.POST(t, "/api-keys", doc{"name": "k", "scopes": []string{"me:read"}, "environment": "live"}).Want(t, 201).String(t, "key")
		p.secret(key)
		p.Bearer(key).GET(t, "/users/me").Want(t, 200)
		admin.POST(t, "/users/"+id+"/suspend", doc{"reason": "line one\nline two"}).Want(t, 200)
		admin.POST(t, "/users/"+id+"/suspend", doc{"reason": "again"}).Want(t, 200)
		s.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		p.Bearer(key).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
		p.login(t, "sam@example.org", apptest.Password).Want(t, 403, "account_suspended")
		a := admin.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)
		require.Equal(t, "active", a.String(t, "status"))
		s.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		p.Bearer(key).GET(t, "/users/me").Want(t, 200)
		p.signIn(t, "sam@example.org", apptest.Password)
		events := admin.events(t, "action", "user.suspend", "target_id", id)
		require.Len(t, events, 1)
		require.Equal(t, "line one\nline two", events[0]["reason"])
		require.Equal(t, doc{"status": doc{"from": "active", "to": "suspended"}}, events[0]["changes"])
		require.Equal(t, apptest.AdminEmail, events[0]["actor"].(doc)["label"])
	})

	t.Run("roles", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"reports:read", "reports:write", "stock:read"} {
			a := admin.POST(t, "/permissions", doc{"name": name, "description": "Of another program."}).Want(t, 201)
			require.Equal(t, "/api/v1/permissions/"+name, a.Header.Get("Location"))
		}
		admin.POST(t, "/permissions", doc{"name": "reports:read"}).Want(t, 409, "already_exists")
		create := func(body doc) string { return admin.POST(t, "/roles", body).Want(t, 201).String(t, "id") }
		reader := create(doc{"name": "reader", "permissions": []string{"reports:read", "stock:read"}})
		writer := create(doc{"name": "writer", "permissions": []string{"reports:*"}, "inherits": []string{"reader"}, "description": "Writes.\nReads."})
		admin.POST(t, "/roles", doc{"name": "reader"}).Want(t, 409, "already_exists")
		require.ElementsMatch(t, []string{"/permissions/0", "/permissions/1", "/inherits/0"}, pointers(t,
			admin.POST(t, "/roles", doc{"name": "bad", "permissions": []string{"*:read", "no:such"}, "inherits": []string{"nobody"}}).Want(t, 422, "validation_failed")))
		admin.PATCH(t, "/roles/"+reader, doc{"inherits": []string{"writer"}}).Want(t, 422, "role_cycle")
		admin.PATCH(t, "/roles/"+reader, doc{"inherits": []string{"reader"}}).Want(t, 422, "role_cycle")

		id, s := p.person(t, admin, "ria@example.org", "writer")
		held := rows(t, admin.GET(t, "/users/"+id+"/roles").Want(t, 200))
		require.Equal(t, []string{"user", "writer"}, column(held, "name"))
		mine := s.GET(t, "/users/me/permissions").Want(t, 200)
		require.Equal(t, []doc{
			{"permission": "me:read", "roles": []any{"user"}},
			{"permission": "me:write", "roles": []any{"user"}},
			{"permission": "reports:*", "roles": []any{"writer"}},
			{"permission": "reports:read", "roles": []any{"reader", "writer"}},
			{"permission": "stock:read", "roles": []any{"reader", "writer"}},
		}, rows(t, mine))
		require.Equal(t, mine.JSON(t)["data"], admin.GET(t, "/users/"+id+"/permissions").Want(t, 200).JSON(t)["data"])
		require.Equal(t, []string{id}, column(rows(t, admin.GET(t, "/roles/"+writer+"/users").Want(t, 200)), "id"))

		admin.DELETE(t, "/permissions/stock:read").Want(t, 409, "permission_in_use")
		admin.DELETE(t, "/permissions/users:read").Want(t, 409, "permission_in_use")
		admin.DELETE(t, "/roles/"+reader).Want(t, 409, "role_in_use") // inherited
		admin.DELETE(t, "/roles/"+writer).Want(t, 409, "role_in_use") // held
		admin.DELETE(t, "/roles/"+writer+"?force=true").Want(t, 204)
		require.Len(t, rows(t, s.GET(t, "/users/me/permissions").Want(t, 200)), 2)
		admin.DELETE(t, "/roles/"+reader).Want(t, 204)
		admin.GET(t, "/roles/"+reader).Want(t, 404, "not_found")
		admin.DELETE(t, "/permissions/stock:read").Want(t, 204)
		admin.DELETE(t, "/permissions/stock:read").Want(t, 404, "not_found")
	})

	t.Run("a role for a time", func(t *testing.T) {
		t.Parallel()
		role := admin.POST(t, "/roles", doc{"name": "helpdesk", "permissions": []string{"users:read"}}).Want(t, 201).String(t, "id")
		id, s := p.person(t, admin, "tim@example.org")
		path := "/users/" + id + "/roles/" + role
		admin.PUT(t, path, doc{"expires_at": "2020-01-01T00:00:00Z"}).Want(t, 422, "validation_failed")
		admin.PUT(t, path, doc{"expires_at": time.Now().Add(time.Hour)}).Want(t, 204)
		s.GET(t, "/users").Want(t, 200)
		p.execute(t, "UPDATE user_roles SET expires_at = now() WHERE user_id = $1 AND role_id = $2", id, role)
		refused(t, 403, func() *apptest.Answer { return s.GET(t, "/users") }) // nobody announces that time has passed
		require.Equal(t, []any{"user"}, s.GET(t, "/users/me").Want(t, 200).Get(t, "roles"))
		admin.DELETE(t, path).Want(t, 404, "not_found")
		admin.PUT(t, path, nil).Want(t, 204)
		s.GET(t, "/users").Want(t, 200)
		admin.DELETE(t, path).Want(t, 204)
		s.GET(t, "/users").Want(t, 403, "permission_denied")
		require.Equal(t, map[string]int{"role.assign": 2, "role.unassign": 1}, acts(slices.DeleteFunc(admin.events(t, "target_id", id),
			func(e doc) bool { return e["action"] == "user.create" })))
	})

	t.Run("AZ-06 AZ-03 nobody gets above himself, and one administrator stays", func(t *testing.T) {
		t.Parallel()
		roles := rows(t, admin.GET(t, "/roles?sort=created_at").Want(t, 200))
		i := slices.Index(column(roles, "name"), "admin")
		role, me := roles[i]["id"].(string), admin.GET(t, "/users/me").Want(t, 200).String(t, "id")
		admin.POST(t, "/users/"+me+"/suspend", doc{"reason": "holiday"}).Want(t, 409, "last_admin")
		admin.DELETE(t, "/users/"+me).Want(t, 409, "last_admin")
		admin.DELETE(t, "/users/me").Want(t, 409, "last_admin")
		admin.DELETE(t, "/users/"+me+"/roles/"+role).Want(t, 409, "last_admin")
		admin.PUT(t, "/users/"+me+"/roles/"+role, doc{"expires_at": time.Now().Add(time.Hour)}).Want(t, 409, "last_admin")
		admin.PATCH(t, "/users/"+me, doc{"email": "unproven@example.org"}).Want(t, 409, "last_admin")
		admin.PATCH(t, "/roles/"+role, doc{"permissions": []string{}}).Want(t, 409, "system_role")
		admin.DELETE(t, "/roles/"+role+"?force=true").Want(t, 409, "system_role")

		admin.POST(t, "/roles", doc{"name": "manager", "permissions": []string{"users:*", "roles:read", "roles:assign", "roles:write"}}).Want(t, 201)
		_, manager := p.person(t, admin, "max@example.org", "manager")
		victim, _ := p.person(t, admin, "vic@example.org")
		manager.POST(t, "/users", doc{"email": "new@example.org", "roles": []string{"admin"}}).Want(t, 403, "privilege_escalation")
		manager.PUT(t, "/users/"+victim+"/roles/"+role, nil).Want(t, 403, "privilege_escalation")
		manager.POST(t, "/roles", doc{"name": "sly", "permissions": []string{"audit:read"}}).Want(t, 403, "privilege_escalation")
		manager.POST(t, "/roles", doc{"name": "sly", "inherits": []string{"admin"}}).Want(t, 403, "privilege_escalation")
		manager.POST(t, "/users/"+me+"/suspend", doc{"reason": "coup"}).Want(t, 403, "privilege_escalation")
		manager.PATCH(t, "/users/"+me, doc{"display_name": "x"}).Want(t, 403, "privilege_escalation")
		manager.DELETE(t, "/users/"+me).Want(t, 403, "privilege_escalation")
		require.Equal(t, "active", admin.GET(t, "/users/me").Want(t, 200).String(t, "status"))
		require.Equal(t, map[string]int{"user.suspend denied": 1, "user.update denied": 1, "user.delete denied": 1},
			acts(admin.events(t, "target_id", me, "outcome", "denied")))
	})

	t.Run("an address is corrected", func(t *testing.T) {
		t.Parallel()
		id, s := p.person(t, admin, "typo@example.org")
		before := admin.GET(t, "/users/"+id).Want(t, 200)
		a := admin.With("If-Match", before.Header.Get("ETag")).PATCH(t, "/users/"+id, doc{"email": "right@example.org"}).Want(t, 200)
		require.Equal(t, "active", a.String(t, "status"))
		require.Equal(t, false, a.Get(t, "email_verified"))
		s.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		p.login(t, "typo@example.org", apptest.Password).Want(t, 401, "invalid_credentials")
		p.login(t, "right@example.org", apptest.Password).Want(t, 403, "email_unverified")
		require.Equal(t, "The address of your account with UMS was changed", p.mailTo(t, "typo@example.org", 1).Subject)
		token := p.mailTo(t, "right@example.org", 1).Token()
		p.POST(t, "/auth/email/verify", doc{"token": token, "password": apptest.Password}).Want(t, 204)
		p.signIn(t, "right@example.org", apptest.Password)
		p.register(t, "typo@example.org", apptest.Password) // free again
	})

	t.Run("a deletion can be undone for a while", func(t *testing.T) {
		t.Parallel()
		id, s := p.person(t, admin, "dora@example.org")
		admin.PATCH(t, "/users/"+id, doc{"display_name": "Dora Delete"}).Want(t, 200)
		admin.DELETE(t, "/users/"+id).Want(t, 204)
		require.Equal(t, "deleting", admin.GET(t, "/users/"+id).Want(t, 200).String(t, "status"))
		s.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		p.login(t, "dora@example.org", apptest.Password).Want(t, 401, "invalid_credentials")
		require.NotContains(t, column(rows(t, admin.GET(t, "/users?search=dora").Want(t, 200)), "id"), id)
		require.Contains(t, column(rows(t, admin.GET(t, "/users?status=deleting").Want(t, 200)), "id"), id)
		admin.POST(t, "/users", doc{"email": "dora@example.org"}).Want(t, 409, "email_taken")
		admin.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)
		p.signIn(t, "dora@example.org", apptest.Password)

		admin.DELETE(t, "/users/"+id).Want(t, 204)
		p.execute(t, "UPDATE users SET deleted_at = now() - interval '721 hours' WHERE id = $1", id)
		p.execute(t, "INSERT INTO river_job (kind, args, max_attempts) VALUES ('housekeeping', '{}', 1)") // its hour has come
		eventually(t, "the purge", func() bool { return admin.GET(t, "/users/"+id).Status == 404 })
		require.Zero(t, p.count(t, "SELECT count(*) FROM audit_personal WHERE label = 'dora@example.org' OR changes::text LIKE '%Dora%'"))
		events := admin.events(t, "target_id", id)
		require.Equal(t, map[string]int{"user.create": 1, "user.update": 1, "user.delete": 2, "user.reactivate": 1, "user.purge": 1, "auth.login failure": 1}, acts(events))
		last := events[len(events)-1]
		require.Equal(t, "user.purge", last["action"])
		require.Equal(t, "system", last["actor"].(doc)["type"])
		p.register(t, "dora@example.org", apptest.Password)
	})

	t.Run("AZ-11 AZ-12 lists", func(t *testing.T) {
		t.Parallel()
		admin.POST(t, "/roles", doc{"name": "lister", "permissions": []string{"users:read"}}).Want(t, 201)
		listed, other := p.person(t, admin, "list.me@example.org", "lister")
		made := make([]string, 9)
		for i := range made {
			made[i] = admin.POST(t, "/users", doc{"kind": "service", "display_name": fmt.Sprintf("Robot 50%%_%d", i)}).Want(t, 201).String(t, "id")
		}
		find := func(query string) []string {
			return column(rows(t, admin.GET(t, "/users?"+query).Want(t, 200)), "id")
		}
		require.Equal(t, []string{listed}, find("email=LIST.me@Example.org"))
		require.Equal(t, []string{listed}, find("role=lister"))
		require.Equal(t, []string{listed}, find("search=LIST.ME&kind=human&status=active"))
		require.Equal(t, made, find("sort=created_at&search="+url.QueryEscape("50%_")))
		require.Empty(t, find("search="+url.QueryEscape("50__")))
		at := admin.GET(t, "/users/"+made[4]).Want(t, 200).String(t, "created_at")
		require.NotContains(t, find("kind=service&created_after="+at), made[4])
		require.NotContains(t, find("kind=service&created_before="+at), made[4])
		for _, bad := range []string{"limit=0", "limit=201", "sort=password_hash", "password_hash=x", "status=gone", "limit=1&limit=x"} {
			admin.GET(t, "/users?"+bad).Want(t, 422, "validation_failed")
		}

		// A walk sees every row that lives through it once, whatever comes and goes beside it.
		const walk = "/users?limit=2&kind=service&search=robot&sort="
		for _, sort := range []string{"created_at", "-created_at"} {
			var seen []string
			next := walk + sort
			for next != "" {
				a := admin.GET(t, next).Want(t, 200)
				seen = append(seen, column(rows(t, a), "id")...)
				next = ""
				if cursor := a.String(t, "next_cursor"); cursor != "" {
					require.Contains(t, a.Header.Get("Link"), `rel="next"`)
					next = walk + sort + "&cursor=" + cursor
				}
				passing := admin.POST(t, "/users", doc{"kind": "service", "display_name": "Robot that comes and goes"}).Want(t, 201)
				admin.DELETE(t, "/users/"+passing.String(t, "id")).Want(t, 204)
			}
			seen = slices.DeleteFunc(seen, func(id string) bool { return !slices.Contains(made, id) })
			if sort[0] == '-' {
				slices.Reverse(seen)
			}
			require.Equal(t, made, seen)
		}

		cursor := admin.GET(t, walk+"created_at").Want(t, 200).String(t, "next_cursor")
		admin.GET(t, walk+"-created_at&cursor="+cursor).Want(t, 400, "invalid_cursor")
		admin.GET(t, "/users?limit=2&sort=created_at&cursor="+cursor).Want(t, 400, "invalid_cursor")
		admin.GET(t, "/roles?sort=created_at&cursor="+cursor).Want(t, 400, "invalid_cursor")
		other.GET(t, walk+"created_at&cursor="+cursor).Want(t, 400, "invalid_cursor")
		admin.GET(t, walk+"created_at&cursor="+cursor[:len(cursor)-6]+"xxxxxx").Want(t, 400, "invalid_cursor")
	})

	t.Run("nothing is sent twice", func(t *testing.T) {
		t.Parallel()
		role := admin.POST(t, "/roles", doc{"name": "tagged"}).Want(t, 201)
		tag, path := role.Header.Get("ETag"), "/roles/"+role.String(t, "id")
		require.Empty(t, admin.With("If-None-Match", tag).GET(t, path).Want(t, 304).Body)
		admin.With("If-None-Match", `"x", W/`+tag).GET(t, path).Want(t, 304)
		p.person(t, admin, "tagged@example.org", "tagged") // user_count is no part of it
		admin.With("If-None-Match", tag).GET(t, path).Want(t, 304)
		admin.PATCH(t, path, doc{"description": "Other."}).Want(t, 200)
		admin.With("If-None-Match", tag).GET(t, path).Want(t, 200)
		admin.With("If-Match", tag).DELETE(t, path+"?force=true").Want(t, 412, "precondition_failed")
	})
}

package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// newKey is a body that makes a key, with changes.
func newKey(changes ...fields) fields {
	k := fields{"name": "ci", "scopes": []string{"me:read"}, "environment": "live"}
	for _, c := range changes {
		maps.Copy(k, c)
	}
	return k
}

func TestAPIKeyOverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	by := s.Admin(t)
	made := by.POST(t, "/api-keys", newKey(fields{
		"scopes": []string{"users:read", "me:read"}, "allowed_ips": []string{"127.0.0.1", "2001:db8::/32"},
		"rate_limit": fields{"limit": 50, "window_seconds": 60}, "metadata": fields{"team": fields{"name": "a", "size": 3}},
	})).Want(t, http.StatusCreated)
	key, text := made.String(t, "id"), made.String(t, "key")
	require.Equal(t, "/api/v1/api-keys/"+key, made.Header.Get("Location"))
	require.Equal(t, "no-store", made.Header.Get("Cache-Control"))

	got := by.GET(t, "/api-keys/"+key).Want(t, http.StatusOK)
	shown, body := made.JSON(t), got.JSON(t)
	delete(shown, "key")
	require.Equal(t, shown, body)
	require.NotContains(t, string(got.Body), text)
	require.Equal(t, text[len(text)-4:], body["last4"])
	require.Equal(t, []any{"127.0.0.1/32", "2001:db8::/32"}, body["allowed_ips"])
	require.NotNil(t, body["expires_at"])
	tag := got.Header.Get("ETag")
	require.Equal(t, tag, made.Header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, by.With("If-None-Match", tag).GET(t, "/api-keys/"+key).Status)

	patched := by.With("If-Match", tag).PATCH(t, "/api-keys/"+key, fields{
		"name": "deploy", "rate_limit": nil, "metadata": fields{"team": fields{"size": nil}},
	}).Want(t, http.StatusOK)
	require.Equal(t, "deploy", patched.String(t, "name"))
	require.Nil(t, patched.Get(t, "rate_limit"))
	require.Equal(t, map[string]any{"team": map[string]any{"name": "a"}}, patched.Get(t, "metadata"))
	require.Equal(t, body["allowed_ips"], patched.Get(t, "allowed_ips"), "absent members stay")
	by.With("If-Match", tag).PATCH(t, "/api-keys/"+key, fields{"name": "late"}).Want(t, http.StatusPreconditionFailed, "precondition_failed")
	by.With("If-Match", tag).DELETE(t, "/api-keys/"+key).Want(t, http.StatusPreconditionFailed)

	calling := s.With("X-API-Key", text)
	current := calling.GET(t, "/api-keys/current").Want(t, http.StatusOK)
	require.Equal(t, key, current.String(t, "id"))
	by.GET(t, "/api-keys/current").Want(t, http.StatusNotFound, "not_found")

	by.DELETE(t, "/api-keys/"+key).Want(t, http.StatusNoContent)
	by.DELETE(t, "/api-keys/"+key).Want(t, http.StatusNoContent)
	calling.GET(t, "/api-keys/current").Want(t, http.StatusUnauthorized, "invalid_api_key")
	require.Equal(t, "revoked", by.GET(t, "/api-keys/"+key).Want(t, http.StatusOK).String(t, "status"))
	require.Equal(t, key, by.GET(t, "/api-keys?status=revoked").Want(t, http.StatusOK).String(t, "data.0.id"))
	require.Empty(t, by.GET(t, "/api-keys?status=active").Want(t, http.StatusOK).Get(t, "data"))
	by.GET(t, "/api-keys/not-a-uuid").Want(t, http.StatusNotFound, "not_found")
}

func TestAPIKeyInput(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	by := s.Admin(t)
	for name, c := range map[string]struct {
		body fields
		want []string
	}{
		"nothing":         {fields{}, []string{"/environment", "/name", "/scopes"}},
		"unknown field":   {newKey(fields{"Scopes": []string{"*"}}), []string{"/Scopes"}},
		"types":           {newKey(fields{"name": 1, "scopes": "me:read"}), []string{"/name", "/scopes"}},
		"no scopes":       {newKey(fields{"scopes": []string{}}), []string{"/scopes"}},
		"null scopes":     {newKey(fields{"scopes": nil}), []string{"/scopes"}},
		"unregistered":    {newKey(fields{"scopes": []string{"me:read", "no:such"}}), []string{"/scopes/1"}},
		"environment":     {newKey(fields{"environment": "prod"}), []string{"/environment"}},
		"never":           {newKey(fields{"expires_at": nil}), []string{"/expires_at"}},
		"past":            {newKey(fields{"expires_at": "2020-01-01T00:00:00Z"}), []string{"/expires_at"}},
		"no time":         {newKey(fields{"expires_at": "tomorrow"}), []string{"/expires_at"}},
		"networks":        {newKey(fields{"allowed_ips": []string{"10.0.0.1/8", "x"}}), []string{"/allowed_ips/0", "/allowed_ips/1"}},
		"half a limit":    {newKey(fields{"rate_limit": fields{"limit": 1}}), []string{"/rate_limit/window_seconds"}},
		"limit of 0":      {newKey(fields{"rate_limit": fields{"limit": 0, "window_seconds": 1}}), []string{"/rate_limit/limit"}},
		"metadata":        {newKey(fields{"metadata": []int{1}}), []string{"/metadata"}},
		"owner no UUID":   {newKey(fields{"user_id": "me"}), []string{"/user_id"}},
		"control in name": {newKey(fields{"name": "a\u0000b"}), []string{"/name"}},
	} {
		a := by.POST(t, "/api-keys", c.body).Want(t, http.StatusUnprocessableEntity, "validation_failed")
		got := pointers(t, a)
		slices.Sort(got)
		require.Equal(t, c.want, slices.Compact(got), "%s: %s", name, a.Body)
	}
	by.POST(t, "/api-keys", `{"name":"a","name":"b"}`).Want(t, http.StatusBadRequest, "malformed_request")
	for _, query := range []string{"status=gone", "scope=none", "environment=x", "sort=name", "user_id=me", "limit=0", "limit=201", "color=red"} {
		by.GET(t, "/api-keys?"+query).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	}
	by.GET(t, "/api-keys?scope=all&user_id=00000000-0000-7000-8000-000000000001").Want(t, http.StatusUnprocessableEntity, "unsupported_filter")
}

// KEY-01, KEY-03 and the lattice, as a caller meets them.
func TestKEY01KEY03OverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	owner, by := s.Person(t, root, "ada@example.com")
	for _, scopes := range [][]string{{"users:read"}, {"*"}, {"me:*"}, {"me:read", "users:*"}} {
		by.POST(t, "/api-keys", newKey(fields{"scopes": scopes})).Want(t, http.StatusForbidden, "privilege_escalation")
	}
	made := by.POST(t, "/api-keys", newKey(fields{"scopes": []string{"me:read", "me:write"}})).Want(t, http.StatusCreated)
	by.PATCH(t, "/api-keys/"+made.String(t, "id"), fields{"scopes": []string{"*"}}).Want(t, http.StatusForbidden, "privilege_escalation")

	// Another's key: a person's is made by nobody else, and is hidden from those who may not read it.
	root.POST(t, "/api-keys", newKey(fields{"user_id": owner})).Want(t, http.StatusForbidden, "privilege_escalation")
	_, other := s.Person(t, root, "eve@example.com")
	for _, a := range []*apptest.Answer{
		other.GET(t, "/api-keys/"+made.String(t, "id")), other.DELETE(t, "/api-keys/"+made.String(t, "id")),
		other.PATCH(t, "/api-keys/"+made.String(t, "id"), fields{"name": "x"}),
	} {
		a.Want(t, http.StatusNotFound, "not_found")
	}
	for _, query := range []string{"?scope=all", "?user_id=" + owner} {
		require.Equal(t, "api_keys:read", other.GET(t, "/api-keys"+query).Want(t, http.StatusForbidden, "permission_denied").String(t, "required"))
		require.Equal(t, made.String(t, "id"), root.GET(t, "/api-keys"+query).Want(t, http.StatusOK).String(t, "data.0.id"))
	}

	// A service account's.
	bot := root.POST(t, "/users", fields{"kind": "service", "display_name": "Bot"}).Want(t, http.StatusCreated).String(t, "id")
	by.POST(t, "/api-keys", newKey(fields{"user_id": bot})).Want(t, http.StatusForbidden, "permission_denied")
	root.POST(t, "/api-keys", newKey(fields{"user_id": bot})).Want(t, http.StatusForbidden, "privilege_escalation") // it holds nothing

	// KEY-03: with a key none of this.
	key := s.Bearer(root.POST(t, "/api-keys", newKey(fields{"scopes": []string{"*"}})).Want(t, http.StatusCreated).String(t, "key"))
	path := "/api-keys/" + made.String(t, "id")
	for _, a := range []*apptest.Answer{
		key.POST(t, "/api-keys", newKey()), key.GET(t, "/api-keys"), key.GET(t, path), key.PATCH(t, path, fields{"name": "x"}), key.DELETE(t, path),
		key.GET(t, "/auth/sessions"), key.DELETE(t, "/auth/sessions"),
	} {
		a.Want(t, http.StatusForbidden, "session_required")
	}

	// Neither of its own owner nor of others: who finds a key does not become its owner by another address and a reset.
	for _, of := range []string{root.GET(t, "/users/me").String(t, "id"), owner} {
		at := "/users/" + of
		for _, a := range []*apptest.Answer{
			key.GET(t, at+"/sessions"), key.DELETE(t, at+"/sessions"), key.DELETE(t, at+"/mfa"),
			key.PATCH(t, at, fields{"email": "found@example.net"}), key.PATCH(t, at, fields{"display_name": "Found", "email": "found@example.net"}),
		} {
			a.Want(t, http.StatusForbidden, "session_required")
		}
	}
	kept := key.PATCH(t, "/users/"+owner, fields{"display_name": "Ada"}).Want(t, http.StatusOK)
	require.Equal(t, "ada@example.com", kept.String(t, "email"))
	by.GET(t, "/users/me").Want(t, http.StatusOK)

	// What is fresh does not stay so. The session's time is the database's, which the test's clock leaves behind.
	s.Clock.Advance(11 * time.Minute)
	stale := s.SignIn(t, "ada@example.com", apptest.Password)
	stale.GET(t, "/api-keys").Want(t, http.StatusOK)
	stale.POST(t, "/api-keys", newKey()).Want(t, http.StatusForbidden, "reauthentication_required")
}

// KEY-06: where a key is read, and where not.
func TestKEY06WhereAKeyIsRead(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	text := s.Admin(t).POST(t, "/api-keys", newKey()).Want(t, http.StatusCreated).String(t, "key")
	for _, value := range []string{"Bearer " + text, "bearer " + text, "BEARER " + text, "Bearer   " + text} {
		s.With("Authorization", value).GET(t, "/api-keys/current").Want(t, http.StatusOK)
	}
	s.With("x-api-key", text).GET(t, "/api-keys/current").Want(t, http.StatusOK)
	s.Bearer(text).With("X-API-Key", text).GET(t, "/api-keys/current").Want(t, http.StatusBadRequest, "multiple_credentials")
	for _, value := range []string{"Basic " + text, text, "Token " + text} {
		s.With("Authorization", value).GET(t, "/api-keys/current").Want(t, http.StatusUnauthorized, "unauthenticated")
	}
	s.GET(t, "/api-keys/current?api_key="+text).Want(t, http.StatusUnauthorized, "unauthenticated")
	bad := text[:len(text)-1] + "!"
	s.With("X-API-Key", bad).GET(t, "/api-keys/current").Want(t, http.StatusUnauthorized, "invalid_api_key")
	s.Stop() // the access log is written to its end
	require.Contains(t, s.Log.String(), "/api/v1/api-keys/current")
	require.NotContains(t, s.Log.String(), text[len("ums_live_")+22:]) // KEY-07
}

// HTTP-10 over HTTP: one effect, and every repeat gets the first answer, with the secret that it showed.
func TestHTTP10OverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	_, other := s.Person(t, root, "ada@example.com")
	by, other := root.With("Idempotency-Key", "k-1"), other.With("Idempotency-Key", "k-1")
	var mu sync.Mutex
	var answers []*apptest.Answer
	var done sync.WaitGroup
	for range 50 {
		done.Go(func() {
			a, _, err := by.Try("POST", "/api-keys", newKey())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, a)
		})
	}
	done.Wait()
	first := by.POST(t, "/api-keys", newKey()).Want(t, http.StatusCreated)
	require.Equal(t, "true", first.Header.Get("Idempotency-Replayed"))
	fresh := 0
	for _, a := range answers {
		if a.Status == http.StatusConflict {
			require.Equal(t, "idempotency_in_progress", a.Code(t))
			require.NotEmpty(t, a.Header.Get("Retry-After"))
			continue
		}
		require.Equal(t, http.StatusCreated, a.Status, "%s", a.Body)
		require.Equal(t, string(first.Body), string(a.Body))
		for _, name := range []string{"Location", "ETag", "Content-Type", "Cache-Control"} {
			require.Equal(t, first.Header.Get(name), a.Header.Get(name), name)
		}
		if a.Header.Get("Idempotency-Replayed") == "" {
			fresh++
		}
	}
	require.Equal(t, 1, fresh)
	require.Len(t, root.GET(t, "/api-keys").Want(t, http.StatusOK).Get(t, "data"), 1)
	s.With("X-API-Key", first.String(t, "key")).GET(t, "/api-keys/current").Want(t, http.StatusOK)

	by.POST(t, "/api-keys", newKey(fields{"name": "other"})).Want(t, http.StatusUnprocessableEntity, "idempotency_key_reused")
	require.NotEqual(t, first.String(t, "id"), other.POST(t, "/api-keys", newKey()).Want(t, http.StatusCreated).String(t, "id"))
	root.With("Idempotency-Key", "ä b").POST(t, "/api-keys", newKey()).Want(t, http.StatusUnprocessableEntity, "validation_failed")

	// A refusal is not kept: the corrected request may come with the same key.
	retry := root.With("Idempotency-Key", "k-2")
	retry.POST(t, "/api-keys", newKey(fields{"scopes": []string{"no:such"}})).Want(t, http.StatusUnprocessableEntity, "validation_failed")
	retry.POST(t, "/api-keys", newKey()).Want(t, http.StatusCreated)
}

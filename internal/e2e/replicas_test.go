package e2e

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// TestReplicas runs two processes on one database.
func TestReplicas(t *testing.T) {
	t.Parallel()
	p := start(t)
	q := p.beside(t)
	admin := p.admin(t)

	t.Run("REG-01 one address registered a hundred times at once", func(t *testing.T) {
		t.Parallel()
		const email = "wanted@example.org"
		answers := everywhere(t, p, q, 100, "/auth/register", doc{"email": email, "password": apptest.Password})
		served := 0
		for _, a := range answers {
			if a.Status == 503 { // the queues for hashing and for connections are bounded
				require.NotEmpty(t, a.Header.Get("Retry-After"))
				continue
			}
			served++
			a.Want(t, 202)
			require.Len(t, a.JSON(t), 2)
		}
		require.Positive(t, served)
		var id string
		require.NoError(t, p.db(t).QueryRow(t.Context(), "SELECT id::text FROM users WHERE email_norm = $1", email).Scan(&id))
		kept := p.count(t, "SELECT count(*) FROM registration_attempts WHERE user_id = $1", id)
		require.LessOrEqual(t, kept, 3)
		require.Positive(t, kept)
		mails := p.count(t, "SELECT count(*) FROM mail_messages WHERE user_id = $1", id)
		require.LessOrEqual(t, mails, 3)
		require.Len(t, admin.events(t, "actor_id", id), mails, "one event for each attempt that was kept")
	})

	t.Run("TOK-01 one refresh token presented fifty times at once", func(t *testing.T) {
		t.Parallel()
		_, s := p.person(t, admin, "racer@example.org")
		successors := map[string]bool{}
		for _, a := range everywhere(t, p, q, 50, "/auth/refresh", doc{"refresh_token": s.refresh}) {
			successors[p.tokens(t, a).refresh] = true
		}
		require.Len(t, successors, 1)
		for successor := range successors {
			next := q.tokens(t, q.POST(t, "/auth/refresh", doc{"refresh_token": successor}))
			next.at(p).GET(t, "/users/me").Want(t, 200)
		}
		require.Empty(t, admin.events(t, "action", "session.reuse", "target_id", s.session))
	})

	t.Run("TOK-12 what is revoked here is dead there within a second", func(t *testing.T) {
		t.Parallel()
		for name, revoke := range map[string]func(t *testing.T, id string, s, other *signedIn){
			"suspended": func(t *testing.T, id string, _, _ *signedIn) {
				admin.POST(t, "/users/"+id+"/suspend", doc{"reason": "spam"}).Want(t, 200)
			},
			"deleted": func(t *testing.T, id string, _, _ *signedIn) { admin.DELETE(t, "/users/"+id).Want(t, 204) },
			"session-ended": func(t *testing.T, _ string, s, other *signedIn) {
				other.DELETE(t, "/auth/sessions/"+s.session).Want(t, 204)
			},
			"out-elsewhere": func(t *testing.T, _ string, _, other *signedIn) { other.DELETE(t, "/auth/sessions").Want(t, 204) },
			"signed-out":    func(t *testing.T, _ string, s, _ *signedIn) { s.POST(t, "/auth/logout", nil).Want(t, 204) },
			"by-token": func(t *testing.T, _ string, s, _ *signedIn) {
				p.POST(t, "/auth/logout", doc{"refresh_token": s.refresh}).Want(t, 204)
			},
			"address-corrected": func(t *testing.T, id string, _, _ *signedIn) {
				admin.PATCH(t, "/users/"+id, doc{"email": "other." + id + "@example.org"}).Want(t, 200)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				id, s := p.person(t, admin, name+"@example.org")
				other := p.signIn(t, name+"@example.org", apptest.Password)
				there := s.at(q)
				there.GET(t, "/users/me").Want(t, 200) // q remembers
				revoke(t, id, s, other)
				q.POST(t, "/auth/refresh", doc{"refresh_token": s.refresh}).Want(t, 401, "invalid_refresh_token")
				s.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
				refused(t, 401, func() *apptest.Answer { return there.GET(t, "/users/me") })
			})
		}
	})

	t.Run("AZ-08 a right that is taken here is gone there within a second", func(t *testing.T) {
		t.Parallel()
		role := admin.POST(t, "/roles", doc{"name": "auditor", "permissions": []string{"audit:read", "users:read"}}).Want(t, 201).String(t, "id")
		id, s := p.person(t, admin, "auditor@example.org", "auditor")
		there := s.at(q)
		there.GET(t, "/audit-events").Want(t, 200)
		admin.PATCH(t, "/roles/"+role, doc{"permissions": []string{"users:read"}}).Want(t, 200)
		s.GET(t, "/audit-events").Want(t, 403, "permission_denied")
		refused(t, 403, func() *apptest.Answer { return there.GET(t, "/audit-events") })
		there.GET(t, "/users").Want(t, 200)
		admin.DELETE(t, "/users/"+id+"/roles/"+role).Want(t, 204)
		s.GET(t, "/users").Want(t, 403, "permission_denied")
		refused(t, 403, func() *apptest.Answer { return there.GET(t, "/users") })
	})
}

// everywhere sends one request many times at once, to both replicas in turn.
func everywhere(t *testing.T, p, q *process, times int, path string, body doc) []*apptest.Answer {
	t.Helper()
	answers, errs := make([]*apptest.Answer, times), make([]error, times)
	var calls sync.WaitGroup
	for i := range times {
		calls.Go(func() { answers[i], _, errs[i] = []*process{p, q}[i%2].Try("POST", path, body) })
	}
	calls.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	return answers
}

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/token"
)

// life is one session as the model knows it, while random calls at two replicas happen to it.
type life struct {
	rt       *rapid.T
	replicas []*apptest.Service
	execute  func(sql string, args ...any)
	id       string // of the account
	session  string
	email    string
	password string

	admin, other string   // access tokens: an administrator's, and of the account's second session
	access       []string // every access token of the session, the newest last
	refresh      []string // every refresh token, the current last

	ended     bool
	endedAt   time.Time // by the clock
	endedBy   int       // the replica that acknowledged it
	suspended bool
	otherDead bool
}

// call makes a request as nobody or with an access token and returns the status and the body's texts.
func (l *life) call(replica int, bearer, method, path string, body any) (int, map[string]any) {
	l.rt.Helper()
	c := l.replicas[replica].Client
	if bearer != "" {
		c = c.Bearer(bearer)
	}
	a, _, err := c.Try(method, path, body)
	require.NoError(l.rt, err)
	require.Less(l.rt, a.Status, 500, "%s %s: %s", method, path, a.Body)
	out := map[string]any{}
	if len(a.Body) > 0 {
		require.NoError(l.rt, json.Unmarshal(a.Body, &out))
	}
	return a.Status, out
}

func (l *life) must(status int, replica int, bearer, method, path string, body any) map[string]any {
	l.rt.Helper()
	got, out := l.call(replica, bearer, method, path, body)
	require.Equal(l.rt, status, got, "%s %s: %v", method, path, out)
	return out
}

func (l *life) signIn(replica int, email, password string) (access, refresh string) {
	l.rt.Helper()
	out := l.must(200, replica, "", "POST", "/auth/login", doc{"email": email, "password": password})
	return out["access_token"].(string), out["refresh_token"].(string)
}

// end notes that a revocation has been acknowledged.
func (l *life) end(replica int) {
	if !l.ended {
		l.ended, l.endedBy, l.endedAt = true, replica, l.replicas[0].Clock.Now()
	}
}

// use presents an access token: of a living session it is taken everywhere; of an ended one it is refused at once where
// that was acknowledged, and everywhere within a second.
func (l *life) use(replica int, text string) {
	l.rt.Helper()
	status, _ := l.call(replica, text, "GET", "/users/me", nil)
	switch {
	case !l.ended:
		require.Equal(l.rt, 200, status, "the session lives")
	case replica == l.endedBy:
		require.Equal(l.rt, 401, status, "the replica that acknowledged it refuses at once")
	case l.replicas[0].Clock.Now().Sub(l.endedAt) >= time.Second:
		require.Equal(l.rt, 401, status, "the others refuse within a second")
	default:
		require.Contains(l.rt, []int{200, 401}, status)
	}
}

func (l *life) rotate(replica int) {
	l.rt.Helper()
	status, out := l.call(replica, "", "POST", "/auth/refresh", doc{"refresh_token": l.refresh[len(l.refresh)-1]})
	if l.ended {
		require.Equal(l.rt, 401, status, "no refresh after the end, anywhere")
		return
	}
	require.Equal(l.rt, 200, status)
	l.access, l.refresh = append(l.access, out["access_token"].(string)), append(l.refresh, out["refresh_token"].(string))
}

// reuse presents a refresh token that is older than the parent: that ends the session.
func (l *life) reuse(replica int) {
	l.rt.Helper()
	if len(l.refresh) < 3 {
		return
	}
	old := l.refresh[rapid.IntRange(0, len(l.refresh)-3).Draw(l.rt, "which")]
	l.must(401, replica, "", "POST", "/auth/refresh", doc{"refresh_token": old})
	l.end(replica)
}

func (l *life) logout(replica int) {
	l.rt.Helper()
	l.must(204, replica, "", "POST", "/auth/logout", doc{"refresh_token": l.refresh[rapid.IntRange(0, len(l.refresh)-1).Draw(l.rt, "which")]})
	l.end(replica)
}

func (l *life) revoke(replica int) {
	l.rt.Helper()
	texts := slices.Concat(l.access, l.refresh)
	a, _, err := asForm(l.replicas[replica].Client).Try("POST", "/auth/revoke", "token="+rapid.SampledFrom(texts).Draw(l.rt, "which"))
	require.NoError(l.rt, err)
	require.Equal(l.rt, 200, a.Status)
	l.end(replica)
}

// changePassword is done by the account's other session, which lives on.
func (l *life) changePassword(replica int) {
	l.rt.Helper()
	next := "amber kettle walks " + fmt.Sprint(len(l.password)%7) + " times home"
	if next == l.password {
		next += " again"
	}
	body := doc{"current_password": l.password, "new_password": next}
	if l.otherDead {
		status, _ := l.call(replica, l.other, "PUT", "/auth/password", body)
		require.Equal(l.rt, 401, status)
		return
	}
	l.must(204, replica, l.other, "PUT", "/auth/password", body)
	l.password = next
	l.end(replica)
}

// endFromOther ends the session from the account's other one.
func (l *life) endFromOther(replica int) {
	l.rt.Helper()
	status, _ := l.call(replica, l.other, "DELETE", "/auth/sessions/"+l.session, nil)
	switch {
	case l.otherDead:
		require.Equal(l.rt, 401, status)
	case l.ended:
		require.Equal(l.rt, 404, status)
	default:
		require.Equal(l.rt, 204, status)
		l.end(replica)
	}
}

// endAll is an administrator's.
func (l *life) endAll(replica int) {
	l.rt.Helper()
	l.must(204, replica, l.admin, "DELETE", "/users/"+l.id+"/sessions", nil)
	l.endBoth(replica)
}

// reset sets the password by a link; that it is mailed is not what is tried here.
func (l *life) reset(replica int) {
	l.rt.Helper()
	text, hash := token.NewOneTime()
	l.execute(`INSERT INTO one_time_tokens (id, purpose, token_hash, user_id, email_norm, auth_epoch, expires_at)
		SELECT gen_random_uuid(), 'password_reset', $2, id, email_norm, auth_epoch, now() + interval '1 hour' FROM users WHERE id = $1`, l.id, hash[:])
	body := doc{"token": text.Reveal(), "new_password": l.password}
	if l.suspended {
		l.must(400, replica, "", "POST", "/auth/password/reset", body)
		return
	}
	l.must(204, replica, "", "POST", "/auth/password/reset", body)
	l.endBoth(replica)
}

// endBoth notes that the account's other session has ended, too.
func (l *life) endBoth(replica int) {
	l.otherDead = true
	l.replicas[0].Clock.Advance(time.Second) // so that the model need not know who has heard of the other session
	l.end(replica)
}

func (l *life) suspend(replica int) {
	l.rt.Helper()
	if l.suspended {
		l.must(200, replica, l.admin, "POST", "/users/"+l.id+"/reactivate", nil)
		l.suspended = false
		return
	}
	l.must(200, replica, l.admin, "POST", "/users/"+l.id+"/suspend", doc{"reason": "x"})
	l.suspended = true
	l.endBoth(replica)
}

// Refreshes, sign-outs, password changes and resets, suspensions, ends of sessions and reuse in any order, at either replica: after a revocation is
// acknowledged no refresh succeeds anywhere, the replica that acknowledged it refuses access at once and the other
// within a second; and before one, nothing is refused.
func TestRevocationHoldsInAnyOrder(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	b := apptest.Start(t, apptest.Beside(a), apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	conn := connect(t, a)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		l := &life{rt: rt, replicas: []*apptest.Service{a, b}, email: fmt.Sprintf("life-%d@property.test", n), password: apptest.Password}
		l.execute = func(sql string, args ...any) {
			_, err := conn.Exec(t.Context(), sql, args...)
			require.NoError(rt, err)
		}
		l.admin, _ = l.signIn(0, apptest.AdminEmail, apptest.AdminPassword)
		l.id = l.must(201, 0, l.admin, "POST", "/users", doc{"email": l.email, "password": l.password, "email_verified": true})["id"].(string)
		l.other, _ = l.signIn(0, l.email, l.password)
		access, refresh := l.signIn(1, l.email, l.password)
		l.access, l.refresh = []string{access}, []string{refresh}
		l.session = l.must(200, 1, access, "GET", "/auth/sessions?limit=1", nil)["data"].([]any)[0].(map[string]any)["id"].(string)
		steps := map[string]func(replica int){
			"use":     func(r int) { l.use(r, rapid.SampledFrom(l.access).Draw(rt, "which")) },
			"refresh": l.rotate, "refresh again": l.rotate, "refresh once more": l.rotate, // most of what happens
			"reuse": l.reuse, "logout": l.logout, "revoke": l.revoke, "change password": l.changePassword, "suspend or reactivate": l.suspend,
			"reset": l.reset, "end from the other": l.endFromOther, "end all": l.endAll,
			"a second": func(int) { a.Clock.Advance(time.Second) },
		}
		names := []string{"use", "use", "refresh", "refresh again", "refresh once more", "reuse", "logout", "revoke", "change password", "suspend or reactivate", "reset", "end from the other", "end all", "a second"}
		for range rapid.IntRange(3, 12).Draw(rt, "steps") {
			steps[rapid.SampledFrom(names).Draw(rt, "step")](rapid.IntRange(0, 1).Draw(rt, "replica"))
			for replica := range l.replicas { // what is true now, is true of every token and everywhere
				l.use(replica, l.access[0])
				l.use(replica, l.access[len(l.access)-1])
			}
		}
		a.Clock.Advance(time.Second)
		for replica := range l.replicas {
			for _, text := range l.access {
				l.use(replica, text)
			}
			l.rotate(replica)
		}
	})
}

package httpapi_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// everywhere is a number of replicas of one service, with the same clock and mail server.
func everywhere(t *testing.T, n int, env ...string) []*apptest.Service {
	t.Helper()
	all := []*apptest.Service{apptest.Start(t, apptest.Env(env...))}
	for len(all) < n {
		all = append(all, apptest.Start(t, apptest.Beside(all[0]), apptest.Env(env...)))
	}
	return all
}

// 50 refreshes with one token over three replicas make one chain: each success carries the same successor, and the session lives.
func TestTOK01_ParallelRefreshesMakeOneChain(t *testing.T) {
	t.Parallel()
	r := everywhere(t, 3, "UMS_REFRESH_GRACE=1m")
	const email = "tok01@session.test"
	r[0].Person(t, r[0].Admin(t), email)
	first := r[0].POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 200)
	answers := make([]*apptest.Answer, 50)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			for answers[i] == nil || answers[i].Status == 503 { // too busy: again, as told
				a, _, err := r[i%3].Try("POST", "/auth/refresh", doc{"refresh_token": first.String(t, "refresh_token")})
				if err != nil {
					return
				}
				answers[i] = a
			}
		})
	}
	wg.Wait()
	successor := ""
	for i, a := range answers {
		require.NotNil(t, a, "%d", i)
		a.Want(t, 200)
		if successor == "" {
			successor = a.String(t, "refresh_token")
		}
		require.Equal(t, successor, a.String(t, "refresh_token"))
		r[(i+1)%3].Bearer(a.String(t, "access_token")).GET(t, "/users/me").Want(t, 200)
	}
	r[1].POST(t, "/auth/refresh", doc{"refresh_token": successor}).Want(t, 200)
}

// A token older than the parent ends the session everywhere, with its access tokens; it is in the log, and the owner is told.
func TestTOK02_AnOldTokenEndsTheSession(t *testing.T) {
	t.Parallel()
	r := everywhere(t, 3)
	root := r[0].Admin(t)
	const email = "tok02@session.test"
	_, other := r[0].Person(t, root, email)
	agent := "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	browser := func(n int) *apptest.Client { return r[n].With("User-Agent", agent) }
	one := browser(0).POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 200)
	r[0].Mail.WaitFor(t, email, 1) // of the new program
	two := browser(1).POST(t, "/auth/refresh", doc{"refresh_token": one.String(t, "refresh_token")}).Want(t, 200)
	three := browser(2).POST(t, "/auth/refresh", doc{"refresh_token": two.String(t, "refresh_token")}).Want(t, 200)
	for i, a := range []*apptest.Answer{one, two, three} {
		r[i].Bearer(a.String(t, "access_token")).GET(t, "/users/me").Want(t, 200)
	}
	r[1].POST(t, "/auth/refresh", doc{"refresh_token": one.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	for i, a := range []*apptest.Answer{three, two, one} {
		r[i].POST(t, "/auth/refresh", doc{"refresh_token": a.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	}
	r[1].Bearer(three.String(t, "access_token")).GET(t, "/users/me").Want(t, 401, "invalid_access_token") // here at once
	r[0].Clock.Advance(time.Second)
	for i, a := range []*apptest.Answer{one, two, three} {
		r[i].Bearer(a.String(t, "access_token")).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	}
	other.GET(t, "/users/me").Want(t, 200) // another session of the same person
	events := root.GET(t, "/audit-events?action=session.reuse").Want(t, 200)
	require.Len(t, events.Get(t, "data"), 1, "told once")
	require.Equal(t, one.String(t, "session_id"), events.String(t, "data.0.target.id"))
	require.Equal(t, "failure", events.String(t, "data.0.outcome"))
	mail := r[0].Mail.WaitFor(t, email, 2)
	require.Contains(t, mail.Text, "presented twice")
	require.Contains(t, mail.Text, "Firefox on Linux")
}

// Whatever ends a session ends it everywhere: here at once, at another replica within a second; no refresh lives on anywhere.
func TestTOK12_WhatEndsASessionEndsItEverywhere(t *testing.T) {
	t.Parallel()
	r := everywhere(t, 2)
	here, there := r[0], r[1]
	root := here.Admin(t)
	const email = "tok12@session.test"
	id, _ := here.Person(t, root, email)
	for _, c := range []struct {
		name string
		end  func(victim, other *apptest.Answer)
	}{
		{"one by one", func(victim, other *apptest.Answer) {
			here.Bearer(other.String(t, "access_token")).DELETE(t, "/auth/sessions/"+victim.String(t, "session_id")).Want(t, 204)
		}},
		{"all others", func(_, other *apptest.Answer) {
			here.Bearer(other.String(t, "access_token")).DELETE(t, "/auth/sessions").Want(t, 204)
		}},
		{"sign-out", func(victim, _ *apptest.Answer) {
			here.POST(t, "/auth/logout", doc{"refresh_token": victim.String(t, "refresh_token")}).Want(t, 204)
		}},
		{"an administrator", func(_, _ *apptest.Answer) { root.DELETE(t, "/users/"+id+"/sessions").Want(t, 204) }},
		{"suspension", func(_, _ *apptest.Answer) { root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200) }},
		{"deletion", func(_, _ *apptest.Answer) {
			root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)
			root.DELETE(t, "/users/"+id).Want(t, 204)
		}},
	} {
		if c.name == "deletion" {
			root.POST(t, "/users/"+id+"/reactivate", nil).Want(t, 200)
		}
		in := login(email, apptest.Password)
		victim, other := here.POST(t, "/auth/login", in).Want(t, 200), here.POST(t, "/auth/login", in).Want(t, 200)
		at := here.Bearer(victim.String(t, "access_token"))
		at.GET(t, "/users/me").Want(t, 200)
		at.At(there).GET(t, "/users/me").Want(t, 200) // it is remembered there
		c.end(victim, other)
		refresh := doc{"refresh_token": victim.String(t, "refresh_token")}
		there.POST(t, "/auth/refresh", refresh).Want(t, 401, "invalid_refresh_token")
		here.POST(t, "/auth/refresh", refresh).Want(t, 401, "invalid_refresh_token")
		at.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		here.Clock.Advance(time.Second)
		require.Equal(t, 401, at.At(there).GET(t, "/users/me").Status, c.name)
	}
}

// An administrator sees and ends the sessions of whom he may manage, and of nobody above him.
func TestTOK15_SessionsOfAnotherUser(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	const email = "tok15@session.test"
	id, ada := s.Person(t, root, email)
	s.With("User-Agent", "curl/8").POST(t, "/auth/login", doc{"email": email, "password": apptest.Password, "device_name": "Phone"}).Want(t, 200)
	root.POST(t, "/roles", doc{"name": "tok15-desk", "permissions": []string{"users:write"}}).Want(t, 201)
	_, desk := s.Person(t, root, "tok15-desk@session.test", "tok15-desk")
	boss, bossAt := s.Person(t, root, "tok15-boss@session.test", "admin")
	key := ada.POST(t, "/api-keys", newKey(doc{"scopes": []string{"me:read"}})).Want(t, 201).String(t, "key")

	path := "/users/" + id + "/sessions"
	page := desk.GET(t, path+"?limit=1").Want(t, 200)
	require.Equal(t, "Phone", page.String(t, "data.0.device_name"))
	require.Equal(t, "curl/8", page.String(t, "data.0.user_agent"))
	require.Equal(t, "127.0.0.1", page.String(t, "data.0.ip"))
	require.Equal(t, false, page.Get(t, "data.0.current"))
	cursor := page.String(t, "next_cursor")
	next := desk.GET(t, path+"?limit=1&cursor="+cursor).Want(t, 200)
	require.Equal(t, "Go-http-client", next.String(t, "data.0.device_name"), "the program, where no name was given")
	require.Nil(t, next.Get(t, "next_cursor"))
	desk.GET(t, "/users/"+boss+"/sessions?limit=1&cursor="+cursor).Want(t, 400, "invalid_cursor") // bound to whose they are
	root.GET(t, path+"?limit=1&cursor="+cursor).Want(t, 400, "invalid_cursor")

	for _, refused := range []*apptest.Answer{desk.GET(t, "/users/"+boss+"/sessions"), desk.DELETE(t, "/users/"+boss+"/sessions")} {
		refused.Want(t, 403, "privilege_escalation")
	}
	ada.GET(t, path).Want(t, 403, "permission_denied") // even his own: those are at /auth/sessions
	ada.DELETE(t, path).Want(t, 403, "permission_denied")
	bossAt.GET(t, "/users/me").Want(t, 200)

	desk.DELETE(t, path).Want(t, 204)
	ada.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	s.Bearer(key).GET(t, "/users/me").Want(t, 200) // keys are no sessions
	require.Empty(t, desk.GET(t, path).Want(t, 200).Get(t, "data"))
	desk.DELETE(t, path).Want(t, 204)
	events := root.GET(t, "/audit-events?action=user.end_sessions&outcome=success&target_id="+id).Want(t, 200)
	require.Len(t, events.Get(t, "data"), 1, "what ended nothing is no event")
	bossAt.DELETE(t, "/users/"+boss+"/sessions").Want(t, 204) // his own, the current one too
	bossAt.GET(t, "/users/me").Want(t, 401, "invalid_access_token")
}

// A session ends when it is not used for a while, and at last however much it is used; its tokens say how long it has.
func TestSessionLifetimes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_REFRESH_IDLE_TTL=1h", "UMS_REFRESH_MAX_TTL=24h"))
	const email = "life@session.test"
	_, watch := s.Person(t, s.Admin(t), email)
	sign := func() *apptest.Answer { return s.POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 200) }
	refresh := func(a *apptest.Answer) *apptest.Answer {
		return s.POST(t, "/auth/refresh", doc{"refresh_token": a.String(t, "refresh_token")})
	}
	listed := func() int { return len(watch.GET(t, "/auth/sessions").Want(t, 200).Get(t, "data").([]any)) }

	idle := sign()
	require.InDelta(t, 3600, idle.Get(t, "refresh_expires_in"), 5)
	execute(t, s, "UPDATE sessions SET idle_expires_at = now() + interval '1 minute' WHERE id = $1", idle.String(t, "session_id"))
	idle = refresh(idle).Want(t, 200)
	require.InDelta(t, 3600, idle.Get(t, "refresh_expires_in"), 5, "use prolongs it")
	require.Equal(t, 2, listed())
	execute(t, s, "UPDATE sessions SET idle_expires_at = now() - interval '1 second' WHERE id = $1", idle.String(t, "session_id"))
	refresh(idle).Want(t, 401, "invalid_refresh_token")
	s.Clock.Advance(time.Second)
	s.Bearer(idle.String(t, "access_token")).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	require.Equal(t, 1, listed())

	old := sign()
	execute(t, s, "UPDATE sessions SET expires_at = now() + interval '10 minutes' WHERE id = $1", old.String(t, "session_id"))
	old = refresh(old).Want(t, 200)
	require.InDelta(t, 600, old.Get(t, "refresh_expires_in"), 5, "use does not prolong it beyond its end")
	execute(t, s, "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE id = $1", old.String(t, "session_id"))
	refresh(old).Want(t, 401, "invalid_refresh_token")
	s.Clock.Advance(time.Second)
	s.Bearer(old.String(t, "access_token")).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
	watch.GET(t, "/users/me").Want(t, 200)
}

// The owner is told of a sign-in with a program or from a network that is new for the account: in his language, with what
// he can check, and not with the name that whoever signed in has chosen.
func TestOwnersAreToldOfUnfamiliarSignIns(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_TRUSTED_PROXIES=127.0.0.1"))
	root := s.Admin(t)
	const email = "told@session.test"
	root.POST(t, "/users", doc{"email": email, "password": apptest.Password, "email_verified": true, "locale": "de", "display_name": "Ada"}).Want(t, 201)
	sign := func(ip, agent string) {
		s.With("X-Forwarded-For", ip).With("User-Agent", agent).
			POST(t, "/auth/login", doc{"email": email, "password": apptest.Password, "device_name": "Your own phone"}).Want(t, 200)
	}
	firefox := func(version string) string {
		return "Mozilla/5.0 (Windows NT 10.0; rv:" + version + ") Gecko/20100101 Firefox/" + version
	}
	sign("192.0.2.1", firefox("140.0")) // the first of all
	sign("192.0.2.1", firefox("141.0"))
	sign("2001:db8::1", firefox("141.0"))
	mail := s.Mail.WaitFor(t, email, 1)
	require.Contains(t, mail.Subject, "Neue Anmeldung")
	for _, want := range []string{"Ada", "Firefox on Windows", "2001:db8::1", "UTC", "Passwort"} {
		require.Contains(t, mail.Text, want)
	}
	require.NotContains(t, mail.Text, "phone")
	sign("2001:db8::2", firefox("142.0")) // the same /64
	sign("192.0.2.1", "curl/8")
	require.Contains(t, s.Mail.WaitFor(t, email, 2).Text, "curl")
	s.With("X-Forwarded-For", "203.0.113.9").POST(t, "/auth/login", login(email, wrongPassword)).Want(t, 401)
	sign("192.0.2.1", "curl/9")
	require.Len(t, s.Mail.To(email), 2)
}

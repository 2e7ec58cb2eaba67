package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
)

// forgotten asks for a reset and returns the n-th mail to the address, counted from its first.
func forgotten(t *testing.T, s *apptest.Service, email string, n int) mailtest.Message {
	t.Helper()
	s.POST(t, "/auth/password/forgot", doc{"email": email}).Want(t, 202)
	return s.Mail.WaitFor(t, email, n)
}

func login(email, password string) doc { return doc{"email": email, "password": password} }

// Of parallel resets with one token, at two replicas, exactly one succeeds: its password works, the others' do not, and
// one event tells of it.
func TestOTT01_OneOfManyResetsWins(t *testing.T) {
	t.Parallel()
	r := replicas(t)
	const email = "ott01@recovery.test"
	id, _ := r[0].Person(t, r[0].Admin(t), email)
	token := forgotten(t, r[0], email, 1).Token()
	const n = 20
	password := func(i int) string { return fmt.Sprintf("%s %d", rightPassword, i) }
	statuses := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for statuses[i] == 0 || statuses[i] == http.StatusServiceUnavailable { // overloaded: again, as told
				a, _, err := r[i%2].Try("POST", "/auth/password/reset", doc{"token": token, "new_password": password(i)})
				if err != nil {
					statuses[i] = -1
					return
				}
				statuses[i] = a.Status
			}
		})
	}
	wg.Wait()
	won := 0
	for i, status := range statuses {
		want := 401
		if status == 204 {
			won, want = won+1, 200
		} else {
			require.Equal(t, 400, status)
		}
		r[(i+1)%2].POST(t, "/auth/login", login(email, password(i))).Want(t, want)
	}
	require.Equal(t, 1, won)
	r[0].POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 401)
	events := r[0].Admin(t).GET(t, "/audit-events?action=auth.password_reset&target_id="+id).Want(t, 200)
	require.Len(t, events.Get(t, "data"), 1)
	require.Equal(t, id, events.String(t, "data.0.actor.id"))
}

// Scanners fetch links, send HEAD and OPTIONS, and some run scripts: nothing of it uses a token, and nothing is recorded.
func TestOTT02_ScannersUseNothing(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_MAGIC_LINK=true"))
	root := s.Admin(t)
	const email = "ott02@recovery.test"
	s.Person(t, root, email)
	reset := forgotten(t, s, email, 1).Token()
	s.POST(t, "/auth/magic-link", doc{"email": email}).Want(t, 202)
	link := s.Mail.WaitFor(t, email, 2).Token()
	registered := s.POST(t, "/auth/register", login("ott02-new@recovery.test", rightPassword)).Want(t, 202).String(t, "registration_id")
	verify := s.Mail.WaitFor(t, "ott02-new@recovery.test", 1).Token()
	_, invitation := invited(t, s, root, "ott02-invited@recovery.test")
	back, forth := movingTo(t, s, root, "ott02-mover@recovery.test", "ott02-moved@recovery.test")
	var before, after, sessions, still int
	const counted = "SELECT (SELECT count(*) FROM audit_events), (SELECT count(*) FROM sessions)"
	conn := connect(t, s)
	require.NoError(t, conn.QueryRow(t.Context(), counted).Scan(&before, &sessions))
	for path, page := range map[string]string{
		"/auth/password/reset": "/reset-password", "/auth/magic-link/verify": "/magic-link", "/auth/email/verify": "/verify-email",
		acceptPath: "/accept-invitation", confirmPath: "/confirm-email-change", undoPath: "/undo-email-change",
	} {
		for range 10 {
			for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
				for _, url := range []string{path + "?token=" + reset, path, page} {
					s.With("Sec-Purpose", "prefetch").Do(t, method, url, nil)
				}
			}
		}
	}
	require.NoError(t, conn.QueryRow(t.Context(), counted).Scan(&after, &still))
	require.NoError(t, conn.Close(t.Context()))
	require.Equal(t, []int{before, sessions}, []int{after, still})
	s.POST(t, "/auth/magic-link/verify", doc{"token": link}).Want(t, 200)
	s.POST(t, "/auth/password/reset", doc{"token": reset, "new_password": rightPassword}).Want(t, 204)
	s.POST(t, "/auth/email/verify", doc{"token": verify, "registration_id": registered}).Want(t, 204)
	accept(t, s, invitation).Want(t, 204)
	s.POST(t, confirmPath, doc{"token": forth}).Want(t, 204)
	s.POST(t, undoPath, doc{"token": back}).Want(t, 204)
}

// movingTo makes an account that has asked for another address, and returns the tokens of the way back and the way forth.
func movingTo(t *testing.T, s *apptest.Service, root *apptest.Client, from, to string) (back, forth string) {
	t.Helper()
	_, mover := s.Person(t, root, from)
	mover.POST(t, changePath, doc{"new_email": to}).Want(t, 202)
	return s.Mail.WaitFor(t, from, 1).Token(), s.Mail.WaitFor(t, to, 1).Token()
}

// Whatever a request says of its host, links in mails come from the configuration.
func TestOTT04_LinksComeFromConfiguration(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_LINK_BASE_URL=https://app.recovery.test/account", "UMS_TRUSTED_PROXIES=127.0.0.0/8"))
	root := s.Admin(t)
	ask := func(n int, head string) *http.Response {
		body := fmt.Sprintf(`{"email":"ott04-%d@recovery.test"}`, n)
		return wire(t, s, fmt.Sprintf("%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", head, len(body), body))
	}
	const post = "POST /api/v1/auth/password/forgot HTTP/1.1\r\nHost: localhost"
	served := []string{
		post,
		post + "\r\nX-Forwarded-Host: evil.test",
		post + "\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /evil",
		post + "\r\nForwarded: host=evil.test;proto=https",
		post + "\r\nX-Original-URL: https://evil.test/\r\nX-Rewrite-URL: /evil\r\nOrigin: https://evil.test\r\nReferer: https://evil.test/",
	}
	for n, head := range served {
		email := fmt.Sprintf("ott04-%d@recovery.test", n)
		s.Person(t, root, email)
		require.Equal(t, 202, ask(n, head).StatusCode, head)
		m := s.Mail.WaitFor(t, email, 1)
		require.Contains(t, m.Text, "\nhttps://app.recovery.test/account/reset-password#token="+m.Token()+"\n")
		for _, evil := range []string{"evil", "gopher", "666", "localhost"} {
			require.NotContains(t, m.Text+m.HTML, evil, head)
		}
	}
	for _, head := range []string{
		"POST /api/v1/auth/password/forgot HTTP/1.1\r\nHost: evil.test",
		"POST /api/v1/auth/password/forgot HTTP/1.1\r\nHost: localhost:80@evil.test",
		"POST /api/v1/auth/password/forgot HTTP/1.1\r\nHost: localhost.evil.test",
		"POST http://evil.test/api/v1/auth/password/forgot HTTP/1.1\r\nHost: localhost",
	} {
		require.Contains(t, []int{400, 421}, ask(0, head).StatusCode, head)
	}
	require.Len(t, s.Mail.Messages(), len(served))
}

// Nothing of a request leads anywhere: there is no field and no parameter for where to go afterwards.
func TestOTT05_NoRedirects(t *testing.T) {
	t.Parallel()
	s := common(t)
	evil := []string{
		"//evil.test", "https:evil.test", `\\evil.test`, "https://app.test.evil.test", "https://app.test@evil.test", "javascript:alert(1)",
		"data:text/html,x", "%0d%0aLocation: x", "https://app.test/../", strings.Repeat("x", 5000),
	}
	for path, body := range map[string]doc{
		"/auth/register":           login("ott05@recovery.test", rightPassword),
		"/auth/email/verification": {"email": "ott05@recovery.test"},
		"/auth/email/verify":       {"token": "x", "password": "x"},
		"/auth/password/forgot":    {"email": "ott05@recovery.test"},
		"/auth/password/reset":     {"token": "x", "new_password": rightPassword},
		"/auth/magic-link":         {"email": "ott05@recovery.test"},
		"/auth/magic-link/verify":  {"token": "x"},
		"/auth/invitations/accept": {"token": "x", "password": rightPassword},
		"/auth/login":              login("ott05@recovery.test", rightPassword),
	} {
		for _, name := range []string{"redirect_to", "return_to"} {
			for _, value := range evil {
				with := doc{name: value}
				for k, v := range body {
					with[k] = v
				}
				a := s.POST(t, path, with).Want(t, 422, "validation_failed")
				require.Equal(t, []string{"/" + name}, pointers(t, a), path)
				require.Empty(t, a.Header.Get("Location"))
			}
			s.POST(t, path+"?"+name+"=%2F%2Fevil.test", body).Want(t, 422, "validation_failed")
		}
	}
}

// A reset opens no session and lifts no second factor: the next sign-in asks for it.
func TestOTT06_ResetLiftsNoSecondFactor(t *testing.T) {
	t.Parallel()
	s := common(t)
	const email = "ott06@recovery.test"
	root := s.Admin(t)
	id, ada := s.Person(t, root, email)
	execute(t, s, "INSERT INTO mfa_factors (id, user_id, secret_sealed, activated_at) VALUES (gen_random_uuid(), $1, '', now())", id)
	execute(t, s, "UPDATE users SET mfa_enabled = true WHERE id = $1", id)
	a := s.POST(t, "/auth/password/reset", doc{"token": forgotten(t, s, email, 1).Token(), "new_password": rightPassword}).Want(t, 204)
	require.Empty(t, a.Body)
	require.Empty(t, a.Header.Values("Set-Cookie"))
	ada.GET(t, "/users/me").Want(t, 401)
	require.Equal(t, true, root.GET(t, "/users/"+id).Want(t, 200).Get(t, "mfa_enabled"))
	s.POST(t, "/auth/login", login(email, rightPassword)).Want(t, 403, "mfa_required")
	var sessions int
	scan(t, s, &sessions, "SELECT count(*) FROM sessions WHERE user_id = $1", id)
	require.Zero(t, sessions)
}

// 500 requests from as many addresses bring three mails in an hour and ten in a day; the answer is always the same.
func TestOTT10_ResetMailsAreFew(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_TRUSTED_PROXIES=127.0.0.0/8"))
	const email = "ott10@recovery.test"
	s.POST(t, "/auth/register", login(email, rightPassword)).Want(t, 202) // one mail of the three
	s.Mail.WaitFor(t, email, 1)
	ask := func(n int) {
		t.Helper()
		var wg sync.WaitGroup
		var neutral atomic.Int32
		work := make(chan int, n)
		for i := range n {
			work <- i
		}
		close(work)
		for range 20 {
			wg.Go(func() {
				for i := range work {
					c := s.With("X-Forwarded-For", fmt.Sprintf("203.0.%d.%d", 113+i/250, 1+i%250))
					if a, _, err := c.Try("POST", "/auth/password/forgot", doc{"email": email}); err == nil && a.Status == 202 && len(a.Body) == 0 {
						neutral.Add(1)
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, n, neutral.Load())
	}
	mails := func() (n int) {
		scan(t, s, &n, "SELECT count(*) FROM mail_messages m JOIN users u ON u.id = m.user_id WHERE u.email_norm = $1", email)
		return n
	}
	ask(500)
	require.Equal(t, 3, mails())
	for range 4 {
		execute(t, s, "UPDATE credential_limits SET resets_at = now() WHERE resets_at < now() + interval '2 hours'")
		ask(10)
	}
	require.Equal(t, 10, mails())
}

var mailedLink = regexp.MustCompile(`https?://[^\s"<>]+`)

// A mailed token has 256 bits and stands in the fragment, which no browser sends; no log, no event, no metric holds it.
func TestOTT11_TokensOfLinksShowNowhere(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_MAGIC_LINK=true"))
	root := s.Admin(t)
	const email = "ott11@recovery.test"
	id, _ := s.Person(t, root, email)
	forgotten(t, s, email, 1)
	root.POST(t, "/users/"+id+"/password-reset", nil).Want(t, 202)
	s.Mail.WaitFor(t, email, 2)
	s.POST(t, "/auth/magic-link", doc{"email": email}).Want(t, 202)
	s.Mail.WaitFor(t, email, 3)
	s.POST(t, "/auth/register", login("ott11-new@recovery.test", rightPassword)).Want(t, 202)
	s.Mail.WaitFor(t, "ott11-new@recovery.test", 1)
	root.PATCH(t, "/users/"+id, doc{"email": "ott11-other@recovery.test"}).Want(t, 200)
	s.Mail.WaitFor(t, "ott11-other@recovery.test", 1)
	invited(t, s, root, "ott11-invited@recovery.test")
	movingTo(t, s, root, "ott11-mover@recovery.test", "ott11-moved@recovery.test")
	var tokens []string
	pages := map[string]bool{}
	for _, m := range s.Mail.Messages() {
		require.Len(t, m.Recipients, 1)
		for _, link := range mailedLink.FindAllString(m.Text+m.HTML, -1) {
			address, token, ok := strings.Cut(link, "#token=")
			require.True(t, ok, link)
			page, ok := strings.CutPrefix(address, "http://localhost:8080/")
			require.True(t, ok, link)
			pages[page] = true
			raw, err := base64.RawURLEncoding.DecodeString(token)
			require.NoError(t, err)
			require.Len(t, raw, 32)
			tokens = append(tokens, token)
		}
	}
	require.Equal(t, map[string]bool{
		"verify-email": true, "reset-password": true, "accept-invitation": true, "confirm-email-change": true,
		"undo-email-change": true, "magic-link": true,
	}, pages, "every link that is ever mailed")
	for _, m := range s.Mail.Messages() {
		if m.Code() != "" {
			tokens = append(tokens, m.Code())
		}
	}
	for _, token := range tokens { // of every kind at every door, and where a clumsy client would put it
		for _, path := range []string{"/auth/password/reset", "/auth/magic-link/verify", "/auth/email/verify", acceptPath, confirmPath, undoPath} {
			s.POST(t, path, doc{"token": token, "new_password": rightPassword, "password": rightPassword})
			s.POST(t, path, doc{"token": token})
			s.POST(t, path+"?token="+token, doc{})
		}
		page := s.GET(t, "/reset-password?token="+token).Want(t, 200)
		require.NotContains(t, string(page.Body), token)
		require.Equal(t, "no-referrer", page.Header.Get("Referrer-Policy"))
		s.Bearer(token).GET(t, "/users/me").Want(t, 401)
	}
	var events string
	scan(t, s, &events, `SELECT string_agg(e::text, ' ') || string_agg(p::text, ' ')
		FROM audit_events e LEFT JOIN audit_personal p ON p.event_id = e.id`)
	metrics := scrape(t, s)
	s.Stop() // the access log is written to its end
	for _, token := range tokens {
		require.NotContains(t, s.Log.String(), token)
		require.NotContains(t, events, token)
		require.NotContains(t, metrics, token)
	}
}

// doors are all ways to set a password: each tries one on an account of its own and returns the answer.
func doors(t *testing.T, s *apptest.Service) map[string]func(t *testing.T, email, password string) *apptest.Answer {
	root := s.Admin(t)
	return map[string]func(t *testing.T, email, password string) *apptest.Answer{
		"register": func(t *testing.T, email, password string) *apptest.Answer {
			a := s.POST(t, "/auth/register", login(email, password))
			if a.Status == 202 {
				proof := doc{"registration_id": a.String(t, "registration_id"), "token": s.Mail.WaitFor(t, email, 1).Token()}
				s.POST(t, "/auth/email/verify", proof).Want(t, 204)
			}
			return a
		},
		"create": func(t *testing.T, email, password string) *apptest.Answer {
			return root.POST(t, "/users", doc{"email": email, "password": password, "email_verified": true})
		},
		"reset": func(t *testing.T, email, password string) *apptest.Answer {
			root.POST(t, "/users", doc{"email": email, "email_verified": true}).Want(t, 201)
			return s.POST(t, "/auth/password/reset", doc{"token": forgotten(t, s, email, 1).Token(), "new_password": password})
		},
		"change": func(t *testing.T, email, password string) *apptest.Answer {
			_, c := s.Person(t, root, email)
			return c.PUT(t, "/auth/password", doc{"current_password": apptest.Password, "new_password": password})
		},
	}
}

// try calls each door with each password, in accounts of their own.
func tryDoors(t *testing.T, s *apptest.Service, name string, passwords []string, check func(t *testing.T, email, password string, a *apptest.Answer)) {
	t.Helper()
	n := 0
	for door, set := range doors(t, s) {
		for _, password := range passwords {
			n++
			email := fmt.Sprintf("wendigo.%s.%s.%d@doors.test", name, door, n)
			a := set(t, email, password)
			t.Logf("%s: %d code points: %d", door, len([]rune(password)), a.Status)
			check(t, email, password, a)
		}
	}
}

func weak(t *testing.T, _, _ string, a *apptest.Answer) {
	t.Helper()
	a.Want(t, 422, "validation_failed")
	require.Regexp(t, `^/(new_)?password$`, a.String(t, "errors.0.pointer"))
	require.NotEmpty(t, a.String(t, "errors.0.detail"))
}

// A password works as a whole, whichever way it was set.
func TestPWD01_NothingIsCutOff(t *testing.T) {
	t.Parallel()
	s := common(t)
	long := strings.Repeat("violet harbour sings ", 5)[:100]
	tryDoors(t, s, "pwd01", []string{long}, func(t *testing.T, email, password string, a *apptest.Answer) {
		require.Less(t, a.Status, 300, "%s", a.Body)
		for _, other := range []string{password[:72], password[:64], password + "x"} {
			s.POST(t, "/auth/login", login(email, other)).Want(t, 401, "invalid_credentials")
		}
		s.POST(t, "/auth/login", login(email, password)).Want(t, 200)
	})
}

// Length is counted in code points, the same at every door; what is too long is refused before it is hashed.
func TestPWD03_LengthAtEveryDoor(t *testing.T) {
	t.Parallel()
	s := common(t)
	words := func(n int) string {
		var b strings.Builder
		for i := 0; len([]rune(b.String())) < n; i++ {
			fmt.Fprintf(&b, "%c%x ü", 'a'+(i*7)%26, i*7919)
		}
		return string([]rune(b.String())[:n])
	}
	tryDoors(t, s, "pwd03", []string{words(7), words(11), words(257), words(1025)}, weak)
	tryDoors(t, s, "pwd03ok", []string{words(12), words(64), words(256)}, func(t *testing.T, email, password string, a *apptest.Answer) {
		require.Less(t, a.Status, 300, "%s", a.Body)
		s.POST(t, "/auth/login", login(email, password)).Want(t, 200)
	})
	huge := strings.Repeat("x", 1<<20)
	for path, body := range map[string]doc{
		"/auth/register": login("huge@doors.test", huge), "/auth/login": login("huge@doors.test", huge),
		"/auth/password/reset": {"token": "x", "new_password": huge},
	} {
		s.POST(t, path, body).Want(t, 413, "payload_too_large")
	}
}

// Common passwords and those made of the account are refused at every door with a reason; a phrase with blanks, letters
// of one case and emoji is good.
func TestPWD04_GuessableAtEveryDoor(t *testing.T) {
	t.Parallel()
	s := common(t)
	tryDoors(t, s, "pwd04", []string{"passwordpassword", "aaaaaaaaaaaaaaa", "123456789012", "ums ums ums ums", "wendigo.doors.test", "wendigowendigo"}, weak)
	tryDoors(t, s, "pwd04ok", []string{"quiet otters juggle ripe plums 🦦"}, func(t *testing.T, _, _ string, a *apptest.Answer) {
		require.Less(t, a.Status, 300, "%s", a.Body)
	})
}

// A change by somebody who knows the password ends the other sessions and what was mailed, on every replica within a
// second; the session that made it goes on, keys stay, and the owner is told.
func TestPWD08_ChangeEndsTheRest(t *testing.T) {
	t.Parallel()
	a, b := clocked(t)
	const email = "pwd08@recovery.test"
	_, first := a.Person(t, a.Admin(t), email)
	own := a.POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 200)
	session := a.Bearer(own.String(t, "access_token"))
	others := []*apptest.Client{first, a.SignIn(t, email, apptest.Password)}
	key := a.Bearer(session.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key"))
	for _, c := range append(others, session, key) {
		c.At(b).GET(t, "/users/me").Want(t, 200) // b remembers
	}
	reset := forgotten(t, a, email, 1).Token()

	session.PUT(t, "/auth/password", doc{"current_password": wrongPassword, "new_password": rightPassword}).Want(t, 401, "invalid_credentials")
	session.PUT(t, "/auth/password", doc{"new_password": rightPassword}).Want(t, 422, "validation_failed")
	key.PUT(t, "/auth/password", doc{"current_password": apptest.Password, "new_password": rightPassword}).Want(t, 403, "session_required")
	weak := session.PUT(t, "/auth/password", doc{"current_password": apptest.Password, "new_password": "short"}).Want(t, 422, "validation_failed")
	require.Equal(t, []string{"/new_password"}, pointers(t, weak))
	for _, c := range others {
		c.GET(t, "/users/me").Want(t, 200)
	}
	session.PUT(t, "/auth/password", doc{"current_password": apptest.Password, "new_password": rightPassword}).Want(t, 204)

	check := func(at *apptest.Service) {
		t.Helper()
		for _, c := range others {
			c.At(at).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
		}
		session.At(at).GET(t, "/users/me").Want(t, 200)
		key.At(at).GET(t, "/users/me").Want(t, 200)
		at.POST(t, "/auth/password/reset", doc{"token": reset, "new_password": wrongPassword}).Want(t, 400, "invalid_token")
	}
	check(a)
	a.Clock.Advance(time.Second)
	check(b)
	next := b.POST(t, "/auth/refresh", doc{"refresh_token": own.String(t, "refresh_token")}).Want(t, 200)
	b.Bearer(next.String(t, "access_token")).GET(t, "/users/me").Want(t, 200)
	require.Contains(t, a.Mail.WaitFor(t, email, 2).Subject, "changed")
	a.POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 401)
	a.POST(t, "/auth/login", login(email, rightPassword)).Want(t, 200)
}

// Nobody reads or chooses the password of an account that exists, whatever he may do: an administrator can have a link
// mailed to its owner, unless the account is above him.
func TestPWD10_NobodySetsAnothersPassword(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	const email = "pwd10@recovery.test"
	id, ada := s.Person(t, root, email)
	for _, body := range []doc{
		{"password": rightPassword}, {"new_password": rightPassword}, {"password_hash": "x"}, {"current_password": "x", "new_password": rightPassword},
	} {
		for _, path := range []string{"/users/" + id, "/users/me", "/profiles/" + id} {
			root.PATCH(t, path, body).Want(t, 422, "validation_failed")
		}
		root.POST(t, "/users/"+id+"/suspend", body).Want(t, 422, "validation_failed")
	}
	root.PUT(t, "/users/"+id+"/password", doc{"password": rightPassword}).Want(t, 404)
	root.POST(t, "/users", login(email, rightPassword)).Want(t, 409, "email_taken")
	for _, path := range []string{"/users/" + id, "/users?email=" + email, "/audit-events?target_id=" + id} {
		require.NotRegexp(t, `argon2|password_hash|"password"`, string(root.GET(t, path).Want(t, 200).Body), path)
	}
	ada.GET(t, "/users/me").Want(t, 200)

	a := root.POST(t, "/users/"+id+"/password-reset", nil).Want(t, 202)
	require.Empty(t, a.Body)
	older := s.Mail.WaitFor(t, email, 1)
	root.POST(t, "/users/"+id+"/password-reset", nil).Want(t, 202)
	s.POST(t, "/auth/password/reset", doc{"token": older.Token(), "new_password": rightPassword}).Want(t, 400, "invalid_token")
	ada.GET(t, "/users/me").Want(t, 200) // the mail alone ends nothing
	s.POST(t, "/auth/password/reset", doc{"token": s.Mail.WaitFor(t, email, 2).Token(), "new_password": rightPassword}).Want(t, 204)
	s.SignIn(t, email, rightPassword)
	require.Len(t, root.GET(t, "/audit-events?action=user.password_reset&target_id="+id).Want(t, 200).Get(t, "data"), 2)

	root.POST(t, "/roles", doc{"name": "pwd10-desk", "permissions": []string{"users:write"}}).Want(t, 201)
	_, desk := s.Person(t, root, "pwd10-desk@recovery.test", "pwd10-desk")
	boss, _ := s.Person(t, root, "pwd10-boss@recovery.test", "admin")
	desk.POST(t, "/users/"+id+"/password-reset", nil).Want(t, 202)
	desk.POST(t, "/users/"+boss+"/password-reset", nil).Want(t, 403, "privilege_escalation")
	ada = s.SignIn(t, email, rightPassword)
	ada.POST(t, "/users/"+id+"/password-reset", nil).Want(t, 403, "permission_denied")
	require.Empty(t, s.Mail.To("pwd10-boss@recovery.test"))

	program := root.POST(t, "/users", doc{"kind": "service", "display_name": "p"}).Want(t, 201).String(t, "id")
	root.POST(t, "/users/"+program+"/password-reset", nil).Want(t, 422, "validation_failed")
	root.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, 200)
	root.POST(t, "/users/"+id+"/password-reset", nil).Want(t, 422, "validation_failed")
}

// The mailbox's owner recovers an account that somebody else had registered and used: on every replica nothing of that
// is left within a second.
func TestREG05_RecoveryEverywhere(t *testing.T) {
	t.Parallel()
	a, b := clocked(t, "UMS_EMAIL_VERIFICATION=optional", "UMS_MAGIC_LINK=true")
	recover := map[string]func(t *testing.T, email string){
		"reset": func(t *testing.T, email string) {
			reset := doc{"token": forgotten(t, a, email, 2).Token(), "new_password": rightPassword}
			a.POST(t, "/auth/password/reset", reset).Want(t, 204)
			b.POST(t, "/auth/login", login(email, rightPassword)).Want(t, 200)
		},
		"magic-link": func(t *testing.T, email string) {
			a.POST(t, "/auth/magic-link", doc{"email": email}).Want(t, 202)
			in := a.POST(t, "/auth/magic-link/verify", doc{"token": a.Mail.WaitFor(t, email, 2).Token()}).Want(t, 200)
			b.Bearer(in.String(t, "access_token")).GET(t, "/users/me").Want(t, 200)
		},
	}
	for name, by := range recover {
		email := name + "@reg05.test"
		a.POST(t, "/auth/register", login(email, apptest.Password)).Want(t, 201)
		verify := a.Mail.WaitFor(t, email, 1).Token()
		in := a.POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 200)
		attacker := a.Bearer(in.String(t, "access_token"))
		key := a.Bearer(attacker.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key"))
		attacker.At(b).GET(t, "/users/me").Want(t, 200)
		key.At(b).GET(t, "/users/me").Want(t, 200)
		by(t, email)
		a.Clock.Advance(time.Second)
		for _, at := range []*apptest.Service{a, b} {
			attacker.At(at).GET(t, "/users/me").Want(t, 401, "invalid_access_token")
			key.At(at).GET(t, "/users/me").Want(t, 401, "invalid_api_key")
			at.POST(t, "/auth/refresh", doc{"refresh_token": in.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
			at.POST(t, "/auth/login", login(email, apptest.Password)).Want(t, 401, "invalid_credentials")
			at.POST(t, "/auth/email/verify", doc{"token": verify, "password": apptest.Password}).Want(t, 400, "invalid_token")
		}
	}
}

// Switched off, the magic link is not there; switched on, sign-in pages learn of it.
func TestMagicLinkIsSwitchedOn(t *testing.T) {
	t.Parallel()
	s := common(t)
	s.POST(t, "/auth/magic-link", doc{"email": apptest.AdminEmail}).Want(t, 404, "not_found")
	s.POST(t, "/auth/magic-link/verify", doc{"token": "x"}).Want(t, 404, "not_found")
	require.NotContains(t, s.GET(t, "/auth/config").Get(t, "methods"), "magic_link")
	on := apptest.Start(t, apptest.Env("UMS_MAGIC_LINK=true"))
	require.Contains(t, on.GET(t, "/auth/config").Get(t, "methods"), "magic_link")
}

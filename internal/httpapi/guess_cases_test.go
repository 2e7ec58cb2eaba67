package httpapi_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// behindProxy makes the service believe what the test says of client addresses.
const behindProxy = "UMS_TRUSTED_PROXIES=127.0.0.1"

// guess signs in from an address, with the wrong password unless another is given, and returns the status.
func guess(t *testing.T, s *apptest.Service, from, email string, password ...string) int {
	t.Helper()
	return s.With("X-Forwarded-For", from).POST(t, "/auth/login", login(email, append(password, wrongPassword)[0])).Status
}

// Spraying from one network and stuffing one account from many both end, and alike for accounts that exist and that do not.
func TestRL04_SprayingAndStuffing(t *testing.T) {
	t.Parallel()
	r := everywhere(t, 2, behindProxy)
	root := r[0].Admin(t)
	r[0].Person(t, root, "known@guess.test")

	sprayed := map[int]int{} // one guess at each of 200 accounts, of which one exists
	for i := range 200 {
		email := fmt.Sprintf("u%d@guess.test", i)
		if i == 50 {
			email = "known@guess.test"
		}
		sprayed[guess(t, r[i%2], "198.51.100.1", email)]++
	}
	require.Equal(t, map[int]int{401: 100, 429: 100}, sprayed, "ten times what one account has")
	require.Equal(t, 429, guess(t, r[0], "198.51.100.1", "known@guess.test", apptest.Password), "the right password, too")
	require.Equal(t, 401, guess(t, r[0], "198.51.100.2", "known@guess.test"))

	var seen [2][]int // one guess from each of 110 networks at an account that exists, and at one that does not
	for n, email := range []string{"known@guess.test", "unknown@guess.test"} {
		if n == 0 {
			require.Equal(t, 200, guess(t, r[0], "192.0.2.1", email, apptest.Password)) // ends the row that the spraying began
		}
		for i := range 110 {
			seen[n] = append(seen[n], guess(t, r[i%2], fmt.Sprintf("2001:db8:%d:1::%d", i, i), email))
		}
	}
	require.Equal(t, seen[0], seen[1])
	require.Equal(t, []int{401, 429}, []int{seen[0][99], seen[0][100]}, "a hundred failures in a row")
	limited := func(email string) map[string]any {
		return same(t, r[1].With("X-Forwarded-For", "203.0.113.1").POST(t, "/auth/login", login(email, wrongPassword)).Want(t, 429, "rate_limited"))
	}
	require.Equal(t, limited("known@guess.test"), limited("unknown@guess.test"))
}

// While strangers burn an account's failures its owner signs in from where he signed in lately; everywhere else a mailed
// reset is what opens it.
func TestRL05_TheOwnerGetsIn(t *testing.T) {
	t.Parallel()
	r := everywhere(t, 2, behindProxy)
	root := r[0].Admin(t)
	const email = "owner@guess.test"
	id := root.POST(t, "/users", doc{"email": email, "password": apptest.Password, "email_verified": true}).Want(t, 201).String(t, "id")
	const home, former, away = "2001:db8:aaaa:1::7", "192.0.2.9", "203.0.113.200"
	require.Equal(t, 200, guess(t, r[0], former, email, apptest.Password))
	require.Equal(t, 200, guess(t, r[0], home, email, apptest.Password))
	execute(t, r[0], "UPDATE sign_in_networks SET last_at = now() - interval '91 days' WHERE user_id = $1 AND network = '192.0.2.9/32'", id)
	execute(t, r[0], "UPDATE sign_in_networks SET last_at = now() - interval '89 days' WHERE user_id = $1 AND network = '2001:db8:aaaa:1::/64'", id)
	for i := range 100 {
		require.Equal(t, 401, guess(t, r[i%2], fmt.Sprintf("10.0.%d.1", i), email))
	}
	for _, from := range []string{away, former, "2001:db8:aaaa:2::7"} {
		require.Equal(t, 429, guess(t, r[1], from, email, apptest.Password), from)
	}
	require.Equal(t, 200, guess(t, r[1], "2001:db8:aaaa:1::ffff", email, apptest.Password), "his own /64")
	require.Equal(t, 401, guess(t, r[1], home, email), "where his own guesses count as ever")
	require.Equal(t, 429, guess(t, r[0], away, email, apptest.Password), "his signing in opens it for nobody else")

	before := len(r[0].Mail.To(email))
	r[0].With("X-Forwarded-For", away).POST(t, "/auth/password/forgot", doc{"email": email}).Want(t, 202)
	token := r[0].Mail.WaitFor(t, email, before+1).Token()
	require.Equal(t, 429, guess(t, r[0], away, email, apptest.Password), "asking is not enough")
	r[1].With("X-Forwarded-For", away).POST(t, "/auth/password/reset", doc{"token": token, "new_password": rightPassword}).Want(t, 204)
	require.Equal(t, 200, guess(t, r[0], away, email, rightPassword))
	require.Equal(t, 401, guess(t, r[1], former, email))
}

// Attempts are counted before they are judged: of 100 in parallel over three replicas as many are judged as were left.
func TestRL07_ParallelGuessesAreCountedFirst(t *testing.T) {
	t.Parallel()
	r := everywhere(t, 3)
	const email = "rl07@guess.test"
	r[0].Person(t, r[0].Admin(t), email)
	for range 5 {
		r[0].POST(t, "/auth/login", login(email, wrongPassword)).Want(t, 401)
	}
	statuses := make([]int, 100)
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() {
			if a, _, err := r[i%3].Try("POST", "/auth/login", login(email, wrongPassword)); err == nil {
				statuses[i] = a.Status
			}
		})
	}
	wg.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	require.LessOrEqual(t, count[401], 5, "%v", count)
	require.Equal(t, 100, count[401]+count[429]+count[503], "%v", count)
	require.Positive(t, count[429])
}

// Nothing that a client says of its own address gets it around a limit: the right-most hop that is no proxy counts.
func TestRL02_NoHeaderGetsAroundALimit(t *testing.T) {
	t.Parallel()
	headers := []string{"X-Real-IP", "True-Client-IP", "Forwarded", "X-Client-IP", "CF-Connecting-IP", "X-Forwarded-For"}
	direct := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=2/15m"))
	proxied := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=2/15m", behindProxy))
	for s, tail := range map[*apptest.Service]string{direct: "", proxied: ", 198.51.100.7"} {
		count := map[int]int{}
		for i, spoof := range []string{"203.0.113.1", "203.0.113.2", "a", "", "::1", "10.0.0.1:80", "203.0.113.3, 203.0.113.4", "for=203.0.113.5"} {
			c := s.Client
			for _, name := range headers {
				value := spoof
				if name == "X-Forwarded-For" {
					value += tail
				}
				c = c.With(name, value)
			}
			a := c.POST(t, "/auth/login", login("rl02@guess.test", wrongPassword))
			count[a.Status]++
			require.Equal(t, map[bool]int{true: 401, false: 429}[i < 2], a.Status, "%q", spoof)
		}
		require.Equal(t, map[int]int{401: 2, 429: 6}, count)
	}
	garbage := map[int]int{} // behind the proxy, with nothing that can be read: the proxy's own address counts, not none
	for _, spoof := range []string{"a", "b", "", "198.51.100.9, c", "198.51.100.10:1"} {
		garbage[proxied.With("X-Forwarded-For", spoof).POST(t, "/auth/login", login("rl02-b@guess.test", wrongPassword)).Status]++
	}
	require.Equal(t, map[int]int{401: 2, 429: 3}, garbage)
}

// A wrong password is answered alike whatever is at the address (the domain's test of this id counts the verifications).
func TestPWD06_OneAnswerToAWrongPassword(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off"))
	root := s.Admin(t)
	s.Person(t, root, "active@pwd06.test")
	suspended, _ := s.Person(t, root, "suspended@pwd06.test")
	root.POST(t, "/users/"+suspended+"/suspend", doc{"reason": "x"}).Want(t, 200)
	s.POST(t, "/auth/register", login("unverified@pwd06.test", apptest.Password)).Want(t, 202)
	root.POST(t, "/users", doc{"email": "passwordless@pwd06.test"}).Want(t, 201)
	headers := map[string]any{}
	for _, name := range []string{"active", "suspended", "unverified", "passwordless", "missing"} {
		a := s.POST(t, "/auth/login", login(name+"@pwd06.test", wrongPassword)).Want(t, 401, "invalid_credentials")
		seen := same(t, a)
		if len(headers) == 0 {
			headers = seen
		}
		require.Equal(t, headers, seen, name)
	}
}

package httpapi_test

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// secondStep is the body of POST /auth/mfa/verify.
func secondStep(ticket, method, code string) doc {
	return doc{"mfa_token": ticket, "method": method, "code": code}
}

// together makes n calls at once and counts their answers by status and code.
func together(t *testing.T, n int, call func(i int) (*apptest.Answer, *http.Request, error)) map[string]int {
	t.Helper()
	answers := make([]*apptest.Answer, n)
	var wg sync.WaitGroup
	errs := make(chan error, n)
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			a, _, err := call(i)
			answers[i] = a
			errs <- err
		})
	}
	close(start)
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	seen := map[string]int{}
	for _, a := range answers {
		seen[strings.TrimSpace(http.StatusText(a.Status)+" "+a.Code(t))]++
	}
	return seen
}

// A code opens one session, however often it is shown: one after the other, at once, on two replicas, with one ticket or
// with many.
func TestMFA01_ACodeIsGoodOnce(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	s := pair[0]
	root := s.Admin(t)
	sessions := func(email string) (n int) {
		scan(t, s, &n, "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.email = $1", email)
		return n
	}

	_, ada := s.Person(t, root, "ada@mfa01.test")
	enrolment := ada.POST(t, "/auth/mfa/totp", nil).Want(t, 201)
	app := s.NewApp(t, enrolment)
	first := app.Code(t)
	ada.POST(t, "/auth/mfa/totp/"+app.FactorID+"/activate", doc{"code": first}).Want(t, 200)
	ticket := s.Ticket(t, "ada@mfa01.test", apptest.Password)
	s.POST(t, "/auth/mfa/verify", secondStep(ticket, "totp", first)).Want(t, 401, "invalid_code") // the enrolment used it
	code := app.Code(t)
	tokens := s.POST(t, "/auth/mfa/verify", secondStep(ticket, "totp", code)).Want(t, 200)
	s.Bearer(tokens.String(t, "access_token")).At(pair[1]).GET(t, "/users/me").Want(t, 200)
	s.POST(t, "/auth/mfa/verify", secondStep(ticket, "totp", app.Code(t))).Want(t, 401, "invalid_mfa_token")
	again := s.Ticket(t, "ada@mfa01.test", apptest.Password)
	pair[1].POST(t, "/auth/mfa/verify", secondStep(again, "totp", code)).Want(t, 401, "invalid_code")
	ada.POST(t, "/auth/reauthenticate", doc{"method": "totp", "code": code}).Want(t, 401, "invalid_code")

	for _, many := range []bool{false, true} {
		email := map[bool]string{false: "one", true: "many"}[many] + "@mfa01.test"
		_, c := s.Person(t, root, email)
		app := s.Enrol(t, c)
		code, tickets := app.Code(t), make([]string, 20)
		tickets[0] = s.Ticket(t, email, apptest.Password)
		for i := range tickets {
			if tickets[i] = tickets[0]; many && i > 0 {
				tickets[i] = s.Ticket(t, email, apptest.Password)
			}
		}
		before := sessions(email)
		seen := together(t, 20, func(i int) (*apptest.Answer, *http.Request, error) {
			return pair[i%2].Try(http.MethodPost, "/auth/mfa/verify", secondStep(tickets[i], "totp", code))
		})
		require.Equal(t, 1, seen["OK"], "%v", seen)
		require.Equal(t, 20, seen["OK"]+seen["Unauthorized invalid_code"]+seen["Unauthorized invalid_mfa_token"], "%v", seen)
		require.Equal(t, before+1, sessions(email))
	}
}

// Of each ticket five codes are looked at, however many come at once; then it is dead for the right one as well (RL-07).
func TestMFA04_RL07_FiveTriesATicket(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	s := pair[0]
	_, c := s.Person(t, s.Admin(t), "ada@mfa04.test")
	app := s.Enrol(t, c)
	ticket := s.Ticket(t, "ada@mfa04.test", apptest.Password)
	seen := together(t, 100, func(i int) (*apptest.Answer, *http.Request, error) {
		return pair[i%2].Try(http.MethodPost, "/auth/mfa/verify", secondStep(ticket, []string{"totp", "recovery_code"}[i/2%2], "no code"))
	})
	require.Equal(t, map[string]int{"Unauthorized invalid_code": 5, "Unauthorized invalid_mfa_token": 95}, seen)
	s.POST(t, "/auth/mfa/verify", secondStep(ticket, "totp", app.Code(t))).Want(t, 401, "invalid_mfa_token")
	s.POST(t, "/auth/mfa/verify", secondStep(s.Ticket(t, "ada@mfa04.test", apptest.Password), "totp", app.Code(t))).Want(t, 200)
}

// Wrong codes count at the account: a new ticket, or the right password that it takes, does not clear them. Nor does
// proving oneself again by the password alone.
func TestMFA04_FailuresOutliveTickets(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=12/15m"))
	id, c := s.Person(t, s.Admin(t), "ada@mfa04.test")
	app := s.Enrol(t, c)
	for i := range 12 {
		if i%4 == 0 {
			c.POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}).Want(t, 200)
		}
		s.POST(t, "/auth/mfa/verify", secondStep(s.Ticket(t, "ada@mfa04.test", apptest.Password), "totp", "no code")).Want(t, 401, "invalid_code")
	}
	s.POST(t, "/auth/login", doc{"email": "ada@mfa04.test", "password": apptest.Password}).Want(t, 429, "rate_limited")
	c.POST(t, "/auth/reauthenticate", doc{"method": "totp", "code": app.Code(t)}).Want(t, 429, "rate_limited")
	execute(t, s, "UPDATE credential_limits SET resets_at = now() WHERE resets_at < now() + interval '1 day'") // the quarter of an hour, not the account's row
	var failures int
	scan(t, s, &failures, "SELECT max(count) FROM credential_limits WHERE resets_at > now()")
	require.Equal(t, 12, failures, "the account's row of failures goes on")
	s.SignInTwice(t, "ada@mfa04.test", apptest.Password, app)
	scan(t, s, &failures, "SELECT coalesce(max(count), 0) FROM credential_limits")
	require.Zero(t, failures, "a sign-in with both factors ends it")
	scan(t, s, &failures, "SELECT count(*) FROM audit_events WHERE action = 'auth.mfa_verify' AND outcome = 'failure' AND target_id = $1", id)
	require.Equal(t, 12, failures, "each wrong code is in the log")
}

// A ticket is good for one thing; and nothing else is good where a ticket is asked for.
func TestMFA05_ATicketOpensNothingElse(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	_, c := s.Person(t, root, "ada@mfa05.test")
	app := s.Enrol(t, c)
	key := c.POST(t, "/api-keys", newKey()).Want(t, 201).String(t, "key")
	login := s.POST(t, "/auth/login", doc{"email": "ada@mfa05.test", "password": apptest.Password}).Want(t, 403, "mfa_required")
	require.Empty(t, login.Header.Values("Set-Cookie"))
	require.Equal(t, []any{"totp", "recovery_code"}, login.Get(t, "factors"))
	ticket := login.String(t, "mfa_token")
	for _, as := range []*apptest.Client{s.Bearer(ticket), s.With("X-API-Key", ticket)} {
		as.GET(t, "/users/me").Want(t, 401)
		as.GET(t, "/auth/sessions").Want(t, 401)
		as.POST(t, "/api-keys", newKey()).Want(t, 401)
		as.POST(t, "/auth/mfa/totp", nil).Want(t, 401)
		as.POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}).Want(t, 401)
		as.DELETE(t, "/auth/mfa/factors/"+app.FactorID).Want(t, 401)
	}
	s.POST(t, "/auth/refresh", doc{"refresh_token": ticket}).Want(t, 401, "invalid_refresh_token")
	s.POST(t, "/auth/email/verify", doc{"token": ticket, "password": apptest.Password}).Want(t, 400, "invalid_token")
	s.POST(t, "/auth/invitations/accept", doc{"token": ticket, "password": apptest.Password}).Want(t, 400, "invalid_token")
	s.POST(t, "/auth/logout", doc{"refresh_token": ticket}).Want(t, 204)

	other := s.POST(t, "/auth/login", doc{"email": apptest.AdminEmail, "password": apptest.AdminPassword}).Want(t, 200)
	for _, no := range []string{"", "x", other.String(t, "access_token"), other.String(t, "refresh_token"), key, strings.Repeat("A", 43)} {
		s.POST(t, "/auth/mfa/verify", secondStep(no, "totp", app.At(t, s.Clock.Now()))).Want(t, 401, "invalid_mfa_token")
	}
	s.POST(t, "/auth/mfa/verify", secondStep(ticket, "password", apptest.Password)).Want(t, 422, "validation_failed")
	s.POST(t, "/auth/mfa/verify", secondStep(ticket, "totp", app.Code(t))).Want(t, 200)
}

// The first factor ends all sessions that were opened without one, and raises the one that enrolled it. After that a
// refresh keeps what the session has shown: it never raises it.
func TestMFA06_TheFirstFactorEndsLesserSessions(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	s, other := pair[0], pair[1]
	_, ada := s.Person(t, s.Admin(t), "ada@mfa06.test")
	login := doc{"email": "ada@mfa06.test", "password": apptest.Password}
	old, mine := s.POST(t, "/auth/login", login).Want(t, 200), s.POST(t, "/auth/login", login).Want(t, 200)
	c := s.Bearer(mine.String(t, "access_token"))
	c.At(other).GET(t, "/users/me").Want(t, 200)
	app := s.Enrol(t, c)

	s.POST(t, "/auth/refresh", doc{"refresh_token": old.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	other.POST(t, "/auth/refresh", doc{"refresh_token": old.String(t, "refresh_token")}).Want(t, 401, "invalid_refresh_token")
	s.Bearer(old.String(t, "access_token")).GET(t, "/users/me").Want(t, 401)
	ada.GET(t, "/users/me").Want(t, 401)
	require.Equal(t, true, c.GET(t, "/users/me").Want(t, 200).Get(t, "mfa_enabled"))

	acr := func(a *apptest.Answer) any { t.Helper(); return claimsOf(t, a.String(t, "access_token"))["acr"] }
	rotated := s.POST(t, "/auth/refresh", doc{"refresh_token": mine.String(t, "refresh_token")}).Want(t, 200)
	require.Equal(t, "aal2", acr(rotated))
	require.ElementsMatch(t, []any{"pwd", "otp", "mfa"}, claimsOf(t, rotated.String(t, "access_token"))["amr"])
	lesser := s.Bearer(rotated.String(t, "access_token")).POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}).Want(t, 200)
	require.Equal(t, "aal1", acr(lesser), "what was shown")
	rotated = s.POST(t, "/auth/refresh", doc{"refresh_token": lesser.String(t, "refresh_token")}).Want(t, 200)
	require.Equal(t, "aal1", acr(rotated), "a refresh raises nothing")
	c = s.Bearer(rotated.String(t, "access_token"))
	c.POST(t, "/auth/mfa/recovery-codes", nil).Want(t, 403, "reauthentication_required")
	require.Equal(t, "aal2", acr(c.POST(t, "/auth/reauthenticate", doc{"method": "totp", "code": app.Code(t)}).Want(t, 200)))
	c.POST(t, "/auth/mfa/recovery-codes", nil).Want(t, 200)
}

// What changes how one gets in needs a recent authentication at the account's level.
func TestMFA07_StepUp(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_RATE_LIMIT_LOGIN=off", "UMS_ACCESS_TOKEN_TTL=1h"))
	root := s.Admin(t)
	id, ada := s.Person(t, root, "ada@mfa07.test", "admin")
	app := s.Enrol(t, ada)
	calls := map[string]func() *apptest.Answer{
		"remove a factor":   func() *apptest.Answer { return ada.DELETE(t, "/auth/mfa/factors/"+app.FactorID) },
		"by the other door": func() *apptest.Answer { return ada.DELETE(t, "/users/"+id+"/mfa") },
		"add a factor":      func() *apptest.Answer { return ada.POST(t, "/auth/mfa/totp", nil) },
		"activate a factor": func() *apptest.Answer {
			return ada.POST(t, "/auth/mfa/totp/"+app.FactorID+"/activate", doc{"code": "1"})
		},
		"make recovery codes":  func() *apptest.Answer { return ada.POST(t, "/auth/mfa/recovery-codes", nil) },
		"create an API key":    func() *apptest.Answer { return ada.POST(t, "/api-keys", newKey()) },
		"delete one's account": func() *apptest.Answer { return ada.DELETE(t, "/users/me") },
	}
	refused := func(why string) {
		t.Helper()
		for name, call := range calls {
			a := call()
			require.Equal(t, "reauthentication_required", a.Code(t), "%s: %s: %s", why, name, a.Body)
		}
	}
	execute(t, s, "UPDATE sessions SET auth_time = auth_time - interval '11 minutes'")
	s.Clock.Advance(2 * time.Second) // what was remembered of the session
	refused("stale")
	ada.POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}).Want(t, 200)
	refused("below the account's level")
	ada.POST(t, "/auth/reauthenticate", doc{"method": "totp", "code": "000000", "password": apptest.Password}).Want(t, 422, "validation_failed")
	refused("nothing was shown")
	ada.POST(t, "/auth/reauthenticate", doc{"method": "recovery_code", "code": app.RecoveryCodes[0]}).Want(t, 200)
	for _, name := range []string{"make recovery codes", "create an API key", "remove a factor", "delete one's account"} {
		a := calls[name]()
		require.Less(t, a.Status, 300, "%s: %s", name, a.Body)
	}

	// Without a factor the password is the account's level.
	_, bob := s.Person(t, root, "bob@mfa07.test")
	execute(t, s, "UPDATE sessions SET auth_time = auth_time - interval '1 hour'")
	s.Clock.Advance(2 * time.Second)
	bob.POST(t, "/auth/mfa/totp", nil).Want(t, 403, "reauthentication_required")
	bob.POST(t, "/auth/reauthenticate", doc{"password": apptest.Password}).Want(t, 200)
	bob.POST(t, "/auth/mfa/totp", nil).Want(t, 201)
}

// A recovery code is used once, typed in any way, and stored as what nobody can use.
func TestMFA09_RecoveryCodes(t *testing.T) {
	t.Parallel()
	pair := replicas(t)
	s := pair[0]
	_, ada := s.Person(t, s.Admin(t), "ada@mfa09.test")
	app := s.Enrol(t, ada)
	require.Len(t, app.RecoveryCodes, 10)
	verify := func(code string) *apptest.Answer {
		return s.POST(t, "/auth/mfa/verify", secondStep(s.Ticket(t, "ada@mfa09.test", apptest.Password), "recovery_code", code))
	}
	verify(app.RecoveryCodes[0]).Want(t, 200)
	verify(app.RecoveryCodes[0]).Want(t, 401, "invalid_code")
	verify(strings.ToLower(app.RecoveryCodes[1])).Want(t, 200)
	verify(app.RecoveryCodes[1]).Want(t, 401, "invalid_code")
	verify(strings.ReplaceAll(app.RecoveryCodes[2], "-", "")).Want(t, 200)
	verify(strings.ReplaceAll(app.RecoveryCodes[3], "-", " ")).Want(t, 200)
	require.EqualValues(t, 6, ada.GET(t, "/auth/mfa/factors").Want(t, 200).Get(t, "recovery_codes_left"))

	tickets := make([]string, 20)
	for i := range tickets {
		tickets[i] = s.Ticket(t, "ada@mfa09.test", apptest.Password)
	}
	seen := together(t, 20, func(i int) (*apptest.Answer, *http.Request, error) {
		return pair[i%2].Try(http.MethodPost, "/auth/mfa/verify", secondStep(tickets[i], "recovery_code", app.RecoveryCodes[4]))
	})
	require.Equal(t, map[string]int{"OK": 1, "Unauthorized invalid_code": 19}, seen)
	s.Mail.WaitFor(t, "ada@mfa09.test", 6) // added, and five codes used; in any order
	var told string
	for _, m := range s.Mail.To("ada@mfa09.test") {
		told += m.Subject + "\n" + m.Text
	}
	require.Contains(t, told, "A second factor was added to your account with UMS")
	for _, left := range []string{"9", "8", "7", "6", "5"} {
		require.Contains(t, told, "codes left: "+left)
	}

	raw, err := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(app.RecoveryCodes[5], "-", ""))
	require.NoError(t, err)
	require.Len(t, raw, 15, "120 bits")
	var stored int
	sum := sha256.Sum256(raw)
	scan(t, s, &stored, "SELECT count(*) FROM mfa_recovery_codes WHERE encode(code_hash, 'hex') = $1", hex.EncodeToString(sum[:]))
	require.Equal(t, 1, stored)

	renewed := ada.POST(t, "/auth/mfa/recovery-codes", nil).Want(t, 200)
	verify(app.RecoveryCodes[5]).Want(t, 401, "invalid_code")
	verify(renewed.String(t, "recovery_codes.0")).Want(t, 200)
}

// The database alone gives no codes away, and what stands in one row is good in no other.
func TestMFA11_SecretsBelongToTheirRow(t *testing.T) {
	t.Parallel()
	s := common(t)
	root := s.Admin(t)
	ids, apps := map[string]string{}, map[string]*apptest.App{}
	for _, name := range []string{"ada", "bob"} {
		id, c := s.Person(t, root, name+"@mfa11.test")
		ids[name] = id
		enrolment := c.POST(t, "/auth/mfa/totp", nil).Want(t, 201)
		apps[name] = s.NewApp(t, enrolment)
		c.POST(t, "/auth/mfa/totp/"+apps[name].FactorID+"/activate", doc{"code": apps[name].Code(t)}).Want(t, 200)
		secret := enrolment.String(t, "secret")
		raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
		require.NoError(t, err)
		var sealed []byte
		scan(t, s, &sealed, "SELECT secret_sealed FROM mfa_factors WHERE id = $1", apps[name].FactorID)
		require.NotContains(t, string(sealed), string(raw))
		require.NotContains(t, string(sealed), secret)
	}
	paste := func(sql string) {
		t.Helper()
		execute(t, s, sql, apps["ada"].FactorID, apps["bob"].FactorID)
		a := s.POST(t, "/auth/mfa/verify", secondStep(s.Ticket(t, "bob@mfa11.test", apptest.Password), "totp", apps["ada"].Code(t)))
		require.Equal(t, 500, a.Status, "damaged, and not merely wrong: %s", a.Body)
	}
	paste("UPDATE mfa_factors SET secret_sealed = (SELECT secret_sealed FROM mfa_factors WHERE id = $1) WHERE id = $2")
	execute(t, s, "DELETE FROM mfa_factors WHERE id = $1", apps["bob"].FactorID)
	execute(t, s, "UPDATE mfa_factors SET user_id = $2 WHERE id = $1", apps["ada"].FactorID, ids["bob"])
	a := s.POST(t, "/auth/mfa/verify", secondStep(s.Ticket(t, "bob@mfa11.test", apptest.Password), "totp", apps["ada"].Code(t)))
	require.Equal(t, 500, a.Status, "a whole row moved to another account")
}

// claimsOf reads an access token without judging it.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var claims map[string]any
	require.NoError(t, json.Unmarshal(payload, &claims))
	return claims
}

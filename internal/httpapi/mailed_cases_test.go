package httpapi_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

var adminAddress = regexp.MustCompile(`"admin_addr":"([^"]+)"`)

// scrape reads the metrics of a service, which its other listener serves.
func scrape(t *testing.T, s *apptest.Service) string {
	t.Helper()
	found := adminAddress.FindStringSubmatch(s.Log.String())
	require.Len(t, found, 2)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+found[1]+"/metrics", http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "ums_")
	return string(body)
}

// OTT-07 for verifications: whoever made the account, a newer token kills the older, and a recovery kills all.
func TestOTT07_Verification(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	again := func(email string, n int) string {
		t.Helper()
		s.POST(t, "/auth/email/verification", doc{"email": email}).Want(t, http.StatusAccepted)
		return s.Mail.WaitFor(t, email, n).Token()
	}
	dead := func(token string) {
		t.Helper()
		s.POST(t, "/auth/email/verify", doc{"token": token, "password": apptest.Password}).Want(t, http.StatusBadRequest, "invalid_token")
		accept(t, s, token).Want(t, http.StatusBadRequest, "invalid_token")
	}
	recovered := func(email string, n int) {
		t.Helper()
		s.POST(t, "/auth/password/reset", doc{"token": forgotten(t, s, email, n).Token(), "new_password": rightPassword}).Want(t, http.StatusNoContent)
		s.SignIn(t, email, rightPassword).GET(t, "/users/me").Want(t, http.StatusOK)
	}
	for name, begin := range map[string]func(email string){
		"registered": func(email string) {
			s.POST(t, "/auth/register", login(email, apptest.Password)).Want(t, http.StatusAccepted)
		},
		"made": func(email string) { admin.POST(t, "/users", doc{"email": email}).Want(t, http.StatusCreated) },
		"with-password": func(email string) {
			admin.POST(t, "/users", login(email, apptest.Password)).Want(t, http.StatusCreated)
		},
		"invited": func(email string) { invited(t, s, admin, email) },
		"corrected": func(email string) {
			id, _ := s.Person(t, admin, "slip-"+email)
			admin.PATCH(t, "/users/"+id, doc{"email": email}).Want(t, http.StatusOK)
		},
	} {
		// One is verified by the newest, of the other the newest dies of a recovery.
		verified, lost := name+"@verified.test", name+"@lost.test"
		begin(verified)
		begin(lost)
		first, newest := s.Mail.WaitFor(t, verified, 1).Token(), again(verified, 2)
		if name != "invited" { // an invitation and a verification are two things: each proves the mailbox
			dead(first)
		}
		s.POST(t, "/auth/email/verify", doc{"token": newest, "password": apptest.Password}).Want(t, http.StatusNoContent)
		dead(first)
		s.SignIn(t, verified, apptest.Password)

		outstanding := []string{s.Mail.WaitFor(t, lost, 1).Token(), again(lost, 2)}
		recovered(lost, 3)
		for _, token := range outstanding {
			dead(token)
		}
	}
}

// OTT-07 for a change of address beside other flows: a recovery and a change of the password end it, and leave the way back.
func TestOTT07_EmailChangeAndPassword(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	for name, end := range map[string]func(email string, c *apptest.Client){
		"recovery": func(email string, _ *apptest.Client) {
			s.POST(t, "/auth/password/reset", doc{"token": forgotten(t, s, email, 2).Token(), "new_password": rightPassword}).Want(t, http.StatusNoContent)
		},
		"change": func(_ string, c *apptest.Client) {
			c.PUT(t, "/auth/password", doc{"current_password": apptest.Password, "new_password": rightPassword}).Want(t, http.StatusNoContent)
		},
	} {
		email, to := name+"@old.test", name+"@new.test"
		_, c := s.Person(t, admin, email)
		c.POST(t, changePath, doc{"new_email": to}).Want(t, http.StatusAccepted)
		confirm, back := s.Mail.WaitFor(t, to, 1).Token(), s.Mail.WaitFor(t, email, 1).Token()
		end(email, c)
		s.POST(t, confirmPath, doc{"token": confirm}).Want(t, http.StatusBadRequest, "invalid_token")
		s.POST(t, undoPath, doc{"token": back}).Want(t, http.StatusNoContent)
	}

	// What was mailed to the old address before the change is good for nothing after it.
	_, c := s.Person(t, admin, "reset@old.test")
	reset := forgotten(t, s, "reset@old.test", 1).Token()
	c.POST(t, changePath, doc{"new_email": "reset@new.test"}).Want(t, http.StatusAccepted)
	s.POST(t, confirmPath, doc{"token": s.Mail.WaitFor(t, "reset@new.test", 1).Token()}).Want(t, http.StatusNoContent)
	s.POST(t, "/auth/password/reset", doc{"token": reset, "new_password": rightPassword}).Want(t, http.StatusBadRequest, "invalid_token")
}

// OTT-09: of a code five guesses are looked at, over all replicas; then the right one is dead too. A code belongs to its
// registration.
func TestOTT09_CodesOverReplicas(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	replicas := []*apptest.Service{s, apptest.Start(t, apptest.Beside(s))}
	register := func(email string) (registration, code string) {
		a := s.POST(t, "/auth/register", login(email, apptest.Password)).Want(t, http.StatusAccepted)
		return a.String(t, "registration_id"), s.Mail.WaitFor(t, email, 1).Code()
	}
	try := func(at *apptest.Service, registration, code string) *apptest.Answer {
		a, _, err := at.Try(http.MethodPost, "/auth/email/verify", doc{"registration_id": registration, "code": code})
		require.NoError(t, err)
		return a
	}
	flood, right := register("flood@codes.test")
	var wg sync.WaitGroup
	answers := make([]*apptest.Answer, 100)
	for i := range answers {
		wg.Go(func() { answers[i] = try(replicas[i%2], flood, other(right)) })
	}
	wg.Wait()
	for _, a := range answers {
		a.Want(t, http.StatusBadRequest, "invalid_token")
	}
	var tries int
	scan(t, s, &tries, `SELECT max(tries) FROM one_time_tokens WHERE purpose = 'verify_email_code'`)
	require.Equal(t, 5, tries)
	try(s, flood, right).Want(t, http.StatusBadRequest, "invalid_token")

	one, first := register("one@codes.test")
	two, second := register("two@codes.test")
	if first != second {
		try(s, one, second).Want(t, http.StatusBadRequest, "invalid_token")
	}
	for range 3 { // four wrong ones in all leave a fifth try
		try(replicas[1], one, other(first)).Want(t, http.StatusBadRequest, "invalid_token")
	}
	if first != second {
		try(s, one, first).Want(t, http.StatusNoContent)
	}
	execute(t, s, `UPDATE one_time_tokens SET expires_at = now() WHERE purpose = 'verify_email_code'`)
	try(s, two, second).Want(t, http.StatusBadRequest, "invalid_token")
	var longest float64
	fresh, _ := register("fresh@codes.test")
	require.NotEmpty(t, fresh)
	scan(t, s, &longest, `SELECT max(extract(epoch FROM expires_at - created_at))::float8 FROM one_time_tokens WHERE purpose = 'verify_email_code'`)
	require.LessOrEqual(t, longest, 600.0)
}

// other is a code that is not this one.
func other(code string) string {
	if code == "00000000" {
		return "00000001"
	}
	return "00000000"
}

// REG-09 over real mail: a name makes no header, no second recipient, no element and no link.
func TestREG09OverHTTP(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	for _, name := range []string{"Eve\r\nBcc: bob@names.test", "Eve\nX", "Eve\rX", "Eve\x00", strings.Repeat("x", 10_000)} {
		a := s.POST(t, "/auth/register", doc{"email": "refused@names.test", "password": rightPassword, "display_name": name}).Want(t, http.StatusUnprocessableEntity, "validation_failed")
		require.Equal(t, "/display_name", a.String(t, "errors.0.pointer"))
		require.NotContains(t, string(a.Body), "Bcc")
	}
	for i, name := range []string{"<script>alert(1)</script>", "see https://evil.example/x", "Eve\u202egnp.exe", "\" onload=x \""} {
		email := strings.Repeat("e", i+1) + "@names.test"
		a := s.POST(t, "/auth/register", doc{"email": email, "password": rightPassword, "display_name": name})
		if a.Status == http.StatusUnprocessableEntity {
			continue // refusing is as good
		}
		a.Want(t, http.StatusAccepted)
		m := s.Mail.WaitFor(t, email, 1)
		require.Equal(t, []string{email}, m.Recipients)
		require.Len(t, m.Header["To"], 1)
		require.Empty(t, m.Header["Bcc"])
		require.NotContains(t, m.HTML, "<script")
		require.NotContains(t, m.Text+m.HTML, "evil.example")
		require.NotContains(t, m.Text+m.HTML, "\u202e")
	}
	require.Empty(t, s.Mail.To("refused@names.test"))
	require.Empty(t, s.Mail.To("bob@names.test"))
}

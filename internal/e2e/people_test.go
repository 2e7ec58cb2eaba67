package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/mail/mailtest"
)

type doc = map[string]any

// signedIn is a person at work: calls go with the access token.
type signedIn struct {
	*apptest.Client
	session, access, refresh string
}

// tokens reads the answer to a sign-in or a refresh.
func (p *process) tokens(t testing.TB, a *apptest.Answer) *signedIn {
	t.Helper()
	a.Want(t, http.StatusOK)
	s := &signedIn{session: a.String(t, "session_id"), access: a.String(t, "access_token"), refresh: a.String(t, "refresh_token")}
	s.Client = p.Bearer(s.access)
	p.secret(s.access, s.refresh)
	return s
}

// at is the same person at another replica.
func (s *signedIn) at(q *process) *apptest.Client { return q.Bearer(s.access) }

func (p *process) login(t testing.TB, email, password string) *apptest.Answer {
	t.Helper()
	return p.POST(t, "/auth/login", doc{"email": email, "password": password})
}

func (p *process) signIn(t testing.TB, email, password string) *signedIn {
	t.Helper()
	return p.tokens(t, p.login(t, email, password))
}

func (p *process) admin(t testing.TB) *signedIn {
	t.Helper()
	return p.signIn(t, apptest.AdminEmail, apptest.AdminPassword)
}

// person makes an active account on the administrator's word and signs it in.
func (p *process) person(t testing.TB, admin *signedIn, email string, roles ...string) (id string, s *signedIn) {
	t.Helper()
	a := admin.POST(t, "/users", doc{
		"email": email, "password": apptest.Password, "email_verified": true, "roles": append([]string{}, roles...),
	}).Want(t, http.StatusCreated)
	return a.String(t, "id"), p.signIn(t, email, apptest.Password)
}

// register claims an address and returns the registration id.
func (p *process) register(t testing.TB, email, password string, more ...string) string {
	t.Helper()
	body := doc{"email": email, "password": password}
	for i := 0; i < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	a := p.POST(t, "/auth/register", body).Want(t, http.StatusAccepted)
	require.Equal(t, "pending_verification", a.String(t, "status"))
	id := a.String(t, "registration_id")
	p.secret(id, password)
	return id
}

// mailTo returns the n-th mail for an address.
func (p *process) mailTo(t testing.TB, email string, n int) mailtest.Message {
	t.Helper()
	m := p.mail.WaitFor(t, email, n)
	p.secret(m.Token(), m.Code())
	return m
}

// db is a connection of the database's owner, for what no client can bring about: the passing of time, for one.
func (p *process) db(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

// execute runs a statement that must change something.
func (p *process) execute(t testing.TB, sql string, args ...any) {
	t.Helper()
	tag, err := p.db(t).Exec(t.Context(), sql, args...)
	require.NoError(t, err)
	require.NotZero(t, tag.RowsAffected())
}

// count returns what a SELECT count(*) says.
func (p *process) count(t testing.TB, sql string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, p.db(t).QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// events returns the audit log as far as the filter goes, oldest first. A filter is name, value, name, value.
func (s *signedIn) events(t testing.TB, filter ...string) []doc {
	t.Helper()
	q := url.Values{"limit": {"200"}, "sort": {"time"}}
	for i := 0; i < len(filter); i += 2 {
		q.Set(filter[i], filter[i+1])
	}
	return rows(t, s.GET(t, "/audit-events?"+q.Encode()).Want(t, http.StatusOK))
}

// rows are those of a list's page.
func rows(t testing.TB, a *apptest.Answer) []doc {
	t.Helper()
	data, ok := a.Get(t, "data").([]any)
	require.True(t, ok, "%s", a.Body)
	out := make([]doc, len(data))
	for i, row := range data {
		out[i] = row.(doc)
	}
	return out
}

// column is one field of each row.
func column(rows []doc, name string) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i], _ = r[name].(string)
	}
	return out
}

// acts counts events by action, those that were no success apart.
func acts(events []doc) map[string]int {
	out := map[string]int{}
	for _, e := range events {
		name := e["action"].(string)
		if o := e["outcome"].(string); o != "success" {
			name += " " + o
		}
		out[name]++
	}
	return out
}

// pointers are the places of a validation answer.
func pointers(t testing.TB, a *apptest.Answer) []string {
	t.Helper()
	var out []string
	for _, e := range a.JSON(t)["errors"].([]any) {
		out = append(out, e.(doc)["pointer"].(string))
	}
	return out
}

// refused says that a call is refused with this status by the time that a second has passed since the change which cut
// it off was acknowledged: a request that is sent later must not get through, however slow the machine is.
func refused(t testing.TB, status int, call func() *apptest.Answer) {
	t.Helper()
	acknowledged := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		sent := time.Now()
		if call().Status == status {
			return
		}
		if sent.Sub(acknowledged) > time.Second {
			t.Fatalf("not %d after a second", status)
		}
		<-tick.C
	}
}

// link is the address in a mail's text.
func link(m mailtest.Message) string {
	for line := range strings.Lines(m.Text) {
		if strings.Contains(line, "#token=") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

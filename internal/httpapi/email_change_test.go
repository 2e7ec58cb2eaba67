package httpapi_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

const (
	changePath  = "/auth/email/change"
	confirmPath = "/auth/email/change/confirm"
	undoPath    = "/auth/email/change/undo"
)

// passwordLogin is the answer to a sign-in by password.
func passwordLogin(t *testing.T, s *apptest.Service, email string) *apptest.Answer {
	t.Helper()
	return s.POST(t, "/auth/login", doc{"email": email, "password": apptest.Password})
}

// REG-10: a change of address needs a fresh authentication; the old one stays in force until the new one is confirmed,
// and is told, with a way back that ends the sessions.
func TestREG10(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "ada@example.com")
	key := ada.POST(t, "/api-keys", newKey(fields{"scopes": []string{"me:read"}})).Want(t, 201).String(t, "key")

	s.POST(t, changePath, doc{"new_email": "Ada@New.example"}).Want(t, http.StatusUnauthorized, "unauthenticated")
	s.Bearer(key).POST(t, changePath, doc{"new_email": "Ada@New.example"}).Want(t, http.StatusForbidden, "session_required")
	s.Clock.Advance(11 * time.Minute) // the session's time is the database's, which the test's clock leaves behind
	stale := s.SignIn(t, "ada@example.com", apptest.Password)
	stale.POST(t, changePath, doc{"new_email": "Ada@New.example"}).Want(t, http.StatusForbidden, "reauthentication_required")
	require.Empty(t, s.Mail.Messages())
	s.Clock.Advance(-11 * time.Minute)

	ada.POST(t, changePath, doc{"new_email": "Ada@New.example"}).Want(t, http.StatusAccepted)
	confirm, notice := s.Mail.WaitFor(t, "Ada@new.example", 1), s.Mail.WaitFor(t, "ada@example.com", 1)
	require.Contains(t, confirm.Text, "/confirm-email-change#token=")
	require.Contains(t, confirm.Text, "24 hours")
	require.Contains(t, notice.Text, "/undo-email-change#token=")
	require.Contains(t, notice.Text, "3 days")
	require.NotContains(t, strings.ToLower(notice.Raw), "new.example", "who reads the old mailbox need not learn the new address")

	me := ada.GET(t, "/users/me").Want(t, http.StatusOK)
	require.Equal(t, "ada@example.com", me.String(t, "email"))
	passwordLogin(t, s, "ada@new.example").Want(t, http.StatusUnauthorized, "invalid_credentials")
	phone := s.Bearer(passwordLogin(t, s, "ada@example.com").Want(t, http.StatusOK).String(t, "access_token"))

	// Neither token does the other's work.
	s.POST(t, confirmPath, doc{"token": notice.Token()}).Want(t, http.StatusBadRequest, "invalid_token")
	s.POST(t, undoPath, doc{"token": confirm.Token()}).Want(t, http.StatusBadRequest, "invalid_token")
	s.POST(t, confirmPath, doc{"token": confirm.Token()}).Want(t, http.StatusNoContent)
	s.POST(t, confirmPath, doc{"token": confirm.Token()}).Want(t, http.StatusBadRequest, "invalid_token")
	after := ada.GET(t, "/users/me").Want(t, http.StatusOK)
	require.Equal(t, "Ada@new.example", after.String(t, "email"))
	require.Equal(t, true, after.Get(t, "email_verified"))
	require.NotEqual(t, me.Header.Get("ETag"), after.Header.Get("ETag"))
	phone.GET(t, "/users/me").Want(t, http.StatusOK)
	passwordLogin(t, s, "ada@example.com").Want(t, http.StatusUnauthorized, "invalid_credentials")
	passwordLogin(t, s, "ada@new.example").Want(t, http.StatusOK)

	s.POST(t, undoPath, doc{"token": notice.Token()}).Want(t, http.StatusNoContent)
	s.POST(t, undoPath, doc{"token": notice.Token()}).Want(t, http.StatusBadRequest, "invalid_token")
	for _, c := range []*apptest.Client{ada, phone} {
		c.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	}
	passwordLogin(t, s, "ada@new.example").Want(t, http.StatusUnauthorized, "invalid_credentials")
	passwordLogin(t, s, "ada@example.com").Want(t, http.StatusOK)
	require.Equal(t, "ada@example.com", admin.GET(t, "/users/"+id).Want(t, http.StatusOK).String(t, "email"))

	// Each step is one event, with what changed.
	for action, to := range map[string]string{
		"email_change.request": "Ada@new.example", "email_change.confirm": "Ada@new.example", "email_change.undo": "ada@example.com",
	} {
		events := admin.GET(t, "/audit-events?target_id="+id+"&outcome=success&action="+action).Want(t, http.StatusOK)
		require.Len(t, events.Get(t, "data"), 1, action)
		require.Equal(t, to, events.String(t, "data.0.changes.email.to"))
		require.Equal(t, id, events.String(t, "data.0.actor.id"))
	}
}

// The way back works before the change is confirmed, and cancels it.
func TestAnEmailChangeIsUndoneBeforeItIsConfirmed(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	_, ada := s.Person(t, s.Admin(t), "ada@example.com")
	ada.POST(t, changePath, doc{"new_email": "new@example.com"}).Want(t, http.StatusAccepted)
	confirm, notice := s.Mail.WaitFor(t, "new@example.com", 1), s.Mail.WaitFor(t, "ada@example.com", 1)
	s.POST(t, undoPath, doc{"token": notice.Token()}).Want(t, http.StatusNoContent)
	ada.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	s.POST(t, confirmPath, doc{"token": confirm.Token()}).Want(t, http.StatusBadRequest, "invalid_token")
	passwordLogin(t, s, "ada@example.com").Want(t, http.StatusOK)
}

// Whoever has somebody's session cannot end the owner's way back: not by a second change, not by undoing that one, not by
// registering the old address.
func TestTheWayBackOutlivesWhatAnIntruderDoes(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	_, ada := s.Person(t, s.Admin(t), "ada@example.com")
	ada.POST(t, changePath, doc{"new_email": "thief@example.com"}).Want(t, http.StatusAccepted)
	owners := s.Mail.WaitFor(t, "ada@example.com", 1).Token()
	s.POST(t, confirmPath, doc{"token": s.Mail.WaitFor(t, "thief@example.com", 1).Token()}).Want(t, http.StatusNoContent)
	ada.POST(t, changePath, doc{"new_email": "thief2@example.com"}).Want(t, http.StatusAccepted)
	thiefs := s.Mail.WaitFor(t, "thief@example.com", 2).Token()
	s.POST(t, confirmPath, doc{"token": s.Mail.WaitFor(t, "thief2@example.com", 1).Token()}).Want(t, http.StatusNoContent)
	s.POST(t, undoPath, doc{"token": thiefs}).Want(t, http.StatusNoContent)
	s.POST(t, "/auth/register", doc{"email": "ada@example.com", "password": rightPassword}).Want(t, http.StatusAccepted)
	again := s.Bearer(passwordLogin(t, s, "thief@example.com").Want(t, http.StatusOK).String(t, "access_token"))
	again.POST(t, changePath, doc{"new_email": "thief3@example.com"}).Want(t, http.StatusAccepted)
	later := s.Mail.WaitFor(t, "thief@example.com", 3).Token()

	s.POST(t, undoPath, doc{"token": owners}).Want(t, http.StatusNoContent)
	passwordLogin(t, s, "ada@example.com").Want(t, http.StatusOK)
	again.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	s.POST(t, undoPath, doc{"token": later}).Want(t, http.StatusBadRequest, "invalid_token")
	s.POST(t, confirmPath, doc{"token": s.Mail.WaitFor(t, "thief3@example.com", 1).Token()}).Want(t, http.StatusBadRequest, "invalid_token")
}

// Nobody learns by a change whose address the other one is: the answer is the same, and so is his own mailbox.
func TestAChangeToSomebodysAddressTellsItsOwnerAlone(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	_, ada := s.Person(t, admin, "ada@example.com")
	id, _ := s.Person(t, admin, "bob@example.com")
	free := ada.POST(t, changePath, doc{"new_email": "free@example.com"}).Want(t, http.StatusAccepted)
	pending := s.Mail.WaitFor(t, "free@example.com", 1).Token()
	taken := ada.POST(t, changePath, doc{"new_email": "BOB@example.com"}).Want(t, http.StatusAccepted)
	require.Equal(t, free.Body, taken.Body)
	first, second := s.Mail.WaitFor(t, "ada@example.com", 1), s.Mail.WaitFor(t, "ada@example.com", 2)
	require.Equal(t, first.Subject, second.Subject)
	mail := s.Mail.WaitFor(t, "bob@example.com", 1)
	require.Contains(t, mail.Subject, "already have an account")
	require.Empty(t, mail.Token())
	require.Empty(t, admin.GET(t, "/audit-events?target_id="+id+"&action=email_change.request").Get(t, "data"), "his own log would tell him")

	s.POST(t, confirmPath, doc{"token": pending}).Want(t, http.StatusBadRequest, "invalid_token")
	s.POST(t, undoPath, doc{"token": first.Token()}).Want(t, http.StatusBadRequest, "invalid_token")
	// His mailbox gets no more than three an hour.
	for range 4 {
		ada.POST(t, changePath, doc{"new_email": "bob@example.com"}).Want(t, http.StatusAccepted)
	}
	s.Mail.WaitFor(t, "bob@example.com", 3)
	notices := s.Mail.WaitFor(t, "ada@example.com", 4)
	require.Len(t, s.Mail.To("bob@example.com"), 3)
	s.POST(t, undoPath, doc{"token": notices.Token()}).Want(t, http.StatusNoContent)
}

// OTT-07 for changes of address: of several the newest counts; suspension and a correction by an administrator end it.
func TestOTT07EmailChange(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "ada@example.com")
	change := func(c *apptest.Client, to string, n int) (confirm string) {
		c.POST(t, changePath, doc{"new_email": to}).Want(t, http.StatusAccepted)
		return s.Mail.WaitFor(t, to, n).Token()
	}
	refused := func(token string) {
		t.Helper()
		s.POST(t, confirmPath, doc{"token": token}).Want(t, http.StatusBadRequest, "invalid_token")
	}
	one, two, three := change(ada, "one@example.com", 1), change(ada, "two@example.com", 1), change(ada, "two@example.com", 2)
	refused(one)
	refused(two)
	s.POST(t, confirmPath, doc{"token": three}).Want(t, http.StatusNoContent)
	refused(three)

	four := change(ada, "four@example.com", 1)
	back := s.Mail.WaitFor(t, "two@example.com", 3).Token()
	admin.POST(t, "/users/"+id+"/suspend", doc{"reason": "x"}).Want(t, http.StatusOK)
	refused(four)
	s.POST(t, undoPath, doc{"token": back}).Want(t, http.StatusBadRequest, "invalid_token")
	admin.POST(t, "/users/"+id+"/reactivate", nil).Want(t, http.StatusOK)
	refused(four)

	five := change(s.SignIn(t, "two@example.com", apptest.Password), "five@example.com", 1)
	admin.PATCH(t, "/users/"+id, doc{"email": "right@example.com"}).Want(t, http.StatusOK)
	refused(five)
	s.POST(t, undoPath, doc{"token": back}).Want(t, http.StatusBadRequest, "invalid_token")
}

// Of parallel confirmations one has the effect.
func TestAnEmailChangeIsConfirmedOnce(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	other := apptest.Start(t, apptest.Beside(s))
	_, ada := s.Person(t, s.Admin(t), "ada@example.com")
	ada.POST(t, changePath, doc{"new_email": "new@example.com"}).Want(t, http.StatusAccepted)
	token := doc{"token": s.Mail.WaitFor(t, "new@example.com", 1).Token()}
	statuses := map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			a, _, err := []*apptest.Client{s.Client, other.Client}[i%2].Try(http.MethodPost, confirmPath, token)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				statuses[a.Status]++
			}
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{204: 1, 400: 9}, statuses)
}

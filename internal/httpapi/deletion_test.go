package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// Whoever deletes himself must have proven who he is of late. Without a grace he is gone at once, and is told.
func TestSelfDeletion(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "ada@example.com")
	key := s.Bearer(ada.POST(t, "/api-keys", newKey(fields{"scopes": []string{"me:write"}})).Want(t, http.StatusCreated).String(t, "key"))
	key.DELETE(t, "/users/me").Want(t, http.StatusForbidden, "session_required")
	s.Clock.Advance(11 * time.Minute) // the session's time is the database's, which the test's clock leaves behind
	s.SignIn(t, "ada@example.com", apptest.Password).DELETE(t, "/users/me").Want(t, http.StatusForbidden, "reauthentication_required")
	s.Clock.Advance(-11 * time.Minute)
	admin.DELETE(t, "/users/me").Want(t, http.StatusConflict, "last_admin")
	require.Empty(t, s.Mail.To(apptest.AdminEmail), "a refusal tells nobody of a deletion")

	ada.DELETE(t, "/users/me").Want(t, http.StatusNoContent)
	mail := s.Mail.WaitFor(t, "ada@example.com", 1)
	require.Contains(t, mail.Subject, "was deleted")
	ada.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	key.GET(t, "/api-keys/current").Want(t, http.StatusUnauthorized, "invalid_api_key")
	admin.GET(t, "/users/"+id).Want(t, http.StatusNotFound, "not_found")
	passwordLogin(t, s, "ada@example.com").Want(t, http.StatusUnauthorized, "invalid_credentials")
	s.Person(t, admin, "ada@example.com") // the address is free again
}

// In a grace the owner is told until when an administrator can undo it; meanwhile nothing of the account works.
func TestSelfDeletionWithGrace(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Env("UMS_DELETION_GRACE=720h"))
	admin := s.Admin(t)
	id, ada := s.Person(t, admin, "ada@example.com")
	ada.POST(t, changePath, doc{"new_email": "new@example.com"}).Want(t, http.StatusAccepted)
	confirm, notice := s.Mail.WaitFor(t, "new@example.com", 1), s.Mail.WaitFor(t, "ada@example.com", 1)

	ada.DELETE(t, "/users/me").Want(t, http.StatusNoContent)
	mail := s.Mail.WaitFor(t, "ada@example.com", 2)
	require.Contains(t, mail.Subject, "will be deleted")
	require.Contains(t, mail.Text, s.Clock.Now().Add(720*time.Hour).UTC().Format("2006-01-02"))
	require.Equal(t, "deleting", admin.GET(t, "/users/"+id).Want(t, http.StatusOK).String(t, "status"))
	ada.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	passwordLogin(t, s, "ada@example.com").Want(t, http.StatusUnauthorized, "invalid_credentials")
	admin.POST(t, "/users", doc{"email": "ada@example.com"}).Want(t, http.StatusConflict, "email_taken")
	for path, token := range map[string]string{confirmPath: confirm.Token(), undoPath: notice.Token()} {
		s.POST(t, path, doc{"token": token}).Want(t, http.StatusBadRequest, "invalid_token")
	}

	admin.POST(t, "/users/"+id+"/reactivate", nil).Want(t, http.StatusOK)
	ada.GET(t, "/users/me").Want(t, http.StatusUnauthorized, "invalid_access_token")
	passwordLogin(t, s, "ada@example.com").Want(t, http.StatusOK)
	s.POST(t, confirmPath, doc{"token": confirm.Token()}).Want(t, http.StatusBadRequest, "invalid_token")
	// The way back is good again: whoever had the session may have asked for both.
	s.POST(t, undoPath, doc{"token": notice.Token()}).Want(t, http.StatusNoContent)
}

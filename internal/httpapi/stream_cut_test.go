package httpapi_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// A stream whose source fails in the middle is cut, so that no reader takes a part for the whole.
func TestAStreamThatFailsIsCut(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	token := s.POST(t, "/auth/login", doc{"email": apptest.AdminEmail, "password": apptest.AdminPassword}).Want(t, 200).String(t, "access_token")
	execute(t, s, `INSERT INTO audit_events (id, action, outcome, actor_type, request_id)
		SELECT gen_random_uuid(), 'test.fill', 'success', 'system', repeat('x', 2000) FROM generate_series(1, 20000)`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Base()+"/api/v1/audit-events/export", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := (&http.Transport{}).RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, 200, res.StatusCode)
	_, err = io.ReadFull(res.Body, make([]byte, 1024))
	require.NoError(t, err)
	execute(t, s, `ALTER TABLE audit_personal RENAME TO out_of_the_way`) // of 40 MB, most have not been read yet
	_, err = io.Copy(io.Discard, res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	execute(t, s, `ALTER TABLE out_of_the_way RENAME TO audit_personal`)
	s.Stop()
	require.Contains(t, s.Log.String(), `"answer cut off"`)
}

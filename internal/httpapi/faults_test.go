package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// One answer has the faults of the query, of the shape and of the rules, each value's once, and none of the values.
func TestAllFaultsInOneAnswer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	codes := func(a *apptest.Answer) map[string]string {
		a.Want(t, http.StatusUnprocessableEntity, "validation_failed")
		out := map[string]string{}
		for _, e := range a.JSON(t)["errors"].([]any) {
			f := e.(map[string]any)
			pointer := f["pointer"].(string)
			require.NotContains(t, out, pointer)
			out[pointer] = f["code"].(string)
		}
		return out
	}
	body := fields{"email": "no address", "password": "rosebud", "display_name": "a\x01", "is_admin": true, "Locale": "de"}
	answer := s.POST(t, "/auth/register?verbose=1", body)
	require.Equal(t, map[string]string{
		"query/verbose": "unknown_parameter", "/email": "invalid_email", "/password": "too_short", "/display_name": "control_character",
		"/is_admin": "unknown_field", "/Locale": "unknown_field",
	}, codes(answer))
	require.NotContains(t, string(answer.Body), "rosebud")
	require.NotContains(t, string(answer.Body), "no address")

	require.Equal(t, map[string]string{"/email": "invalid_email", "/nope": "unknown_field", "/roles": "invalid_type"},
		codes(s.Admin(t).POST(t, "/users", fields{"email": "x@", "nope": 1, "roles": "admin"})))
}

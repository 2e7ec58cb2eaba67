package httpapi_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A parameter without a value counts as absent, also where it stands before others or has no equals sign, and names may
// be escaped: whatever reads the query reads it alike.
func TestQueryIsReadAlikeByAll(t *testing.T) {
	t.Parallel()
	s := common()
	root := s.Admin(t)
	role := root.POST(t, "/roles", doc{"name": "query-held"}).Want(t, 201).String(t, "id")
	user, _ := s.Person(t, root, "query@input.test", "query-held")

	for _, query := range []string{"search&limit=1", "limit=1&search", "%6cimit=1", "status=&limit=1", "&limit=1&&"} {
		require.Len(t, root.GET(t, "/users?"+query).Want(t, 200).Get(t, "data"), 1, query)
	}
	for _, query := range []string{"action=a%00;", "target_type=%ff;", "action=a%00&%zz", "action=a%00&x;"} {
		root.GET(t, "/audit-events?"+query).Want(t, 422, "validation_failed")
	}
	for _, query := range []string{"force", "force=", "force&"} {
		root.DELETE(t, "/roles/"+role+"?"+query).Want(t, 409, "role_in_use")
	}
	root.GET(t, "/users/"+user).Want(t, 200)
	root.DELETE(t, "/roles/"+role+"?force=true").Want(t, 204)
}

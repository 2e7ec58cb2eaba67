package httpapi_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A parameter without a value counts as absent, also where it stands before others or has no equals sign, and names may
// be escaped: whatever reads the query reads it alike.
func TestQueryIsReadAlikeByAll(t *testing.T) {
	t.Parallel()
	s := common(t)
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

// A filter is never dropped, and so answered with what it would have left out.
func TestFilterByAnIDThatNamesNothingIsRefused(t *testing.T) {
	t.Parallel()
	root := common(t).Admin(t)
	const none = "00000000-0000-0000-0000-000000000000"
	for _, path := range []string{"/audit-events?actor_id=" + none, "/audit-events?target_id=" + none, "/api-keys?user_id=" + none} {
		root.GET(t, path).Want(t, 422, "validation_failed")
	}
	root.GET(t, "/users/"+none).Want(t, 404, "not_found")
}

// A null member of a creation is an absent one, whatever its type.
func TestNullMetadataOfACreationIsNone(t *testing.T) {
	t.Parallel()
	root := common(t).Admin(t)
	a := root.POST(t, "/users", doc{"email": "null-metadata@input.test", "metadata": nil, "app_metadata": nil, "display_name": nil}).Want(t, 201)
	require.Equal(t, doc{}, a.Get(t, "metadata"))
	key := newKey()
	key["metadata"] = nil
	require.Equal(t, doc{}, root.POST(t, "/api-keys", key).Want(t, 201).Get(t, "metadata"))
}

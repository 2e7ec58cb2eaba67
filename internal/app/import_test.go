package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/domain/transfer"
)

const foreignFiles = "../domain/transfer/testdata"

// imported brings a file in beside the running service.
func imported(t *testing.T, s *apptest.Service, text string, m transfer.Mapping, o transfer.Options) (app.Imported, map[int64]string) {
	t.Helper()
	m.Now = time.Now()
	rejected := map[int64]string{}
	did, err := app.Import(t.Context(), configured(t, s, apptest.MasterKey), strings.NewReader(text), m, o,
		transfer.Listener{Reject: func(r transfer.Rejection) { rejected[r.Line] = r.Errors[0].Pointer + " " + r.Errors[0].Code }})
	require.NoError(t, err)
	return did, rejected
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(foreignFiles, name))
	require.NoError(t, err)
	return string(text)
}

// Users of fastapi-users keep their passwords, and those who may not sign in there may not here, not even by a new password.
func TestImportFromFastAPIUsers(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	text := fixture(t, "fastapi-users.csv")
	m := transfer.Mapping{From: transfer.FastAPIUsers, SuperuserRole: "admin"}
	did, _ := imported(t, s, text, m, transfer.Options{OnConflict: transfer.Skip, DryRun: true})
	require.Equal(t, transfer.Report{Read: 5, Created: 3, Failed: 2}, did.Report)
	require.Empty(t, root.GET(t, "/users?email=ada@example.org").Want(t, 200).Get(t, "data"))
	did, rejected := imported(t, s, text, m, transfer.Options{OnConflict: transfer.Skip})
	require.Equal(t, transfer.Report{Read: 5, Created: 3, Failed: 2}, did.Report)
	require.Equal(t, map[int64]string{6: "/is_active wrong_type", 7: " malformed_line"}, rejected)
	require.Equal(t, []string{"company", "hashed_password"}, []string{did.NotMapped[0].Column, did.NotMapped[1].Column})

	ada := root.GET(t, "/users?email=ada@example.org").Want(t, 200)
	require.Equal(t, []any{"admin", "user"}, ada.Get(t, "data.0.roles"))
	require.Equal(t, "a3f1b6d0-0c65-4f0e-9a5e-2d6f0b9f7c01", ada.String(t, "data.0.external_id"))
	require.Equal(t, "2023-04-05T04:07:08.123Z", ada.String(t, "data.0.created_at"))
	require.Equal(t, "Löwe", root.GET(t, "/profiles/"+ada.String(t, "data.0.id")).Want(t, 200).String(t, "family_name"))
	bob := root.GET(t, "/users?email=bob@example.org").Want(t, 200)
	require.Equal(t, "suspended", bob.String(t, "data.0.status"))
	require.Equal(t, "pending", root.GET(t, "/users?email=cy@example.org").Want(t, 200).String(t, "data.0.status"))
	s.POST(t, "/auth/login", doc{"email": "ada@example.org", "password": "abc123xyz"}).Want(t, 200) // what the fixture's bcrypt hash is of
	events := root.GET(t, "/audit-events?action=user.import").Want(t, 200)
	require.Equal(t, "ums import", events.String(t, "data.0.actor.label"))

	again, _ := imported(t, s, text, m, transfer.Options{OnConflict: transfer.Skip})
	require.Equal(t, transfer.Report{Read: 5, Skipped: 3, Failed: 2}, again.Report)
	named := strings.Replace(text, "Ada,Löwe", "Ada,Lion", 1)
	updated, _ := imported(t, s, named, m, transfer.Options{OnConflict: transfer.Update})
	require.Equal(t, transfer.Report{Read: 5, Updated: 1, Skipped: 2, Failed: 2}, updated.Report)
}

func TestImportFromSupabase(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	m := transfer.Mapping{From: transfer.Supabase}
	did, rejected := imported(t, s, fixture(t, "supabase.csv"), m, transfer.Options{OnConflict: transfer.Skip})
	require.Equal(t, transfer.Report{Read: 5, Created: 3, Skipped: 1, Failed: 1}, did.Report)
	require.Equal(t, map[int64]string{6: "/email required"}, rejected)
	ada := root.GET(t, "/users?email=ada@example.org").Want(t, 200)
	require.Equal(t, doc{"tier": 2.0}, ada.Get(t, "data.0.app_metadata"))
	require.Equal(t, "+15551234567", root.GET(t, "/profiles/"+ada.String(t, "data.0.id")).Want(t, 200).String(t, "phone"))
	require.Equal(t, "suspended", root.GET(t, "/users?email=banned@example.org").Want(t, 200).String(t, "data.0.status"))
	s.POST(t, "/auth/login", doc{"email": "ada@example.org", "password": "abc123xyz"}).Want(t, 200)
	// The same people from the admin API are there already, by external id.
	did, _ = imported(t, s, fixture(t, "supabase.json"), m, transfer.Options{OnConflict: transfer.Skip})
	require.Equal(t, transfer.Report{Read: 2, Skipped: 2}, did.Report)
}

func TestImportFromTables(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	root.POST(t, "/roles", doc{"name": "editor"}).Want(t, 201)
	people := transfer.Mapping{From: transfer.CSV, Delimiter: ';', Columns: map[string]string{"E-Mail": "email", "Nachname": "profile.family_name"}}
	did, rejected := imported(t, s, fixture(t, "people.csv"), people, transfer.Options{OnConflict: transfer.Skip})
	require.Equal(t, transfer.Report{Read: 4, Created: 2, Failed: 2}, did.Report)
	require.Equal(t, map[int64]string{2: "/roles/1 unknown_role", 5: "/metadata wrong_type"}, rejected)
	root.POST(t, "/roles", doc{"name": "writer"}).Want(t, 201)
	did, _ = imported(t, s, fixture(t, "people.csv"), people, transfer.Options{OnConflict: transfer.Skip})
	require.EqualValues(t, 1, did.Created)
	ada := root.GET(t, "/users?email=ada@example.org").Want(t, 200)
	require.Equal(t, []any{"editor", "user", "writer"}, ada.Get(t, "data.0.roles"))
	require.Equal(t, doc{"team": "blue"}, root.GET(t, "/profiles/"+ada.String(t, "data.0.id")).Want(t, 200).Get(t, "attributes"))
}

// Lines as POST /users/import takes them; what is refused there for want of rights the operator may set here, and nothing
// beyond it.
func TestImportOfLines(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	root := s.Admin(t)
	lines := `{"email": "ada@example.org", "email_verified": true, "suspended": true}

{"email": "bob@example.org", "status": "active"}
{"email": "cy@example.org", "profile": {"given_name": "Cy"}}`
	did, rejected := imported(t, s, lines, native, transfer.Options{OnConflict: transfer.Skip})
	require.Equal(t, transfer.Report{Read: 3, Created: 2, Failed: 1}, did.Report)
	require.Equal(t, map[int64]string{3: " unknown_field"}, rejected)
	require.Equal(t, "suspended", root.GET(t, "/users?email=ada@example.org").Want(t, 200).String(t, "data.0.status"))
	did, _ = imported(t, s, "\n", native, transfer.Options{OnConflict: transfer.Skip})
	require.Zero(t, did.Report)
}

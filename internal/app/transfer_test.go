package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/transfer"
)

const otherMasterKey = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="

var native = transfer.Mapping{From: transfer.Native}

type doc = map[string]any

// configured is what a command on the server of s is configured with.
func configured(t *testing.T, s *apptest.Service, masterKey string) *config.Config {
	t.Helper()
	cfg, _, err := config.Load([]string{
		"UMS_DATABASE_URL=" + s.DSN, "UMS_DATABASE_MAX_CONNS=4", "UMS_MASTER_KEY=" + masterKey, "UMS_DATA_DIR=" + t.TempDir(),
		"UMS_SMTP_URL=" + s.Mail.URL() + "?tls=none",
	})
	require.NoError(t, err)
	return cfg
}

func exported(t *testing.T, s *apptest.Service, masterKey string, secrets bool) (string, transfer.Exported) {
	t.Helper()
	var out bytes.Buffer
	did, err := app.Export(t.Context(), configured(t, s, masterKey), secrets, &out, nil)
	require.NoError(t, err)
	return out.String(), did
}

func restored(t *testing.T, s *apptest.Service, file string, o transfer.Options) (did transfer.Restored, rejected []transfer.Rejection) {
	t.Helper()
	got, err := app.Import(t.Context(), configured(t, s, otherMasterKey), strings.NewReader(file), native, o,
		transfer.Listener{Reject: func(r transfer.Rejection) { rejected = append(rejected, r) }})
	require.NoError(t, err)
	return *got.Restored, rejected
}

// elsewhere is an empty service with another master key.
func elsewhere(t *testing.T) *apptest.Service {
	t.Helper()
	return apptest.Start(t, apptest.Env("UMS_MASTER_KEY="+otherMasterKey, "UMS_BOOTSTRAP_ADMIN_EMAIL=", "UMS_BOOTSTRAP_ADMIN_PASSWORD="))
}

// people fills a service with what an account can have, and returns what signs them in.
func people(t *testing.T, s *apptest.Service) (totp *apptest.App, key *apptest.Authenticator) {
	t.Helper()
	root := s.Admin(t)
	root.POST(t, "/permissions", doc{"name": "invoices:approve", "description": "Approve invoices"}).Want(t, 201)
	root.POST(t, "/roles", doc{"name": "zz-base", "permissions": []string{"invoices:approve"}}).Want(t, 201)
	root.POST(t, "/roles", doc{"name": "accounting", "permissions": []string{"users:read"}, "inherits": []string{"zz-base"}}).Want(t, 201)

	ada, asAda := s.Person(t, root, "ada@example.com", "accounting")
	root.PATCH(t, "/users/"+ada, doc{"external_id": "crm-1", "metadata": doc{"a": []int{1}}, "app_metadata": doc{"plan": "gold"}}).Want(t, 200)
	asAda.PATCH(t, "/users/me", doc{"display_name": "Ada Löwe", "locale": "de-AT", "timezone": "Europe/Vienna"}).Want(t, 200)
	asAda.PATCH(t, "/profiles/me", doc{
		"given_name": "Ada", "phone": "+4312345678", "birth_date": "1990-12-31", "address": doc{"locality": "Wien", "country": "AT"},
		"social_links": doc{"code": "https://code.example/ada"}, "visibility": "public", "attributes": doc{"team": "blue"},
	}).Want(t, 200)
	totp = s.Enrol(t, asAda)

	_, bob := s.Person(t, root, "bob@example.com", "admin")
	key = apptest.NewAuthenticator(t)
	options := bob.POST(t, "/auth/passkeys/registration/options", nil).Want(t, 200)
	bob.POST(t, "/auth/passkeys/registration", doc{"credential": key.Create(t, options), "name": "Key of Bob"}).Want(t, 201)

	cy, _ := s.Person(t, root, "cy@example.com")
	role := root.GET(t, "/roles").Want(t, 200)
	for i := range 4 {
		if at := "data." + string(rune('0'+i)); role.String(t, at+".name") == "accounting" {
			until := s.Clock.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
			root.PUT(t, "/users/"+cy+"/roles/"+role.String(t, at+".id"), doc{"expires_at": until}).Want(t, 204)
		}
	}
	root.POST(t, "/users/"+cy+"/suspend", doc{"reason": "test"}).Want(t, 200)
	root.POST(t, "/users", doc{"email": "pending@example.com", "password": apptest.Password, "roles": []string{"accounting"}}).Want(t, 201)
	root.POST(t, "/users", doc{"kind": "service", "display_name": "Robot", "roles": []string{"accounting"}}).Want(t, 201)
	return totp, key
}

// without takes out of an account what another service counts anew.
func without(users []any, names ...string) []any {
	for _, u := range users {
		for _, name := range names {
			delete(u.(doc), name)
		}
	}
	return users
}

func profileOf(t *testing.T, c *apptest.Client, of string) doc {
	t.Helper()
	var p doc
	require.NoError(t, json.Unmarshal(c.GET(t, "/profiles/"+of).Want(t, 200).Body, &p))
	return without([]any{p}, "updated_at")[0].(doc)
}

// An export with secrets, imported into an empty service with another master key, gives the same users, who sign in with
// what they signed in with before: password, authenticator app, recovery code, passkey.
func TestTransferMovesEverybody(t *testing.T) {
	t.Parallel()
	from := apptest.Start(t)
	totp, key := people(t, from)
	file, did := exported(t, from, apptest.MasterKey, true)
	require.Equal(t, transfer.Exported{Users: 6, Roles: 3, Permissions: 1, Secrets: true}, did)
	root := from.Admin(t)
	events := root.GET(t, "/audit-events?action=user.bulk_export").Want(t, 200)
	require.Equal(t, "with secrets", events.String(t, "data.0.reason"))
	require.Equal(t, "ums export", events.String(t, "data.0.actor.label"))

	to := elsewhere(t)
	tried, rejected := restored(t, to, file, transfer.Options{OnConflict: transfer.Skip, DryRun: true})
	require.Empty(t, rejected)
	require.EqualValues(t, 6, tried.Created)
	to.POST(t, "/auth/login", doc{"email": apptest.AdminEmail, "password": apptest.AdminPassword}).Want(t, 401, "invalid_credentials")
	back, rejected := restored(t, to, file, transfer.Options{OnConflict: transfer.Skip})
	require.Empty(t, rejected)
	require.Equal(t, transfer.Restored{
		Report: transfer.Report{Read: 6, Created: 6}, Content: transfer.Content{Secrets: true, Permissions: 1, RolesCreated: 2, RolesDiffer: []string{}},
	}, back)

	there := to.Admin(t)
	before, after := root.GET(t, "/users?sort=created_at").Want(t, 200), there.GET(t, "/users?sort=created_at").Want(t, 200)
	// Both administrators have signed in meanwhile.
	require.Equal(t, without(before.Get(t, "data").([]any), "last_login_at"), without(after.Get(t, "data").([]any), "last_login_at"))
	for _, u := range before.Get(t, "data").([]any) {
		of := u.(doc)["id"].(string)
		require.Equal(t, profileOf(t, root, of), profileOf(t, there, of))
		require.Equal(t, root.GET(t, "/users/"+of+"/permissions").Want(t, 200).Get(t, "data"), there.GET(t, "/users/"+of+"/permissions").Want(t, 200).Get(t, "data"))
	}
	require.Len(t, there.GET(t, "/audit-events?action=user.create").Want(t, 200).Get(t, "data"), 6)

	to.POST(t, "/auth/login", doc{"email": "cy@example.com", "password": apptest.Password}).Want(t, 403, "account_suspended")
	verify := func(method, code string) *apptest.Answer {
		return to.POST(t, "/auth/mfa/verify", doc{"mfa_token": to.Ticket(t, "ada@example.com", apptest.Password), "method": method, "code": code})
	}
	verify("totp", totp.At(t, from.Clock.Now().Add(-30*time.Second))).Want(t, 401, "invalid_code") // it was used before
	verify("totp", totp.At(t, to.Clock.Now().Add(30*time.Second))).Want(t, 200)
	verify("recovery_code", totp.RecoveryCodes[3]).Want(t, 200)
	verify("recovery_code", totp.RecoveryCodes[3]).Want(t, 401, "invalid_code")
	options := to.POST(t, "/auth/passkeys/login/options", doc{}).Want(t, 200)
	to.POST(t, "/auth/passkeys/login", doc{"credential": key.Get(t, options)}).Want(t, 200)
	to.POST(t, "/auth/login", doc{"email": "bob@example.com", "password": apptest.Password}).Want(t, 403, "mfa_required")

	// The same again changes nothing, and what this service exports is what it was given.
	again, rejected := restored(t, to, file, transfer.Options{OnConflict: transfer.Skip})
	require.Empty(t, rejected)
	require.EqualValues(t, 6, again.Skipped)
}

// What an export holds imported and exported again is the same file, but for its head.
func TestTransferIsLossless(t *testing.T) {
	t.Parallel()
	from := apptest.Start(t)
	people(t, from)
	file, _ := exported(t, from, apptest.MasterKey, true)
	to := elsewhere(t)
	_, rejected := restored(t, to, file, transfer.Options{OnConflict: transfer.Skip})
	require.Empty(t, rejected)
	again, _ := exported(t, to, otherMasterKey, true)
	_, want, _ := strings.Cut(file, "\n")
	_, got, _ := strings.Cut(again, "\n")
	require.Equal(t, want, got)
}

// Without secrets nothing that signs in, or replaces it, is in the file; the accounts come all the same.
func TestTransferWithoutSecrets(t *testing.T) {
	t.Parallel()
	from := apptest.Start(t)
	people(t, from)
	file, _ := exported(t, from, apptest.MasterKey, false)
	for _, secret := range []string{"argon2", "password_hash", "totp", "recovery_codes", "passkeys", "public_key"} {
		require.NotContains(t, file, `"`+secret)
	}
	to := elsewhere(t)
	did, rejected := restored(t, to, file, transfer.Options{OnConflict: transfer.Skip})
	require.Empty(t, rejected)
	require.EqualValues(t, 6, did.Created)
	to.POST(t, "/auth/login", doc{"email": apptest.AdminEmail, "password": apptest.AdminPassword}).Want(t, 401, "invalid_credentials")
}

// A line that cannot be taken is told by its number, without its values, and the others go on; a file that was cut off, or
// is none, is refused.
func TestTransferTellsWhatItDidNotTake(t *testing.T) {
	t.Parallel()
	from := apptest.Start(t)
	people(t, from)
	file, _ := exported(t, from, apptest.MasterKey, true)
	to := apptest.Start(t, apptest.Env("UMS_MASTER_KEY="+otherMasterKey)) // its administrator has the address of the other's
	root := to.Admin(t)
	gone, _ := to.Person(t, root, "gone@example.com")
	root.DELETE(t, "/users/"+gone).Want(t, 204)

	lines := strings.Split(strings.TrimSpace(file), "\n")
	var ada doc
	for _, l := range lines {
		if strings.Contains(l, `"ada@example.com"`) {
			require.NoError(t, json.Unmarshal([]byte(l), &ada))
		}
	}
	variant := func(changes doc) string {
		u := doc{
			"record": "user", "id": "01890000-0000-7000-8000-000000000001", "kind": "human", "email": "new@example.com", "email_verified": true,
			"status": "active", "created_at": "2020-01-01T00:00:00Z",
		}
		for name, value := range changes {
			u[name] = value
		}
		text, err := json.Marshal(u)
		require.NoError(t, err)
		return string(text)
	}
	head, tail := lines[:len(lines)-1], []string{
		variant(doc{"id": gone}),
		variant(doc{"email": "ada@example.com"}),
		variant(doc{"passkeys": []doc{{"name": "x", "credential_id": "AAAA", "public_key": "", "sign_count": -1, "aaguid": gone, "transports": []string{}}}}),
		variant(doc{"totp": []doc{{"secret": "not base32, hushhush"}}}),
		variant(doc{"password_hash": "plain hushhush"}), variant(doc{"roles": []doc{{"name": "nobody-hushhush"}}}), variant(doc{"role": "admin"}),
		variant(doc{"status": "pending", "password_hash": ada["password_hash"]}), variant(doc{"metadata": doc{"a": "\x00"}}), variant(doc{"status": 7}),
		"{", variant(doc{"profile": doc{"phone": "hushhush"}}), variant(doc{"status": "deleting"}), variant(doc{"created_at": "2999-01-01T00:00:00Z"}),
		variant(doc{"kind": "service"}),
	}
	all := strings.Join(append(append(head, tail...), `{"record":"end","users":`+"21}"), "\n")
	did, rejected := restored(t, to, all, transfer.Options{OnConflict: transfer.Skip})
	require.Equal(t, transfer.Report{Read: 21, Created: 5, Skipped: 1, Failed: int64(len(tail))}, did.Report)
	codes := map[int64]string{}
	for _, r := range rejected {
		codes[r.Line-int64(len(head))] = r.Code
		text, err := json.Marshal(r)
		require.NoError(t, err)
		require.NotContains(t, string(text), "hushhush")
	}
	require.Len(t, codes, len(tail))
	require.Equal(t, "deleted_here", codes[1])
	require.Equal(t, "already_exists", codes[2])
	require.Equal(t, "malformed_line", codes[11])

	for text, want := range map[string]error{
		strings.Join(head, "\n"): transfer.ErrCutOff,
		file[:len(file)-30]:      transfer.ErrCutOff, strings.Join(append(head[:len(head)-1:len(head)-1], lines[len(lines)-1]), "\n"): transfer.ErrCutOff,
		strings.Replace(lines[0], `"version":1`, `"version":2`, 1): transfer.ErrVersion,
	} {
		_, err := app.Import(t.Context(), configured(t, to, otherMasterKey), strings.NewReader(text), native, transfer.Options{OnConflict: transfer.Skip}, transfer.Listener{})
		require.ErrorIs(t, err, want)
	}
}

// Updating changes names, places and metadata of accounts and the content of roles, and nothing that signs in.
func TestTransferUpdates(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t)
	people(t, s)
	file, _ := exported(t, s, apptest.MasterKey, true)
	changed := strings.NewReplacer("Ada Löwe", "Ada Lion", `"permissions":["users:read"]`, `"permissions":["users:read","users:write"]`,
		`"status":"suspended"`, `"status":"active"`).Replace(file)
	root := s.Admin(t)
	cfg := configured(t, s, apptest.MasterKey)
	did, err := app.Import(t.Context(), cfg, strings.NewReader(changed), native, transfer.Options{OnConflict: transfer.Skip}, transfer.Listener{})
	require.NoError(t, err)
	require.Equal(t, []any{int64(6), []string{"accounting"}, 0}, []any{did.Skipped, did.Restored.RolesDiffer, did.Restored.RolesUpdated})
	for _, dry := range []bool{true, false} {
		did, err = app.Import(t.Context(), cfg, strings.NewReader(changed), native, transfer.Options{OnConflict: transfer.Update, DryRun: dry}, transfer.Listener{})
		require.NoError(t, err)
		require.Equal(t, []any{int64(1), int64(5), 1}, []any{did.Updated, did.Skipped, did.Restored.RolesUpdated})
		got := root.GET(t, "/users?email=ada@example.com").Want(t, 200).String(t, "data.0.display_name")
		require.Equal(t, !dry, got == "Ada Lion")
	}
	require.Equal(t, "suspended", root.GET(t, "/users?email=cy@example.com").Want(t, 200).String(t, "data.0.status"))
	s.Clock.Advance(2 * time.Second)
}

// many is a file with this many accounts.
func many(n int) string {
	var b strings.Builder
	b.WriteString(`{"record":"header","format":"ums-export","version":1,"secrets":true,"created_at":"2025-01-01T00:00:00Z"}` + "\n")
	for i := range n {
		_, _ = fmt.Fprintf(&b, `{"record":"user","id":"01890000-0000-7000-8000-%012x","kind":"human","email":"p%d@example.org","email_verified":true,`+
			`"status":"active","external_id":"crm-%d","created_at":"2020-01-01T00:00:00Z"}`+"\n", i, i, i)
	}
	_, _ = fmt.Fprintf(&b, `{"record":"end","users":%d}`+"\n", n)
	return b.String()
}

// Whatever ends an import in the middle, and however many bring the same file in at once: each account is there once.
func TestTransferMakesEachAccountOnce(t *testing.T) {
	t.Parallel()
	const n = 4100
	to := elsewhere(t)
	file := many(n)
	cfg := func() *config.Config { return configured(t, to, otherMasterKey) }
	broken := io.MultiReader(strings.NewReader(file[:3*len(file)/4]), iotest.ErrReader(io.ErrUnexpectedEOF))
	did, err := app.Import(t.Context(), cfg(), broken, native, transfer.Options{OnConflict: transfer.Skip}, transfer.Listener{})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.EqualValues(t, 2000, did.Created, "what one transaction brings in")

	var imports sync.WaitGroup
	var reports [3]app.Imported
	var errs [3]error
	for i := range reports {
		c := cfg()
		imports.Go(func() {
			reports[i], errs[i] = app.Import(t.Context(), c, strings.NewReader(file), native, transfer.Options{OnConflict: transfer.Skip}, transfer.Listener{})
		})
	}
	imports.Wait()
	require.NoError(t, errors.Join(errs[:]...))
	created := did.Created
	for _, r := range reports {
		require.EqualValues(t, n, r.Created+r.Skipped)
		created += r.Created
	}
	require.EqualValues(t, n, created)
	again, _ := restored(t, to, file, transfer.Options{OnConflict: transfer.Skip})
	require.EqualValues(t, n, again.Skipped)
}

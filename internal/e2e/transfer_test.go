package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

const otherMasterKey = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="

// report is what --json prints.
type report struct {
	Users                                   int64
	Read, Created, Updated, Skipped, Failed int64
	Secrets                                 bool
	Errors                                  []struct {
		Line int64
		Code string
	}
	Export *struct{ Secrets bool }
}

func reported(t *testing.T, code int, env []string, args ...string) (r report) {
	t.Helper()
	out, errs, got := run(t, env, append(args, "--json")...)
	require.Equal(t, code, got, errs)
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	return r
}

// Everybody moves to an empty database with another master key, while the first service runs, and signs in at the second,
// which starts behind it.
func TestEverybodyMoves(t *testing.T) {
	t.Parallel()
	p := start(t)
	admin := p.POST(t, "/auth/login", map[string]any{"email": apptest.AdminEmail, "password": apptest.AdminPassword}).Want(t, 200).String(t, "access_token")
	p.Bearer(admin).POST(t, "/users", map[string]any{
		"email": "ada@example.org", "password": apptest.Password, "email_verified": true, "display_name": "Ada",
	}).Want(t, 201)
	dir := t.TempDir()
	file := filepath.Join(dir, "users.ndjson")

	did := reported(t, 0, p.env, "export", "--with-secrets", file)
	require.Equal(t, []any{int64(2), true}, []any{did.Users, did.Secrets})
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	whole, err := os.ReadFile(file)
	require.NoError(t, err)

	// A file that is there stays, also when it is a dangling link, and nothing half-written lies beside it.
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(filepath.Join(dir, "elsewhere"), link))
	for _, taken := range []string{file, link} {
		_, errs, code := run(t, p.env, "export", taken)
		require.Equal(t, 1, code)
		oneLine(t, errs, "--force")
	}
	same, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, whole, same)
	require.NoError(t, os.Chmod(file, 0o644))
	require.False(t, reported(t, 0, p.env, "export", "--force", file).Secrets)
	info, err = os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	_, errs, code := run(t, p.env, "export", filepath.Join(dir, "no", "such", "folder"))
	require.Equal(t, 1, code)
	oneLine(t, errs, "no such file")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	_, errs, code = run(t, append(p.env, "UMS_MASTER_KEY="+otherMasterKey), "export", "-")
	require.Zero(t, code, errs)

	// Over pipes, into a database that has only its schema.
	dsn := pgtest.EmptyURL(t)
	env := append(environment(t, dsn, p.mail), "UMS_MASTER_KEY="+otherMasterKey, "UMS_BOOTSTRAP_ADMIN_EMAIL=", "UMS_BOOTSTRAP_ADMIN_PASSWORD=")
	_, errs, code = run(t, env, "import", file)
	require.Equal(t, 1, code)
	oneLine(t, errs, "ums migrate up")
	_, errs, code = run(t, env, "migrate", "up")
	require.Zero(t, code, errs)
	piped := pipe(t, p.env, nil, "export", "--with-secrets", "-")
	require.Equal(t, 5, bytes.Count(piped, []byte("\n"))) // head, role user, two accounts, end
	out := pipe(t, env, piped, "import", "-")
	require.Regexp(t, `created +2\n`, string(out))

	q := launch(t, dsn, p.mail, env)
	q.waitReady(t)
	for email, password := range map[string]string{"ada@example.org": apptest.Password, apptest.AdminEmail: apptest.AdminPassword} {
		q.POST(t, "/auth/login", map[string]any{"email": email, "password": password}).Want(t, 200)
	}
	again := reported(t, 0, env, "import", file)
	require.Equal(t, []any{int64(2), false}, []any{again.Skipped, again.Export.Secrets})
}

// pipe runs a command that must succeed, with this standard input, and returns its standard output.
func pipe(t *testing.T, env []string, in []byte, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, bytes.NewReader(in), &out, &errs
	require.NoError(t, cmd.Run(), errs.String())
	return out.Bytes()
}

// What the command says of a file of another program: in words, as JSON, in a file, and by its exit code.
func TestImportReports(t *testing.T) {
	t.Parallel()
	p := start(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "people.csv")
	text := "Mail;email_verified;Shoe\nada@example.org;yes;38\nno address;yes;\nbob@example.org;no;\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	call := []string{"import", "--from", "csv", "--delimiter", ";", "--column", "email=Mail", file}

	dry := reported(t, 1, p.env, append(call, "--dry-run")...)
	require.Equal(t, []int64{3, 2, 1}, []int64{dry.Read, dry.Created, dry.Failed})
	require.EqualValues(t, 3, dry.Errors[0].Line)
	errorsFile := filepath.Join(dir, "errors.ndjson")
	out, errs, code := run(t, p.env, append(call, "--errors", errorsFile)...)
	require.Equal(t, 1, code)
	require.Regexp(t, `read +3\ncreated +2\nupdated +0\nskipped +0 .*\nnot taken +1\nnot mapped\n +Shoe +1 `, out)
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	require.Len(t, lines, 2)
	require.Regexp(t, `^line 3: /email [a-z_]+: `, lines[0])
	require.Regexp(t, `^ums: 1 lines were not taken`, lines[1])
	require.NotContains(t, errs, "no address")
	kept, err := os.ReadFile(errorsFile)
	require.NoError(t, err)
	require.Contains(t, string(kept), `"line":3`)

	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(text, "no address", "cy@example.org", 1)), 0o600))
	same := filepath.Join(dir, "same")
	require.NoError(t, os.Symlink(file, same))
	_, errs, code = run(t, p.env, append(call, "--errors", same)...)
	require.Equal(t, 2, code)
	oneLine(t, errs, "the file that is imported")
	again := reported(t, 0, p.env, call...) // and it was not emptied
	require.Equal(t, []int64{3, 1, 2, 0}, []int64{again.Read, again.Created, again.Skipped, again.Failed})
	hostile := "Mail;email_verified;\x1b]0,owned\a\u202e\ndan@example.org;yes;1\n" // a terminal would take the column for orders
	require.NoError(t, os.WriteFile(file, []byte(hostile), 0o600))
	out, _, code = run(t, p.env, call...)
	require.Equal(t, 0, code)
	require.Contains(t, out, `"\x1b]0,owned\a\u202e"`)
	require.NotContains(t, out, "\x1b")
	require.NoError(t, os.WriteFile(file, []byte("Mail\n"), 0o600))
	_, errs, code = run(t, p.env, call...)
	require.Equal(t, 1, code)
	oneLine(t, errs, "no account")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, errs, code = run(t, p.env, "import", "--from", "supabase", file)
	require.Equal(t, 1, code)
	oneLine(t, errs, "no JSON")
}

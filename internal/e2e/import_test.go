package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// An import whose process is killed in the middle goes on in another: no line is lost, and none has its effect twice.
func TestImportSurvivesItsProcess(t *testing.T) {
	t.Parallel()
	p := start(t)
	admin := p.admin(t)
	const people, held = 6000, 3100
	var lines strings.Builder
	for i := range people {
		_, _ = fmt.Fprintf(&lines, `{"email": "p%d@import.test", "email_verified": true, "external_id": "crm-%d", "profile": {"given_name": "P%d"}}`+"\n", i, i, i)
	}
	db := p.db(t)
	for _, sql := range []string{ // the batch of one account stands still
		`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
			$$BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END$$`,
		fmt.Sprintf(`CREATE TRIGGER hold BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.email = 'p%d@import.test') EXECUTE FUNCTION hold()`, held),
		`SELECT pg_advisory_lock(4711)`,
	} {
		_, err := db.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	sent := admin.With("Content-Type", "application/x-ndjson").POST(t, "/users/import", lines.String()).Want(t, http.StatusAccepted)
	location := strings.TrimPrefix(sent.Header.Get("Location"), "/api/v1")
	made := func() int { return p.count(t, `SELECT count(*) FROM users WHERE email LIKE '%@import.test'`) }
	eventually(t, "the job stands still", func() bool {
		return p.count(t, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted`) == 1
	})
	p.signal(t, syscall.SIGKILL)
	<-p.ended
	_, err := db.Exec(t.Context(), `SELECT pg_advisory_unlock(4711)`)
	require.NoError(t, err)
	before := made()
	require.Positive(t, before)
	require.Less(t, before, people)

	q := p.beside(t)
	at := admin.at(q)
	// Its lease ends, without the wait for it.
	p.execute(t, `UPDATE river_job SET state = 'available' WHERE kind = 'import' AND state = 'running'`)
	eventually(t, "the import is done", func() bool { return at.GET(t, location).Want(t, http.StatusOK).String(t, "status") == "done" })
	done := at.GET(t, location)
	require.Equal(t, []any{people, people, people, 0, 0}, []any{
		int(done.Get(t, "total").(float64)), int(done.Get(t, "processed").(float64)), int(done.Get(t, "created").(float64)),
		int(done.Get(t, "skipped").(float64)), int(done.Get(t, "failed").(float64)),
	})
	require.Equal(t, people, made())
	for _, sql := range []string{
		`SELECT count(*) FROM audit_events e JOIN users u ON u.id = e.target_id AND u.email LIKE '%@import.test' WHERE e.action = 'user.create'`,
		`SELECT count(DISTINCT e.target_id) FROM audit_events e JOIN users u ON u.id = e.target_id AND u.email LIKE '%@import.test' WHERE e.action = 'profile.update'`,
		`SELECT count(*) FROM profiles p JOIN users u ON u.id = p.user_id AND u.email LIKE '%@import.test'`,
		`SELECT count(*) FROM user_search s JOIN users u ON u.id = s.user_id AND u.email LIKE '%@import.test'`,
	} {
		require.Equal(t, people, p.count(t, sql), sql)
	}
	require.Zero(t, p.count(t, `SELECT count(*) FROM import_lines`))
}

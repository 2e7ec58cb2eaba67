package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// HTTP-10, crash: a process that is killed before its transaction ends has done nothing, and one that is killed while it
// commits has done everything, the record included: whoever repeats the request elsewhere gets one effect.
func TestHTTP10_KilledBetweenEffectAndAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trigger   string // where the database holds the request: at the effect, or at the commit
		committed bool
	}{
		"before the commit": {"INITIALLY IMMEDIATE", false},
		"in the commit":     {"INITIALLY DEFERRED", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			q := p.beside(t)
			admin := p.admin(t)
			there := admin.at(q).With("Idempotency-Key", "crash")
			there.GET(t, "/users/me").Want(t, 200)
			db := p.db(t)
			for _, sql := range []string{
				`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
					$$BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END$$`,
				`CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON permissions DEFERRABLE ` + c.trigger + ` FOR EACH ROW EXECUTE FUNCTION hold()`,
				`SELECT pg_advisory_lock(4711)`,
			} {
				_, err := db.Exec(t.Context(), sql)
				require.NoError(t, err)
			}
			body := doc{"name": "crash:read"}
			first := make(chan error, 1)
			go func() {
				a, _, err := admin.With("Idempotency-Key", "crash").Try("POST", "/permissions", body)
				if err == nil {
					err = fmt.Errorf("it was answered: %d %s", a.Status, a.Body)
				}
				first <- err
			}()
			held := func() int {
				return p.count(t, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted`)
			}
			eventually(t, "the request is held", func() bool { return held() == 1 })
			p.signal(t, syscall.SIGKILL)
			<-p.ended
			require.NotContains(t, (<-first).Error(), "answered")
			there.POST(t, "/permissions", body).Want(t, 409, "idempotency_in_progress")
			_, err := db.Exec(t.Context(), `SELECT pg_advisory_unlock(4711)`)
			require.NoError(t, err)
			created := func() int { return p.count(t, `SELECT count(*) FROM permissions WHERE name = 'crash:read'`) }
			if c.committed {
				eventually(t, "the commit is done", func() bool { return created() == 1 })
			} else {
				eventually(t, "the dead one's transaction is over", func() bool {
					return p.count(t, `SELECT count(*) FROM pg_locks WHERE relation = 'permissions'::regclass AND mode = 'RowExclusiveLock'`) == 0
				})
				require.Zero(t, created())
				there.POST(t, "/permissions", body).Want(t, 409, "idempotency_in_progress")
				// Its lease ends.
				_, err = db.Exec(t.Context(), `UPDATE idempotency_keys SET leased_until = now() - interval '1 ms' WHERE answer IS NULL`)
				require.NoError(t, err)
				a := there.POST(t, "/permissions", body).Want(t, 201)
				require.Empty(t, a.Header.Get("Idempotency-Replayed"))
			}
			a := there.POST(t, "/permissions", body).Want(t, 201)
			require.Equal(t, "true", a.Header.Get("Idempotency-Replayed"))
			require.Equal(t, "crash:read", a.String(t, "name"))
			require.Equal(t, 1, created())
			there.POST(t, "/permissions", doc{"name": "crash:write"}).Want(t, 422, "idempotency_key_reused")
		})
	}
}

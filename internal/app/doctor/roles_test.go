package doctor

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Roles belong to the whole cluster, which other tests share: what would have to be broken there is judged by itself.
func TestJudgeRoles(t *testing.T) {
	t.Parallel()
	good := postgres.Rights{Exists: true, Member: true, HasSettings: true}
	for name, c := range map[string]struct {
		change        func(*postgres.Rights)
		two           bool
		worker, owner string
		status        Status
		says, do      string
	}{
		"one URL":          {func(*postgres.Rights) {}, false, "ums", "ums", OK, "SET ROLE", ""},
		"two URLs":         {func(*postgres.Rights) {}, true, "ums_app", "ums", OK, "a login of its own", ""},
		"not there":        {func(r *postgres.Rights) { r.Exists = false }, false, "ums", "ums", Warn, "not there yet", "GRANT ums_app TO ums"},
		"no member":        {func(r *postgres.Rights) { r.Member = false }, false, "ums", "ums", Fail, "may not become", "GRANT ums_app TO ums"},
		"powerful":         {func(r *postgres.Rights) { r.Powers = []string{"SUPERUSER", "CREATEDB"} }, true, "ums_app", "ums", Fail, "SUPERUSER, CREATEDB", "NOSUPERUSER NOCREATEDB"},
		"swapped":          {func(*postgres.Rights) {}, true, "ums", "ums_app", Fail, "cannot migrate", "owner"},
		"without timeouts": {func(r *postgres.Rights) { r.HasSettings = false }, true, "ums_app", "ums", Warn, "no timeouts", "restore-finish"},
	} {
		r := good
		c.change(&r)
		require.True(t, slices.ContainsFunc(judgeRoles(r, c.two, c.worker, c.owner), func(f Finding) bool {
			return f.Status == c.status && strings.Contains(f.Says, c.says) && strings.Contains(f.Do, c.do)
		}), name)
	}
}

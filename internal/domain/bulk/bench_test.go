package bulk_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/bulk"
)

// exported writes n lines as another program would export them.
func exported(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		var b strings.Builder
		for i := range n {
			_, _ = fmt.Fprintf(&b, `{"email": "%s.%d@example.org", "email_verified": true, "external_id": "crm-%08d", "display_name": "Ada %s Lovelace", "locale": "de-AT", `+
				`"created_at": "2021-03-04T05:06:07.089Z", "password_hash": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG3kZ0NWVHc0E"}`+"\n",
				[]string{"ada", "grace", "linus", "margaret"}[i%4], (i*7919)%(1<<24), i, []string{"King", "Byron", "Noel", "Milbanke"}[i%4])
			if b.Len() > 1<<16 || i == n-1 {
				if _, err := io.WriteString(w, b.String()); err != nil {
					return
				}
				b.Reset()
			}
		}
		_ = w.Close()
	}()
	return r
}

// Lines a second, from the first batch to the last.
func BenchmarkImport(b *testing.B) {
	s := start(b, bulk.Limits{})
	by := s.caller("importer@example.com", "users:import")
	for b.Loop() {
		const n = 100_000
		s.exec("DELETE FROM imports")
		s.exec("DELETE FROM users WHERE id <> $1", by.UserID)
		began := time.Now()
		of, err := s.Stage(b.Context(), by, skip, exported(n))
		require.NoError(b, err)
		_, err = s.Begin(b.Context(), by, of, nil)
		require.NoError(b, err)
		staged := time.Since(began)
		began = time.Now()
		for ended := false; !ended; {
			ended, err = bulk.Run(s.Service, b.Context(), of)
			require.NoError(b, err)
		}
		b.ReportMetric(n/staged.Seconds(), "staged/s")
		b.ReportMetric(n/time.Since(began).Seconds(), "lines/s")
	}
}

//go:build figures

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFiguresOfImports prints how many accounts with password hashes come in a second (goal 20,000, from the job's start to
// its end), and how much memory an import and an export take beyond idleness (goal 64 MB, whatever their length).
func TestFiguresOfImports(t *testing.T) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { figuresOfImport(t, n) })
	}
}

func figuresOfImport(t *testing.T, n int) {
	p := start(t, "UMS_DATABASE_MAX_CONNS=16", "UMS_ACCESS_TOKEN_TTL=1h")
	admin := p.admin(t)
	idle := p.resident(t)
	most := p.watchMemory(t)

	began := time.Now()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Base()+"/api/v1/users/import", linesOf(n))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+admin.access)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusAccepted, res.StatusCode)
	received := time.Since(began)
	location := res.Header.Get("Location")[len("/api/v1"):]
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for admin.GET(t, location).Want(t, http.StatusOK).String(t, "status") != "done" {
		<-tick.C
	}
	whole := time.Since(began)
	require.EqualValues(t, n, admin.GET(t, location).Get(t, "created"))
	working := whole - received
	t.Logf("import of %d: upload %.0f lines/s, job %.0f users/s (goal 20000), together %.0f users/s; memory %d MB over idle (goal 64)",
		n, per(n, received), per(n, working), per(n, whole), most()-idle)

	began, most = time.Now(), p.watchMemory(t)
	req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, p.Base()+"/api/v1/users/export", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+admin.access)
	res, err = http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	lines := 0
	for in := bufio.NewReader(res.Body); ; lines++ {
		if _, err := in.ReadSlice('\n'); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
	require.Equal(t, n+1, lines)
	t.Logf("export of %d: %.0f users/s; memory %d MB over idle (goal 64)", n, per(n, time.Since(began)), most()-idle)
}

func per(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// linesOf writes n accounts as another program would have exported them, while they are read.
func linesOf(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		var b bytes.Buffer
		first, last := []string{"ada", "grace", "linus", "margaret", "edsger"}, []string{"King", "Hopper", "Byron", "Hamilton", "Noel", "Liskov", "Dijkstra"}
		for i := range n {
			_, _ = fmt.Fprintf(&b, `{"email":"%s.%s.%d@example.org","email_verified":true,"external_id":"crm-%08d","display_name":"%[1]s %[2]s","locale":"de-AT",`+
				`"created_at":"2021-03-04T05:06:07.089Z","password_hash":"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG3kZ0NWVHc0E"}`+"\n",
				first[i%len(first)], last[i%len(last)], i*7919%16_777_213, i)
			if b.Len() > 1<<16 || i == n-1 {
				if _, err := w.Write(b.Bytes()); err != nil {
					return
				}
				b.Reset()
			}
		}
		_ = w.Close()
	}()
	return r
}

var residentSize = regexp.MustCompile(`VmRSS:\s+([0-9]+) kB`)

// resident is how much memory the process has, in MB.
func (p *process) resident(t testing.TB) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	found := residentSize.FindSubmatch(status)
	require.NotNil(t, found)
	kb, err := strconv.Atoi(string(found[1]))
	require.NoError(t, err)
	return kb >> 10
}

// watchMemory returns a function that ends the watch and says the most.
func (p *process) watchMemory(t testing.TB) func() int {
	most, stop := 0, make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, p.resident(t))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	return sync.OnceValue(func() int { close(stop); watch.Wait(); return most })
}

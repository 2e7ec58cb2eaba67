package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/telemetry"
)

// hostile holds what a client may put into a value to forge or hide log lines.
const hostile = "a\r\nlevel=ERROR \x1b[2J\x1b]0;t\x07 \u009b31m \u202egnp.exe \u2028x \x7f \xff\ufeff"

func TestConfig(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"UMS_LOG_LEVEL": "warn", "UMS_LOG_FORMAT": "text"}
	var cfg telemetry.Config
	require.NoError(t, env.ParseWithOptions(&cfg, env.Options{Environment: vars}))
	require.Equal(t, telemetry.Config{Level: slog.LevelWarn, Format: telemetry.Text}, cfg)

	vars["UMS_LOG_FORMAT"] = "xml"
	require.ErrorContains(t, env.ParseWithOptions(&cfg, env.Options{Environment: vars}), "choose json or text")
}

func TestFormat(t *testing.T) {
	t.Parallel()
	require.Equal(t, telemetry.Text, telemetry.Format("").For(true))
	require.Equal(t, telemetry.JSON, telemetry.Format("").For(false))
	require.Equal(t, telemetry.JSON, telemetry.JSON.For(true))
}

func TestAUD05_LogLinesCannotBeForged(t *testing.T) {
	t.Parallel()
	for _, format := range []telemetry.Format{telemetry.JSON, telemetry.Text} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log := telemetry.NewLogger(telemetry.Config{Format: format}, &out, false)
			log.Info(hostile, "agent", hostile, "err", errors.New(hostile), slog.Group("g", "name", hostile))
			line := out.String()
			require.Equal(t, 1, strings.Count(line, "\n"))
			for _, bad := range []string{"\r", "\x1b", "\x07", "\u009b", "\u202e", "\u2028", "\x7f", "\xff\xff", "\ufeff"} {
				require.NotContains(t, strings.TrimSuffix(line, "\n"), bad)
			}
		})
	}
}

func TestJSONLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.NewLogger(telemetry.Config{Format: telemetry.JSON}, &out, true)
	log.Debug("hidden")
	log.Info("listening", "addr", "127.0.0.1:1")
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "listening", line["msg"])
	require.Equal(t, "INFO", line["level"])
	require.Equal(t, "127.0.0.1:1", line["addr"])
	_, err := time.Parse(telemetry.TimeLayout, line["time"].(string))
	require.NoError(t, err)
}

func TestEscapeIsHarmlessAndStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := telemetry.Escape(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
		require.Equal(t, s, telemetry.Escape(strings.ToValidUTF8(s, "\ufffd")))
		for _, r := range s {
			require.False(t, r < 0x20 || r >= 0x7f && r < 0xa0)
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestSinkKeepsOrderAndFlushesWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		sink := telemetry.NewSink(&out)
		sink.Append([]byte("1\n"))
		require.Empty(t, out.String())
		_, err := sink.Write([]byte("error\n"))
		require.NoError(t, err)
		require.Equal(t, "1\nerror\n", out.String(), "a line that passes takes what waits with it")

		sink.Append([]byte("2\n"))
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		require.Equal(t, "1\nerror\n2\n", out.String())

		sink.Append([]byte("3\n"))
		sink.Close()
		sink.Append([]byte("4\n"))
		require.Equal(t, "1\nerror\n2\n3\n4\n", out.String(), "nothing is lost at the end")
	})
}

func TestSinkWritesWholeLines(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	sink := telemetry.NewSink(&out)
	line := bytes.Repeat([]byte("x"), 999)
	line = append(line, '\n')
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				sink.Append(line)
			}
		})
	}
	wg.Wait()
	sink.Append(bytes.Repeat([]byte("y"), 100_000))
	sink.Close()
	require.Len(t, out.String(), 800*1000+100_000)
	require.Equal(t, 800, strings.Count(out.String(), string(line)))
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Build{Version: "v1", Revision: "abc"})
	m.WatchPool(func() telemetry.PoolStats {
		return telemetry.PoolStats{Acquired: 3, Max: 8, AcquireTime: 1500 * time.Millisecond}
	})
	m.WatchHashing(func() telemetry.HashingStats { return telemetry.HashingStats{Slots: 1, Waiting: 4} })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				m.Route("GET", "/api/v1/users/{id}").Observe(200, time.Millisecond)
			}
		})
	}
	wg.Wait()
	m.Route("GET", "/api/v1/users/{id}").Observe(404, time.Millisecond)
	m.Route("BREW", "").Observe(405, time.Millisecond)
	m.Route("GET", "/x").Observe(0, time.Millisecond)
	m.RateLimited.WithLabelValues("address").Inc()
	require.NoError(t, testutil.GatherAndCompare(m.Registry, strings.NewReader(`
# HELP ums_db_acquire_seconds_total Time spent acquiring.
# TYPE ums_db_acquire_seconds_total counter
ums_db_acquire_seconds_total 1.5
# HELP ums_db_connections_acquired Connections in use.
# TYPE ums_db_connections_acquired gauge
ums_db_connections_acquired 3
# HELP ums_hashing_waiting Callers that wait for a slot.
# TYPE ums_hashing_waiting gauge
ums_hashing_waiting 4
# HELP ums_http_requests_total Requests, by method, route pattern and status.
# TYPE ums_http_requests_total counter
ums_http_requests_total{method="GET",route="/api/v1/users/{id}",status="200"} 100
ums_http_requests_total{method="GET",route="/api/v1/users/{id}",status="404"} 1
ums_http_requests_total{method="GET",route="/x",status="other"} 1
ums_http_requests_total{method="other",route="unmatched",status="405"} 1
# HELP ums_rate_limited_total Requests refused by a rate limit, by policy.
# TYPE ums_rate_limited_total counter
ums_rate_limited_total{policy="address"} 1
`), "ums_db_acquire_seconds_total", "ums_db_connections_acquired", "ums_hashing_waiting", "ums_http_requests_total", "ums_rate_limited_total"))
	problems, err := testutil.GatherAndLint(m.Registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func BenchmarkRouteObserve(b *testing.B) {
	m := telemetry.NewMetrics(telemetry.Build{})
	b.ReportAllocs()
	for b.Loop() {
		m.Route("GET", "/api/v1/users/{id}").Observe(200, time.Millisecond)
	}
}

func BenchmarkSinkAppend(b *testing.B) {
	sink := telemetry.NewSink(io.Discard)
	line := bytes.Repeat([]byte("x"), 300)
	b.ReportAllocs()
	for b.Loop() {
		sink.Append(line)
	}
}

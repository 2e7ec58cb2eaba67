package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

func (e *edge) limits(address, caller string, refused func(context.Context, string)) *middleware.RateLimits {
	var cfg middleware.RateLimitConfig
	for text, rate := range map[string]*ratelimit.Rate{address: &cfg.Address, caller: &cfg.Caller} {
		if err := rate.UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
	}
	return middleware.NewRateLimits(cfg, middleware.RateLimitDeps{
		Limiter: ratelimit.NewMemory(e.clock), Problems: e.problems, Metrics: e.metrics, Log: e.log, Refused: refused,
	})
}

func TestRL01_LimitByAddress(t *testing.T) {
	t.Parallel()
	e := newEdge()
	var noted []string
	limits := e.limits("2/1m", "1200/1m", func(ctx context.Context, policy string) {
		noted = append(noted, policy+" "+middleware.RecordFrom(ctx).ClientIP.String())
	})
	h := e.chain(ok, middleware.ClientIP(nil), limits.ByAddress)
	from := func(remote string) *httptest.ResponseRecorder {
		r := get("/")
		r.RemoteAddr = remote
		return serve(h, r)
	}
	first := from("[2001:db8::1]:1")
	require.Equal(t, 200, first.Code)
	require.Equal(t, `"address";q=2;w=60`, first.Header().Get("RateLimit-Policy"))
	require.Equal(t, `"address";r=1;t=30`, first.Header().Get("RateLimit"))
	require.Equal(t, 200, from("[2001:db8::2]:1").Code)
	for range 5 {
		rw := from("[2001:db8::3]:1") // the same /64
		require.Equal(t, 429, rw.Code)
		require.Equal(t, "rate_limited", code(t, rw))
		require.Equal(t, "30", rw.Header().Get("Retry-After"))
		require.Equal(t, `"address";r=0;t=60`, rw.Header().Get("RateLimit"))
		var doc map[string]any
		require.NoError(t, json.Unmarshal(rw.Body.Bytes(), &doc))
		require.Equal(t, "address", doc["policy"])
	}
	require.Equal(t, []string{"address 2001:db8::3"}, noted, "the first refusal of each window is told")
	require.Equal(t, 200, from("[2001:db8:0:1::1]:1").Code, "another /64")
	require.InDelta(t, 5, testutil.ToFloat64(e.metrics.RateLimited.WithLabelValues("address")), 0)

	e.clock.Advance(30 * time.Second)
	require.Equal(t, 200, from("[2001:db8::1]:1").Code, "Retry-After is true")
	e.clock.Advance(time.Minute)
	for range 4 {
		from("[2001:db8::9]:1")
	}
	require.Equal(t, []string{"address 2001:db8::3", "address 2001:db8::9"}, noted)
}

func TestLimitByCaller(t *testing.T) {
	t.Parallel()
	e := newEdge()
	limits := e.limits("600/1m", "2/1m", nil)
	var override *ratelimit.Rate
	h := e.chain(func(w http.ResponseWriter, r *http.Request) {
		if err := limits.Caller(w, r, r.URL.Query().Get("key"), override); err != nil {
			e.problems.Write(w, r, err)
		}
	}, middleware.ClientIP(nil), limits.ByAddress)
	rw := serve(h, get("/?key=a"))
	require.Equal(t, `"address";q=600;w=60, "caller";q=2;w=60`, rw.Header().Get("RateLimit-Policy"))
	require.Equal(t, `"address";r=599;t=1, "caller";r=1;t=30`, rw.Header().Get("RateLimit"))
	require.Len(t, rw.Header()["Ratelimit"], 1)
	serve(h, get("/?key=a"))
	require.Equal(t, 429, serve(h, get("/?key=a")).Code)
	require.Equal(t, 200, serve(h, get("/?key=b")).Code)
	override = &ratelimit.Rate{Limit: 1, Window: time.Hour}
	require.Equal(t, 200, serve(h, get("/?key=b")).Code)
	require.Equal(t, 429, serve(h, get("/?key=b")).Code)
}

func TestLimitsOff(t *testing.T) {
	t.Parallel()
	e := newEdge()
	limits := e.limits("off", "1/1m", nil)
	h := e.chain(ok, middleware.ClientIP(nil), limits.ByAddress)
	require.Empty(t, serve(h, get("/")).Header().Get("RateLimit"))

	off := middleware.NewRateLimits(middleware.RateLimitConfig{}, middleware.RateLimitDeps{
		Limiter: ratelimit.NewMemory(e.clock), Problems: e.problems, Metrics: e.metrics, Log: e.log,
	})
	rw := httptest.NewRecorder()
	for range 3 {
		require.NoError(t, off.Caller(rw, get("/"), "a", nil))
	}
	require.NoError(t, off.Caller(rw, get("/"), "a", &ratelimit.Rate{Limit: 1, Window: time.Minute}))
	require.ErrorIs(t, off.Caller(rw, get("/"), "a", &ratelimit.Rate{Limit: 1, Window: time.Minute}),
		middleware.ErrRateLimited, "a key's own limit always holds")
}

type broken struct{}

func (broken) Allow(context.Context, string, ratelimit.Rate, string, int) (ratelimit.Result, error) {
	return ratelimit.Result{}, errors.New("connection refused")
}

func TestLimitsFailOpen(t *testing.T) {
	t.Parallel()
	e := newEdge()
	limits := middleware.NewRateLimits(middleware.RateLimitConfig{Address: ratelimit.Rate{Limit: 1, Window: time.Minute}},
		middleware.RateLimitDeps{Limiter: broken{}, Problems: e.problems, Metrics: e.metrics, Log: e.log})
	h := e.chain(ok, middleware.ClientIP(nil), limits.ByAddress)
	for range 50 {
		require.Equal(t, 200, serve(h, get("/")).Code)
	}
	require.InDelta(t, 50, testutil.ToFloat64(e.metrics.RateLimitErrors), 0)
	require.Less(t, len(e.lines(t)), 10, "no log flood")
}

// BenchmarkEdge is the price of the whole edge for one small request, without a network.
func BenchmarkEdge(b *testing.B) {
	e := newEdge()
	sink := telemetry.NewSink(io.Discard)
	log := slog.New(slog.DiscardHandler)
	limits := middleware.NewRateLimits(
		middleware.RateLimitConfig{Address: ratelimit.Rate{Limit: 1_000_000, Window: time.Second}},
		middleware.RateLimitDeps{Limiter: ratelimit.NewMemory(clock.System{}), Problems: e.problems, Metrics: e.metrics, Log: log},
	)
	limits429 := limits.ByAddress
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		middleware.RecordFrom(r.Context()).Route = "/api/v1/users/me"
		w.WriteHeader(http.StatusOK)
	})
	chain := []func(http.Handler) http.Handler{
		middleware.RequestID(clock.System{}),
		middleware.AccessLog(middleware.AccessLogConfig{Clock: clock.System{}, Metrics: e.metrics, Log: log, Sink: sink}),
		middleware.Recover(log, e.problems, e.metrics.Panics),
		middleware.SecureHeaders(true),
		middleware.ClientIP(nil),
		middleware.Host(nil, "example.com", e.problems),
		middleware.CORS(middleware.Origins{"https://app.example.com"}, false),
		middleware.Shed(512, e.problems, e.metrics.Shed.WithLabelValues("api")),
		limits429,
	}
	for i := len(chain) - 1; i >= 0; i-- {
		h = chain[i](h)
	}
	r := get("/api/v1/users/me")
	r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 600))
	w := &discard{h: http.Header{}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		clear(w.h)
		r.RemoteAddr = addresses[i%len(addresses)]
		h.ServeHTTP(w, r)
	}
}

var addresses = []string{"192.0.2.1:1000", "192.0.2.2:1000", "[2001:db8::1]:1000"}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

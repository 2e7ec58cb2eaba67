package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
)

// requests returns the counter of a GET route's answers.
func requests(t *testing.T, e *edge, route, status string) prometheus.Collector {
	t.Helper()
	families, err := e.metrics.Registry.Gather()
	require.NoError(t, err)
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "found"})
	for _, family := range families {
		if family.GetName() != "ums_http_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["route"] == route && labels["status"] == status && labels["method"] == "GET" {
				gauge.Set(m.GetCounter().GetValue())
			}
		}
	}
	return gauge
}

func TestConfig(t *testing.T) {
	t.Parallel()
	var cfg middleware.Config
	require.NoError(t, env.ParseWithOptions(&cfg, env.Options{Environment: map[string]string{
		"UMS_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7,fd00::/8",
		"UMS_CORS_ORIGINS":    "https://app.example.com, http://localhost:5173",
		"UMS_ALLOWED_HOSTS":   "ID.example.com, [::1]",
	}}))
	require.Equal(t, middleware.Prefixes{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8"),
	}, cfg.TrustedProxies)
	require.Equal(t, middleware.Origins{"https://app.example.com", "http://localhost:5173"}, cfg.CORSOrigins)
	require.Equal(t, middleware.Hosts{"id.example.com", "::1"}, cfg.AllowedHosts)
	require.Equal(t, "600/1m0s", cfg.RateLimit.Address.String())
	require.Equal(t, "1200/1m0s", cfg.RateLimit.Caller.String())
}

func TestConfigRefusals(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"10.0.0.0/33", "example.com", "10.0.0", "::ffff:10.0.0.0/104", "fe80::1%eth0", "*"} {
		require.Error(t, new(middleware.Prefixes).UnmarshalText([]byte(text)), text)
	}
	for _, text := range []string{
		"*", "null", "https://*.example.com", "app.example.com", "https://a.example/", "https://a.example/x", "https://u@a.example",
		"ftp://a.example", "https://A.example", "https://", "https://a.example?x", "https://a.example#x",
	} {
		require.Error(t, new(middleware.Origins).UnmarshalText([]byte(text)), text)
	}
	for _, text := range []string{"*", "https://a.example", "a.example:8080", "a.example/x", "*.example.com", "u@a.example"} {
		require.Error(t, new(middleware.Hosts).UnmarshalText([]byte(text)), text)
	}
}

func TestRL02_ClientAddressComesFromTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	trusted := middleware.Prefixes{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fe80::/10")}
	const spoof = "203.0.113.99"
	fifty := strings.TrimSuffix(strings.Repeat(spoof+", ", 50), ", ")
	for name, c := range map[string]struct {
		trusted middleware.Prefixes
		peer    string
		xff     []string
		want    string
	}{
		"direct":                      {nil, "192.0.2.1:1234", nil, "192.0.2.1"},
		"direct, forged":              {nil, "192.0.2.1:1234", []string{spoof}, "192.0.2.1"},
		"direct, mapped":              {nil, "[::ffff:192.0.2.1]:1234", nil, "192.0.2.1"},
		"direct, zone":                {nil, "[fe80::1%eth0]:1234", nil, "fe80::1"},
		"direct, no address":          {nil, "@", nil, "0.0.0.0"},
		"direct, empty":               {nil, "", nil, "0.0.0.0"},
		"untrusted peer":              {trusted, "192.0.2.1:1234", []string{spoof}, "192.0.2.1"},
		"absent":                      {trusted, "10.0.0.1:1234", nil, "10.0.0.1"},
		"empty":                       {trusted, "10.0.0.1:1234", []string{""}, "10.0.0.1"},
		"one hop":                     {trusted, "10.0.0.1:1234", []string{"198.51.100.7"}, "198.51.100.7"},
		"forged left of the real one": {trusted, "10.0.0.1:1234", []string{spoof + ", 198.51.100.7"}, "198.51.100.7"},
		"two proxies":                 {trusted, "10.0.0.1:1234", []string{spoof + ", 198.51.100.7, 10.2.3.4"}, "198.51.100.7"},
		"two headers":                 {trusted, "10.0.0.1:1234", []string{spoof, "198.51.100.7"}, "198.51.100.7"},
		"fifty values":                {trusted, "10.0.0.1:1234", []string{fifty + ", 198.51.100.7"}, "198.51.100.7"},
		"garbage left":                {trusted, "10.0.0.1:1234", []string{"a, 198.51.100.7"}, "198.51.100.7"},
		"garbage":                     {trusted, "10.0.0.1:1234", []string{"a"}, "10.0.0.1"},
		"garbage right":               {trusted, "10.0.0.1:1234", []string{"198.51.100.7, a"}, "10.0.0.1"},
		"with a port":                 {trusted, "10.0.0.1:1234", []string{"198.51.100.7:80"}, "10.0.0.1"},
		"proxies only":                {trusted, "10.0.0.1:1234", []string{"10.9.9.9"}, "10.0.0.1"},
		"mapped":                      {trusted, "[::ffff:10.0.0.1]:1234", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		"zone":                        {trusted, "[fe80::1%eth0]:1234", []string{"2001:db8::1%x"}, "2001:db8::1"},
		"mapped proxy is no client":   {trusted, "10.0.0.1:1234", []string{"198.51.100.7, ::ffff:10.1.1.1"}, "198.51.100.7"},
		"no address":                  {trusted, "@", []string{spoof}, "0.0.0.0"},
	} {
		e := newEdge()
		var got netip.Addr
		h := e.chain(func(_ http.ResponseWriter, r *http.Request) { got = middleware.RecordFrom(r.Context()).ClientIP },
			middleware.ClientIP(c.trusted))
		r := get("/")
		r.RemoteAddr = c.peer
		r.Header["X-Forwarded-For"] = c.xff
		for _, header := range []string{"X-Real-IP", "True-Client-IP", "Forwarded", "X-Client-IP", "CF-Connecting-IP"} {
			r.Header.Set(header, spoof)
		}
		serve(h, r)
		require.Equal(t, c.want, got.String(), name)
	}
}

func TestSecureHeaders(t *testing.T) {
	t.Parallel()
	e := newEdge()
	h := e.chain(ok, middleware.SecureHeaders(true))
	got := serve(h, get("/")).Header()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Cache-Control": "no-store",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		"Strict-Transport-Security": "max-age=31536000; includeSubDomains", "Server": "",
	} {
		require.Equal(t, want, got.Get(name), name)
	}
	plain := e.chain(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Referrer-Policy", "second")
		w.Header().Set("Cache-Control", "public")
	}, middleware.SecureHeaders(false))
	require.Empty(t, serve(plain, get("/")).Header().Get("Strict-Transport-Security"))
	again := serve(plain, get("/")).Header()
	require.Equal(t, []string{"no-referrer", "second"}, again["Referrer-Policy"], "one answer does not change another's")
}

func TestHost(t *testing.T) {
	t.Parallel()
	e := newEdge()
	byDefault := e.chain(ok, middleware.Host(nil, "id.example.com:8443", e.problems))
	listed := e.chain(ok, middleware.Host(middleware.Hosts{"a.example", "192.0.2.7"}, "id.example.com", e.problems))
	for host, allowed := range map[string][2]bool{ // by default, listed
		"id.example.com": {true, false}, "ID.Example.COM:1": {true, false}, "id.example.com.": {true, false},
		"localhost": {true, false}, "localhost:8080": {true, false}, "127.0.0.1:8080": {true, false}, "127.8.9.1": {true, false},
		"[::1]:8080": {true, false}, "[::ffff:127.0.0.1]": {true, false},
		"a.example": {false, true}, "a.example:80": {false, true}, "192.0.2.7:80": {false, true},
		"": {}, "evil.example": {}, "id.example.com.evil.example": {}, "localhost.evil.example": {}, "127.0.0.1.evil.example": {},
		"10.0.0.1": {}, "[::1": {}, "[::1]x": {}, "[::1%25eth0]": {}, "id.example.com:80:80": {}, "id.example.com:x": {}, ":8080": {},
		"id.example.com@evil.example": {}, "0.0.0.0": {}, "id.example.com:123456": {}, "a.example, id.example.com": {},
	} {
		for i, h := range []http.Handler{byDefault, listed} {
			r := get("/x")
			r.Host = host
			rw := serve(h, r)
			if allowed[i] {
				require.Equal(t, 200, rw.Code, host)
				continue
			}
			require.Equal(t, 421, rw.Code, host)
			require.Equal(t, "misdirected_request", code(t, rw))
		}
		for _, probe := range []string{"/livez", "/readyz"} {
			r := get(probe)
			r.Host = host
			require.Equal(t, 200, serve(listed, r).Code, "probes use any Host: "+host)
		}
	}
}

func TestAbsoluteFormNamesTheHost(t *testing.T) {
	t.Parallel()
	e := newEdge()
	server := httptest.NewServer(e.chain(ok, middleware.Host(middleware.Hosts{"a.example"}, "", e.problems)))
	defer server.Close()
	send := func(target, host string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		r.URL.Opaque, r.Host = target, host
		answer, err := server.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode
	}
	require.Equal(t, 200, send("//a.example/x", "a.example"))
	require.Equal(t, 421, send("http://evil.example/x", "a.example"))
	require.Equal(t, 200, send("http://a.example/x", "evil.example"), "RFC 9112: the Host field is ignored")
}

func TestHTTP07_TraceAndConnectAre405(t *testing.T) {
	t.Parallel()
	e := newEdge()
	h := e.chain(ok, middleware.Host(nil, "example.com", e.problems))
	for _, method := range []string{http.MethodTrace, http.MethodConnect} {
		rw := serve(h, httptest.NewRequest(method, "/", nil))
		require.Equal(t, 405, rw.Code)
		require.Equal(t, "method_not_allowed", code(t, rw))
		require.Contains(t, rw.Header().Get("Allow"), "GET")
	}
}

func TestNonCanonicalPathsAre404(t *testing.T) {
	t.Parallel()
	e := newEdge()
	var seen string
	h := e.chain(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.Path },
		middleware.Host(nil, "example.com", e.problems))
	request := func(target string) *http.Request {
		r := get("/")
		var err error
		r.URL, err = url.ParseRequestURI(target)
		require.NoError(t, err)
		return r
	}
	for target, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "/a/users:read": "/a/users:read", "/a/users%3Aread": "/a/users:read", "/a/x.y": "/a/x.y",
		"/a/*": "/a/*", "/a/%C3%A9": "/a/é", "/.well-known/jwks.json": "/.well-known/jwks.json", "/a/...": "/a/...",
		"/a/%252e%252e": "/a/%2e%2e", "/a%20b": "/a b",
	} {
		rw := serve(h, request(target))
		require.Equal(t, 200, rw.Code, target)
		require.Equal(t, want, seen, target)
	}
	for _, target := range []string{
		"//", "//a", "/a//b", "/a/", "/a/./b", "/a/../b", "/a/..", "/a/.", "/..", "/%2e%2e/a", "/a/%2E/b", "/a/.%2e", "/a%2fb",
		"/a%2Fb", "/%2f", "/a%5cb", "/a%00", "/a%0d%0a", "/a%7f", "/a%ff", "/a%c0%af", "/a%3A%2fb",
	} {
		rw := serve(h, request(target))
		require.Equal(t, 404, rw.Code, target)
		require.Equal(t, "not_found", code(t, rw))
	}
	for _, path := range []string{"", "*", "a", `/a\b`} {
		r := get("/")
		r.URL.Path = path
		require.Equal(t, 404, serve(h, r).Code, path)
	}
}

func FuzzPathsHaveOneReading(f *testing.F) {
	e := newEdge()
	var passed bool
	h := e.chain(func(http.ResponseWriter, *http.Request) { passed = true }, middleware.Host(nil, "example.com", e.problems))
	f.Add("/a/%2e%2e/b", "example.com")
	f.Add("/a//b", "[::1]:80")
	f.Fuzz(func(t *testing.T, target, host string) {
		u, err := url.ParseRequestURI("/" + target)
		if err != nil {
			return // net/http would not have parsed it either
		}
		passed = false
		r := get("/")
		r.URL, r.Host = u, host
		serve(h, r)
		if passed && u.Path != "/" {
			for s := range strings.SplitSeq(u.Path[1:], "/") {
				require.NotContains(t, []string{"", ".", ".."}, s)
			}
			require.NotContains(t, u.Path, `\`)
			require.NotContains(t, u.Path, "\x00")
		}
	})
}

func TestCORS(t *testing.T) {
	t.Parallel()
	e := newEdge()
	origins := middleware.Origins{"https://app.example.com"}
	production := e.chain(ok, middleware.CORS(origins, false))
	development := e.chain(ok, middleware.CORS(nil, true))
	off := e.chain(ok, middleware.CORS(nil, false))
	for origin, allowed := range map[string][2]bool{ // production, development
		"https://app.example.com": {true, false}, "https://app.example.com:444": {}, "http://app.example.com": {},
		"https://app.example.com.evil.example": {}, "null": {}, "https://APP.example.com": {}, "": {},
		"http://localhost:5173": {false, true}, "https://localhost": {false, true}, "http://127.0.0.1:3000": {false, true},
		"http://[::1]:3000": {false, true}, "http://localhost.evil.example": {}, "http://localhost/x": {}, "file://localhost": {},
		"http://u@localhost": {}, "http://10.0.0.1": {},
	} {
		for i, h := range []http.Handler{production, development} {
			r := get("/")
			r.Header.Set("Origin", origin)
			rw := serve(h, r)
			require.Equal(t, 200, rw.Code)
			require.Equal(t, "Origin", rw.Header().Get("Vary"), "a cache must not mix origins")

			preflight := httptest.NewRequest(http.MethodOptions, "/", nil)
			preflight.Header.Set("Origin", origin)
			preflight.Header.Set("Access-Control-Request-Method", "PATCH")
			pre := serve(h, preflight)
			want, yes := "", ""
			if allowed[i] {
				want, yes = origin, "true"
				require.Contains(t, rw.Header().Get("Access-Control-Expose-Headers"), "RateLimit-Policy")
				require.Contains(t, pre.Header().Get("Access-Control-Allow-Methods"), "PATCH")
				require.Contains(t, pre.Header().Get("Access-Control-Allow-Headers"), "Idempotency-Key")
				require.NotEmpty(t, pre.Header().Get("Access-Control-Max-Age"))
			}
			for _, answer := range []*httptest.ResponseRecorder{rw, pre} {
				require.Equal(t, want, answer.Header().Get("Access-Control-Allow-Origin"), origin)
				require.Equal(t, yes, answer.Header().Get("Access-Control-Allow-Credentials"), origin)
			}
			if origin != "" {
				require.Equal(t, 204, pre.Code)
				require.Empty(t, pre.Body.String())
			}
		}
	}
	r := get("/")
	r.Header.Set("Origin", "https://app.example.com")
	require.Empty(t, serve(off, r).Header()["Vary"])

	two := get("/")
	two.Header["Origin"] = []string{"https://app.example.com", "https://evil.example"}
	require.Empty(t, serve(production, two).Header().Get("Access-Control-Allow-Origin"))
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	origins := middleware.Origins{"https://app.example.com"}
	production, err := middleware.CrossOrigin(origins, false)
	require.NoError(t, err)
	development, err := middleware.CrossOrigin(origins, true)
	require.NoError(t, err)
	for _, c := range []struct {
		origin, site string
		allowed      [2]bool // production, development
	}{
		{"", "", [2]bool{true, true}},
		{"", "none", [2]bool{true, true}},
		{"", "same-origin", [2]bool{true, true}},
		{"https://app.example.com", "cross-site", [2]bool{true, true}},
		{"https://app.example.com", "", [2]bool{true, true}},
		{"http://localhost:5173", "same-site", [2]bool{false, true}},
		{"http://127.0.0.1:3000", "", [2]bool{false, true}},
		{"http://localhost.evil.example", "cross-site", [2]bool{}},
		{"https://evil.example", "cross-site", [2]bool{}},
		{"https://evil.example", "", [2]bool{}},
		{"null", "cross-site", [2]bool{}},
		{"null", "", [2]bool{}},
		{"", "cross-site", [2]bool{}},
		{"", "same-site", [2]bool{}},
	} {
		r := httptest.NewRequest(http.MethodPost, "https://id.example.com/", nil)
		for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		got := [2]bool{production(r) == nil, development(r) == nil}
		require.Equal(t, c.allowed, got, "%q %q", c.origin, c.site)
	}
	_, err = middleware.CrossOrigin(middleware.Origins{"nonsense"}, false)
	require.Error(t, err)
}

func TestCORSHeadersAreOnErrorsToo(t *testing.T) {
	t.Parallel()
	e := newEdge()
	h := e.chain(func(http.ResponseWriter, *http.Request) { panic("x") },
		middleware.Recover(e.log, e.problems, e.metrics.Panics), middleware.CORS(middleware.Origins{"https://a.example"}, false))
	r := get("/")
	r.Header.Set("Origin", "https://a.example")
	rw := serve(h, r)
	require.Equal(t, 500, rw.Code)
	require.Equal(t, "https://a.example", rw.Header().Get("Access-Control-Allow-Origin"))
}

func TestShed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		e := newEdge()
		entered, release := make(chan struct{}), make(chan struct{})
		h := e.chain(func(http.ResponseWriter, *http.Request) {
			entered <- struct{}{}
			<-release
		}, middleware.Shed(int64(limit), e.problems, e.metrics.Shed.WithLabelValues("api")))
		done := make(chan int, limit)
		for range limit {
			go func() { done <- serve(h, get("/")).Code }()
			<-entered
		}
		for range 3 {
			rw := serve(h, get("/"))
			require.Equal(t, 503, rw.Code)
			require.Equal(t, "overloaded", code(t, rw))
			require.Equal(t, "1", rw.Header().Get("Retry-After"))
		}
		require.InDelta(t, 3, testutil.ToFloat64(e.metrics.Shed.WithLabelValues("api")), 0)
		close(release)
		for range limit {
			require.Equal(t, 200, <-done)
		}
		go func() { done <- serve(h, get("/")).Code }()
		<-entered
		require.Equal(t, 200, <-done, "room is given back, by the refused as well")
	})
}

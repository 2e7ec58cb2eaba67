package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/app/apptest"
)

// sink is a response that keeps its status.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkVerifyKey is the hottest path of the product without the network: the verification of a warm key by a program
// with a key of its own, with and without the counting of uses, and what a bare router with a JSON handler takes.
func BenchmarkVerifyKey(b *testing.B) {
	serve := func(b *testing.B, h http.Handler, credential string, body []byte) {
		b.Helper()
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://localhost:8080/api/v1/api-keys/verify", http.NoBody)
		require.NoError(b, err)
		r.RemoteAddr = "127.0.0.1:4711"
		r.RequestURI = "/api/v1/api-keys/verify"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+credential)
		r.ContentLength = int64(len(body))
		b.ReportAllocs()
		before := spent(b)
		for b.Loop() {
			one := *r
			one.Body = io.NopCloser(bytes.NewReader(body))
			w := &sink{header: http.Header{}}
			h.ServeHTTP(w, &one)
			if w.status != http.StatusOK {
				b.Fatalf("status %d", w.status)
			}
		}
		b.ReportMetric(float64(spent(b)-before)/float64(b.N), "cpu-ns/op")
	}
	start := func(b *testing.B) (s *apptest.Service, credential string, body []byte) {
		b.Helper()
		s = apptest.Start(b, apptest.Env("UMS_LOG_LEVEL=warn"))
		root := s.Admin(b)
		key := func(scope string) string {
			return root.POST(b, "/api-keys", map[string]any{
				"name": "k", "scopes": []string{scope}, "environment": "live",
			}).Want(b, 201).String(b, "key")
		}
		body, err := json.Marshal(map[string]any{"key": key("users:read"), "permissions": []string{"users:read"}})
		require.NoError(b, err)
		return s, key("api_keys:verify"), body
	}
	b.Run("counted", func(b *testing.B) {
		s, credential, body := start(b)
		serve(b, s.App.Handler(), credential, body)
	})
	b.Run("uncounted", func(b *testing.B) {
		s, credential, body := start(b)
		s.App.WithoutUsage()
		serve(b, s.App.Handler(), credential, body)
	})
	b.Run("bare router", func(b *testing.B) {
		serve(b, bare(), "", []byte(`{"key":"`+string(bytes.Repeat([]byte("k"), 88))+`","permissions":["users:read"]}`))
	})
}

// spent is the processor time of this process: what else runs on the machine changes it less than the time of the clock.
func spent(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}

// bare is a router with a handler that decodes and encodes JSON, and nothing else.
func bare() http.Handler {
	r := chi.NewRouter()
	r.Post("/api/v1/api-keys/verify", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Key         string   `json:"key"`
			Permissions []string `json:"permissions"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = json.NewEncoder(w).Encode(map[string]any{"valid": true, "code": "valid", "key_id": in.Key[:10], "scopes": in.Permissions})
	})
	return r
}

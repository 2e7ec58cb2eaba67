package problem_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// contract is the list of codes that clients rely on, as the API's documentation has it.
const contract = `
400 malformed_request multiple_credentials invalid_cursor invalid_token
401 unauthenticated invalid_access_token invalid_api_key invalid_refresh_token invalid_credentials invalid_code invalid_mfa_token
403 permission_denied privilege_escalation session_required reauthentication_required mfa_required mfa_enrollment_required email_unverified account_suspended registration_closed ip_denied
404 not_found
405 method_not_allowed
409 email_taken already_exists role_in_use permission_in_use system_role last_admin last_credential rotation_in_progress idempotency_in_progress
412 precondition_failed
413 payload_too_large
415 unsupported_media_type
421 misdirected_request
422 validation_failed role_cycle idempotency_key_reused unsupported_filter
429 rate_limited
500 internal_error
503 unavailable overloaded outcome_unknown`

var errDatabase = errors.New("dial tcp 10.0.0.5:5432: connection refused")

type fixture struct {
	writer *problem.Writer
	log    *bytes.Buffer
	codes  []string
}

func newFixture() *fixture {
	f := &fixture{log: &bytes.Buffer{}}
	f.writer = problem.New(problem.Config{
		PublicURL: "https://id.example.test",
		Log:       slog.New(slog.NewJSONHandler(f.log, nil)),
		Note: func(_ context.Context, code string) string {
			f.codes = append(f.codes, code)
			return "req-12345678"
		},
		Unavailable: func(err error) *fault.Error {
			if errors.Is(err, errDatabase) {
				return fault.New(fault.Unavailable, "unavailable", "The database is away.").WithRetryAfter(1500 * time.Millisecond)
			}
			return nil
		},
	})
	return f
}

func (f *fixture) write(err error) (*httptest.ResponseRecorder, map[string]any) {
	rw := httptest.NewRecorder()
	rw.Header().Set("ETag", `"7"`)
	f.writer.Write(rw, httptest.NewRequest(http.MethodGet, "/x", nil), err)
	var doc map[string]any
	if err := json.Unmarshal(rw.Body.Bytes(), &doc); err != nil {
		panic(err)
	}
	return rw, doc
}

func TestCatalogueIsTheContract(t *testing.T) {
	t.Parallel()
	want := map[string]int{}
	for line := range strings.Lines(strings.TrimSpace(contract)) {
		words := strings.Fields(line)
		for _, code := range words[1:] {
			var status int
			_, err := fmt.Sscan(words[0], &status)
			require.NoError(t, err)
			want[code] = status
		}
	}
	got := map[string]int{}
	for _, e := range problem.Catalogue() {
		require.NotContains(t, got, e.Code, "one entry a code")
		got[e.Code] = e.Status
		require.NotEmpty(t, e.Title, e.Code)
		require.NotEmpty(t, e.Meaning, e.Code)
		require.NotEmpty(t, e.Action, e.Code)
	}
	require.Equal(t, want, got)
}

func TestHTTP05_FaultIsAnsweredAsDeclared(t *testing.T) {
	t.Parallel()
	f := newFixture()
	err := fault.New(fault.Forbidden, "permission_denied", "You need <users:read>.").
		With("required", "users:read").With("status", 200).Because(errors.New("secret cause"))
	rw, doc := f.write(fmt.Errorf("list users: %w", err))
	require.Equal(t, http.StatusForbidden, rw.Code)
	require.Equal(t, problem.ContentType, rw.Header().Get("Content-Type"))
	require.Equal(t, "no-store", rw.Header().Get("Cache-Control"))
	require.Empty(t, rw.Header().Get("ETag"), "headers of the answer that did not come are gone")
	require.Equal(t, map[string]any{
		"type": "https://id.example.test/problems/permission_denied", "title": "Permission denied", "status": 403.0,
		"detail": "You need <users:read>.", "code": "permission_denied", "request_id": "req-12345678", "required": "users:read",
	}, doc)
	require.Contains(t, rw.Body.String(), "<users:read>")
	require.Empty(t, f.log.String(), "an expected refusal is no log line")
	require.Equal(t, []string{"permission_denied"}, f.codes)
}

func TestHTTP05_AnythingElseIsGenericAndLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"plain":         errors.New(`pq: relation "users" does not exist at 10.0.0.5`),
		"internal":      fault.New(fault.Internal, "table_missing", "relation users is missing"),
		"bad member":    fault.New(fault.Internal, "x", "y").With("f", func() {}),
		"wrapped fault": fmt.Errorf("z: %w", fault.New(fault.Internal, "x", "y")),
	} {
		f := newFixture()
		rw, doc := f.write(err)
		require.Equal(t, 500, rw.Code, name)
		require.Equal(t, "internal_error", doc["code"], name)
		for _, leak := range []string{"users", "10.0.0.5", "table"} {
			require.NotContains(t, rw.Body.String(), leak, name)
		}
		require.Equal(t, 1, strings.Count(f.log.String(), "\n"), name)
		require.Contains(t, f.log.String(), "req-12345678", name)
	}
}

func TestUnencodableMemberIsDropped(t *testing.T) {
	t.Parallel()
	f := newFixture()
	rw, doc := f.write(fault.New(fault.Conflict, "already_exists", "Exists.").With("f", func() {}))
	require.Equal(t, 409, rw.Code)
	require.Equal(t, "already_exists", doc["code"])
	require.Contains(t, f.log.String(), "encode problem")
}

func TestFieldErrors(t *testing.T) {
	t.Parallel()
	_, doc := newFixture().write(fault.InvalidField("/email", "required", "Give an address."))
	require.Equal(t, []any{map[string]any{"pointer": "/email", "code": "required", "detail": "Give an address."}}, doc["errors"])
}

func TestKnownErrorsOfOthers(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
		retry  string
	}{
		"body too large": {fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 1}), 413, "payload_too_large", ""},
		"database away":  {fmt.Errorf("select: %w", errDatabase), 503, "unavailable", "2"},
		"deadline":       {fmt.Errorf("select: %w", context.DeadlineExceeded), 503, "unavailable", "1"},
		"client gone":    {canceled.Err(), 503, "unavailable", "1"},
		"limited":        {fault.New(fault.Limited, "rate_limited", "Slow down.").WithRetryAfter(time.Millisecond), 429, "rate_limited", "1"},
		"limited, mute":  {fault.New(fault.Limited, "rate_limited", "Slow down."), 429, "rate_limited", "1"},
		"exactly 3 s":    {fault.New(fault.Limited, "rate_limited", "Slow down.").WithRetryAfter(3 * time.Second), 429, "rate_limited", "3"},
		"in flight":      {fault.New(fault.Conflict, "idempotency_in_progress", "Wait.").WithRetryAfter(time.Second), 409, "idempotency_in_progress", "1"},
		"conflict":       {fault.New(fault.Conflict, "email_taken", "Taken."), 409, "email_taken", ""},
	} {
		rw, doc := newFixture().write(c.err)
		require.Equal(t, c.status, rw.Code, name)
		require.Equal(t, c.code, doc["code"], name)
		require.Equal(t, c.retry, rw.Header().Get("Retry-After"), name)
	}
}

func TestUnavailabilityIsNoLogFlood(t *testing.T) {
	t.Parallel()
	f := newFixture()
	began := time.Now()
	for range 100 {
		f.write(errDatabase)
	}
	require.LessOrEqual(t, strings.Count(f.log.String(), "\n"), 2+int(time.Since(began)/time.Second))
	require.Contains(t, f.log.String(), "connection refused")
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"unauthenticated": "Bearer", "invalid_access_token": `Bearer error="invalid_token"`,
		"invalid_api_key": `Bearer error="invalid_token"`, "invalid_credentials": "Bearer",
	} {
		rw, _ := newFixture().write(fault.New(fault.Unauthenticated, code, "No."))
		require.Equal(t, want, rw.Header().Get("WWW-Authenticate"), code)
	}
	rw, _ := newFixture().write(fault.ErrNotFound)
	require.Empty(t, rw.Header().Get("WWW-Authenticate"))
}

func TestDocumentIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	d := newFixture().writer.Resolve(t.Context(), fault.New(fault.Limited, "rate_limited", "Slow down."))
	require.EqualError(t, d, "rate_limited: Slow down.")
	require.Equal(t, 429, d.GetStatus())
	require.Equal(t, problem.ContentType, d.ContentType("application/json"))
	require.Equal(t, http.Header{"Cache-Control": {"no-store"}, "Retry-After": {"1"}}, d.GetHeaders())
}

func TestReference(t *testing.T) {
	t.Parallel()
	h := newFixture().writer.Reference()
	get := func(path, accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Accept", accept)
		rw := httptest.NewRecorder()
		h.ServeHTTP(rw, r)
		return rw
	}
	for _, e := range problem.Catalogue() {
		rw := get("/problems/"+e.Code, "application/json")
		require.Equal(t, 200, rw.Code)
		var got problem.Entry
		require.NoError(t, json.Unmarshal(rw.Body.Bytes(), &got))
		got.Kind = e.Kind
		require.Equal(t, e, got)

		html := get("/problems/"+e.Code, "text/html,application/xhtml+xml,application/json;q=0.9")
		require.Equal(t, "text/html; charset=utf-8", html.Header().Get("Content-Type"))
		require.Contains(t, html.Body.String(), e.Title)
		require.Contains(t, html.Header().Get("Content-Security-Policy"), "style-src 'sha256-")
	}
	rw := get("/problems/%3Cscript%3E", "")
	require.Equal(t, 404, rw.Code)
	require.NotContains(t, rw.Body.String(), "script")
}

package verify

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Refusal is why a credential is not accepted, in the words of the service's own answers.
type Refusal struct {
	Status     int
	Code       string // stable, for programs
	Detail     string // for people
	RetryAfter time.Duration
}

// Error returns the code and the detail.
func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

var (
	errNobody = &Refusal{
		Status: http.StatusUnauthorized, Code: "unauthenticated",
		Detail: "Send an access token or an API key: Authorization: Bearer …, or X-API-Key.",
	}
	errSeveral = &Refusal{
		Status: http.StatusBadRequest, Code: "multiple_credentials", Detail: "The request carries more than one credential; send exactly one.",
	}
	errToken      = &Refusal{Status: http.StatusUnauthorized, Code: "invalid_access_token", Detail: "The access token is not valid here, or no longer."}
	errKey        = &Refusal{Status: http.StatusUnauthorized, Code: "invalid_api_key", Detail: "The API key is not valid here, or no longer."}
	errPermission = &Refusal{Status: http.StatusForbidden, Code: "permission_denied", Detail: "You may not do this."}
	errSession    = &Refusal{Status: http.StatusForbidden, Code: "session_required", Detail: "This takes a person's access token; an API key does not do."}
	errAddress    = &Refusal{Status: http.StatusForbidden, Code: "ip_denied", Detail: "The API key may not be used from this address."}
	errLimited    = &Refusal{Status: http.StatusTooManyRequests, Code: "rate_limited", Detail: "The API key's limit is used up.", RetryAfter: time.Second}
	// errUnavailable is no fault of whoever calls.
	errUnavailable = &Refusal{
		Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "Credentials cannot be verified at the moment.", RetryAfter: time.Second,
	}
)

type contextKey struct{}

// From returns whom the request speaks for, nil outside of the middleware.
func From(ctx context.Context) *Principal {
	p, _ := ctx.Value(contextKey{}).(*Principal)
	return p
}

// Require lets in whoever has all of the permissions, none of which means anybody with a valid credential, and puts the
// Principal into the request's context. Others get a problem document (RFC 9457). The permissions of a key are asked of the
// service in one question with the key, so that its usage shows them; those of a token come from Config.RolePermissions.
// It panics on a text that is no permission.
func (v *Verifier) Require(permissions ...string) func(http.Handler) http.Handler {
	permissions = slices.Clone(permissions)
	askable(permissions)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := v.request(r, permissions)
			if err != nil {
				v.refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, p)))
		})
	}
}

// RequireRole lets in people whose access token names one of the roles. API keys have none: for them use Require.
func (v *Verifier) RequireRole(names ...string) func(http.Handler) http.Handler {
	return v.people(func(p *Principal) bool { return slices.ContainsFunc(names, p.HasRole) })
}

// RequireSession lets in people, with whatever roles, and no API keys.
func (v *Verifier) RequireSession() func(http.Handler) http.Handler {
	return v.people(func(*Principal) bool { return true })
}

func (v *Verifier) people(ok func(*Principal) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return v.Require()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch p := From(r.Context()); {
			case p.IsKey():
				v.refuse(w, r, errSession)
			case !ok(p):
				v.refuse(w, r, errPermission)
			default:
				next.ServeHTTP(w, r)
			}
		}))
	}
}

// request returns whom a request speaks for. A credential is never looked for in the URL.
func (v *Verifier) request(r *http.Request, permissions []string) (*Principal, error) {
	bearer, keys := r.Header["Authorization"], r.Header["X-Api-Key"]
	switch {
	case len(bearer)+len(keys) > 1:
		return nil, errSeveral
	case len(keys) == 1:
		return v.Key(r.Context(), keys[0], v.cfg.ClientIP(r), permissions...)
	case len(bearer) == 0:
		return nil, errNobody
	}
	scheme, text, _ := strings.Cut(bearer[0], " ")
	text = strings.TrimLeft(text, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || text == "":
		return nil, errNobody
	case strings.HasPrefix(text, "ums_live_") || strings.HasPrefix(text, "ums_test_"):
		return v.Key(r.Context(), text, v.cfg.ClientIP(r), permissions...)
	}
	p, err := v.Token(r.Context(), text)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(permissions, func(name string) bool { return !p.HasPermission(name) }) {
		return nil, errPermission
	}
	return p, nil
}

// refuse answers with a problem document.
func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		refusal = errUnavailable
	}
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}{v.cfg.Issuer + "/problems/" + refusal.Code, http.StatusText(refusal.Status), refusal.Status, refusal.Detail, refusal.Code})
	if err != nil {
		v.cfg.Logger.ErrorContext(r.Context(), "refusal not written", "error", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if refusal.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((refusal.RetryAfter+time.Second-1)/time.Second), 10))
	}
	switch refusal {
	case errNobody:
		h.Set("WWW-Authenticate", "Bearer")
	case errToken, errKey:
		h.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	w.WriteHeader(refusal.Status)
	_, _ = w.Write(body) // the client may be gone
}

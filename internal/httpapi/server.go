// Package httpapi is HTTP in and HTTP out: what a request says becomes one call of a service, and what the service
// returns becomes an answer. There are no rules here and no SQL. routes.go lists the whole surface.
package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/bulk"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/mail"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

// requestTimeout bounds what one request may take, in all.
const requestTimeout = 10 * time.Second

// inFlight is how many requests are answered at once; more are refused.
const inFlight = 1024

// Deps is what the server works with. Services it calls; the rest is the edge's own.
type Deps struct {
	Config      Config
	Log         *slog.Logger
	Sink        *telemetry.Sink // of access lines in JSON; nil = through Log
	Clock       clock.Clock
	Metrics     *telemetry.Metrics
	DB          postgres.DB // for refusals that no service records
	Limits      func(*problem.Writer) *middleware.RateLimits
	Idempotency *idempotency.Store
	Cursors     page.Codec
	Ready       func(ctx context.Context) []Check
	Up          func() error  // why requests cannot be answered yet, or nil
	Mailbox     *mail.Mailbox // development only
	Probes      Prober

	Verifier *signing.Verifier
	Access   *access.Service
	Signing  *signing.Service
	KeyUsage *apikey.Usage

	Auth     *auth.Service
	Sessions *session.Service
	Factors  *mfa.Service
	Passkeys *passkey.Service
	Users    *user.Service
	Accounts *account.Service
	Imports  *bulk.Service
	Profiles *profile.Service
	Avatars  *profile.Avatars
	Roles    *role.Service
	Keys     *apikey.Service
	Audit    *audit.Service
}

// Config is what the surface depends on.
type Config struct {
	PublicURL   string
	Version     string
	Development bool // localhost may call from browsers
	OwnPages    bool // serve the pages of mailed links
	Edge        middleware.Config
}

// Server answers requests.
type Server struct {
	Deps
	problems *problem.Writer
	limits   *middleware.RateLimits
	api      huma.API
	routes   []*Route
	handler  http.Handler
	paths    chi.Routes

	plain       bool                      // plain HTTP on this machine: no cookie can be Secure
	crossOrigin func(*http.Request) error // says no for pages that may not use the cookie
}

// New builds the surface. A route without a policy is an error: the service must not start with it.
func New(d Deps) (*Server, error) { return build(d, (*Server).register) }

func build(d Deps, register func(*Server)) (*Server, error) {
	public, err := url.Parse(d.Config.PublicURL)
	if err != nil || public.Host == "" {
		return nil, fmt.Errorf("UMS_PUBLIC_URL: %q is no http or https URL", d.Config.PublicURL)
	}
	s := &Server{
		Deps: d,
		problems: problem.New(problem.Config{
			PublicURL: d.Config.PublicURL, Log: d.Log, Note: middleware.Note, Unavailable: postgres.Classify,
		}),
	}
	s.limits = d.Limits(s.problems)
	https, origin := public.Scheme == "https", public.Scheme+"://"+public.Host
	s.plain = !https && middleware.Local(origin)
	trusted := append(middleware.Origins{origin}, d.Config.Edge.CORSOrigins...)
	if s.crossOrigin, err = middleware.CrossOrigin(trusted, d.Config.Development); err != nil {
		return nil, err
	}

	api := chi.NewRouter()
	api.NotFound(s.notFound)
	api.MethodNotAllowed(s.methodNotAllowed)
	s.api = newAPI(s, api, d.Config.Version)
	register(s)
	for _, r := range s.routes {
		if r.Policy.access == noPolicy {
			return nil, fmt.Errorf("route %s %s has no policy", r.Method, r.Path)
		}
		if r.Class == (Class{}) {
			return nil, fmt.Errorf("route %s %s has no limit class", r.Method, r.Path)
		}
	}
	s.document()
	s.pages(api)

	probes := chi.NewRouter()
	probes.Get("/livez", s.livez)
	probes.Get("/readyz", s.readyz)
	probes.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", "GET, HEAD")
		s.problems.Write(w, r, problem.ErrMethodNotAllowed)
	})
	limited := chi.Chain(
		middleware.CORS(d.Config.Edge.CORSOrigins, d.Config.Development),
		middleware.Shed(inFlight, s.problems, d.Metrics.Shed.WithLabelValues("api")),
		s.limits.ByAddress,
	).Handler(api)
	s.handler, s.paths = chi.Chain(
		middleware.RequestID(d.Clock),
		middleware.AccessLog(middleware.AccessLogConfig{Clock: d.Clock, Metrics: d.Metrics, Log: d.Log, Sink: d.Sink}),
		middleware.Recover(d.Log, s.problems, d.Metrics.Panics),
		middleware.SecureHeaders(https),
		middleware.ClientIP(d.Config.Edge.TrustedProxies),
		middleware.Host(d.Config.Edge.AllowedHosts, public.Host, s.problems),
		headAsGet,
	).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if middleware.HealthPath(r.URL.Path) {
			probes.ServeHTTP(w, r)
			return
		}
		limited.ServeHTTP(w, r)
	}), api
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Routes lists the surface, for tests that must miss no route.
func (s *Server) Routes() []*Route { return s.routes }

// Problems writes problem documents as this server does.
func (s *Server) Problems() *problem.Writer { return s.problems }

// headAsGet routes HEAD to what answers GET; net/http leaves the body out (RFC 9110, section 9.3.2).
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			chi.RouteContext(r.Context()).RouteMethod = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.problems.Write(w, r, fault.ErrNotFound)
}

// methodNotAllowed names the methods that the path has (RFC 9110, section 15.5.6).
func (s *Server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if !s.paths.Match(chi.NewRouteContext(), method, r.URL.Path) {
			continue
		}
		allow = append(allow, method)
		if method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	s.problems.Write(w, r, problem.ErrMethodNotAllowed)
}

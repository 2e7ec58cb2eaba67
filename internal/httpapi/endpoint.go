package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/user-management-service/ums/internal/domain/actor"
)

// Route is one line of the surface.
type Route struct {
	Method, Path string // Path below /api/v1
	Name         string // operation id, and so a generated client's method
	Summary      string
	Policy       Policy
	Status       int      // of success; 200 unless said
	Also         int      // another one, see also; 0 = none
	Action       string   // noun.verb of refusals in the audit log
	Idempotent   bool     // honours Idempotency-Key
	Cacheable    string   // Cache-Control, instead of no-store
	Class        Class    // the part of the general limits that it has
	Form         []string // the body is a form with these parameters, not JSON
	Picture      bool     // the body is a picture
	Stream       bool     // no total time: see progress
	Lines        bool     // the body is NDJSON of any length, which the handler reads; no total time either

	content map[string]*huma.MediaType // of a stream, by media type

	query  []string // the query parameters that it has
	prefix string   // of further ones, whose names follow from data; "" = none
	detail string   // what a summary cannot say
	// direct answers a request that has passed the gate, instead of huma, which documents the route all the same. It
	// returns false, having done nothing, for whatever is not an ordinary request with an ordinary answer: that is
	// huma's, so every refusal has one origin.
	direct func(w http.ResponseWriter, r *http.Request, c *call) bool
}

// takes says whether the route has a query parameter of this name.
func (r *Route) takes(name string) bool {
	return slices.Contains(r.query, name) || r.prefix != "" && strings.HasPrefix(name, r.prefix) && name != r.prefix
}

func (r *Route) writes() bool { return r.Method != http.MethodGet && r.Method != http.MethodDelete }

// handle adds a route. The handler is called with the caller and the decoded input, and returns what is encoded.
func handle[I, O any](s *Server, r Route, h func(ctx context.Context, by actor.Actor, in *I) (*O, error)) {
	s.routes = append(s.routes, &r)
	op := huma.Operation{
		OperationID: r.Name, Method: r.Method, Path: basePath + r.Path, Summary: r.Summary, Description: r.detail, DefaultStatus: r.Status,
		Tags:         []string{tag(r.Path)},
		MaxBodyBytes: -1, // the gate bounds it
		Metadata:     map[string]any{routeKey: &r},
	}
	describe(&op, &r)
	if r.Picture {
		op.RequestBody = pictureBody()
	}
	if r.Lines {
		op.RequestBody = linesBody()
	}
	defer s.learnParameters(&r)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		call := callFrom(ctx)
		if len(call.faults) > 0 {
			return nil, call.refuse(ctx, call.inputFault(http.StatusUnprocessableEntity, "", nil))
		}
		out, err := h(ctx, call.actor, in)
		if err != nil {
			return nil, call.refuse(ctx, s.refused(ctx, call, err))
		}
		if t, ok := any(out).(tagged); ok && r.Method == http.MethodGet && noneMatch(ctx, t.entityTag()) {
			return nil, unmodified(t.entityTag())
		}
		return out, nil
	})
}

// learnParameters notes which query parameters the route has.
func (s *Server) learnParameters(r *Route) {
	item := s.api.OpenAPI().Paths[basePath+r.Path]
	for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
		if op == nil || op.Method != r.Method {
			continue
		}
		for _, p := range op.Parameters {
			if p.In == "query" {
				r.query = append(r.query, p.Name)
			}
		}
	}
}

// tag groups operations by the first part of their path.
func tag(path string) string { return strings.Split(path, "/")[1] }

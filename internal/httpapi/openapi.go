package httpapi

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/httpapi/problem"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/telemetry"
)

// describe adds to an operation what every operation of its kind has.
func describe(op *huma.Operation, r *Route) {
	refusal := &huma.Response{
		Description: "A problem (RFC 9457).",
		Content:     map[string]*huma.MediaType{problem.ContentType: {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}},
	}
	op.Responses = map[string]*huma.Response{"4XX": refusal, "5XX": refusal}
	if op.Description != "" {
		op.Description += "\n\n"
	}
	op.Description += "Needs " + r.Policy.String() + "."
	if r.Stream {
		op.Responses[strconv.Itoa(r.Status)] = &huma.Response{Description: "A stream, read as it is written; one that was cut off ends without its last chunk.", Content: r.content}
	}
	switch {
	case r.Policy.access == open:
		op.Security = []map[string][]string{}
	case r.Policy.access == optional:
		op.Security = []map[string][]string{{}, {"bearer": {}}, {"apiKey": {}}}
	case r.Policy.sessionOnly:
		op.Security = []map[string][]string{{"bearer": {}}}
	default:
		op.Security = []map[string][]string{{"bearer": {}}, {"apiKey": {}}}
	}
	if r.Idempotent {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString, MinLength: new(1), MaxLength: new(255)},
			Description: "Makes the request safe to repeat for 24 hours: the first successful answer comes again.",
		})
	}
	if r.Method == http.MethodGet && r.Policy.access != open {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "If-None-Match", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "Answer 304 when the resource still has this ETag.",
		})
	}
}

// document completes the contract with what is not an operation of ours, and what no operation declares by itself.
func (s *Server) document() {
	o := s.api.OpenAPI()
	o.Servers = []*huma.Server{{URL: s.Config.PublicURL}}
	o.Tags = tags
	o.Components.Schemas.Map()["Problem"] = problemSchema()
	o.Components.Schemas.Map()["ProblemCode"] = problemCodes()
	for _, unused := range []string{"Document", "Field"} { // huma's idea of an error
		delete(o.Components.Schemas.Map(), unused)
	}
	for _, item := range o.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			if op.Method == http.MethodPatch && op.RequestBody != nil {
				op.RequestBody.Content[mediaMerge] = op.RequestBody.Content[mediaJSON]
			}
			route, _ := op.Metadata[routeKey].(*Route)
			if route.Also != 0 {
				also := *op.Responses[strconv.Itoa(route.Status)]
				op.Responses[strconv.Itoa(route.Also)] = &also
				if route.Status == http.StatusNoContent {
					op.Responses["204"] = &huma.Response{Description: also.Description}
					also.Description = http.StatusText(route.Also)
				}
			}
			if op.Method == http.MethodGet && op.Responses[strconv.Itoa(route.Status)].Headers["ETag"] != nil {
				op.Responses["304"] = &huma.Response{Description: "Not modified."}
			}
		}
	}
}

// tags group the operations, in the order in which a newcomer meets them; each is the first word of its paths.
var tags = []*huma.Tag{
	{Name: "auth", Description: "Registration, signing in and out, passwords, second factors, passkeys, sessions."},
	{Name: "users", Description: "Accounts: one's own, and those that an administrator looks after."},
	{Name: "profiles", Description: "What a person tells about himself, and who sees which part."},
	{Name: "roles", Description: "Names for permissions, which can inherit one another."},
	{Name: "permissions", Description: "What can be permitted: built in, or registered by other applications."},
	{Name: "authz", Description: "Questions about what an account may do, and why."},
	{Name: "api-keys", Description: "Credentials of programs, within the permissions of their owners."},
	{Name: "audit-events", Description: "Who did what to whom."},
}

func problemSchema() *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString}
	field := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"pointer", "code", "detail"},
		Properties: map[string]*huma.Schema{
			"pointer": {Type: huma.TypeString, Description: "JSON Pointer (RFC 6901) into the body, or query/NAME, path/NAME, header/NAME."},
			"code":    {Type: huma.TypeString, Description: "Stable code of the fault."},
			"detail":  {Type: huma.TypeString, Description: "What to do."},
		},
	}
	return &huma.Schema{
		Type: huma.TypeObject, Description: "A problem (RFC 9457). Some codes add members.",
		Required: []string{"type", "title", "status", "detail", "code", "request_id"},
		Properties: map[string]*huma.Schema{
			"type": {Type: huma.TypeString, Format: "uri", Description: "URL of the page that explains the code."}, "title": text,
			"status": {Type: huma.TypeInteger}, "detail": text, "request_id": text,
			"code":   {Type: huma.TypeString, Description: "Stable code; GET /problems/{code} says what to do."},
			"errors": {Type: huma.TypeArray, Items: field, Description: "All faults of the input."},

			"required":  {Type: huma.TypeString, Description: "Of permission_denied: the permission that is lacking."},
			"policy":    {Type: huma.TypeString, Description: "Of rate_limited: the limit that was reached."},
			"mfa_token": {Type: huma.TypeString, Description: "Of mfa_required: what goes on with the sign-in, by POST /auth/mfa/verify or a passkey."},
			"factors":   {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, Description: "Of mfa_required: the kinds of factors that can go on."},
		},
		AdditionalProperties: true,
	}
}

// Surface returns every route, without a running service.
func Surface() ([]*Route, error) {
	s, err := unwired()
	if err != nil {
		return nil, err
	}
	return s.Routes(), nil
}

// problemCodes lists the codes for those who compare with them. No answer refers to it: a new code breaks no client.
func problemCodes() *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "The codes of problems as of this version. Others may come: a client takes one that it does not know by its status."}
	for _, e := range problem.Catalogue() {
		s.Enum = append(s.Enum, e.Code)
	}
	return s
}

// Contract returns the contract as a document, without a running service.
func Contract(asJSON bool) ([]byte, error) {
	s, err := unwired()
	if err != nil {
		return nil, err
	}
	if asJSON {
		return s.api.OpenAPI().MarshalJSON()
	}
	return s.api.OpenAPI().YAML()
}

// unwired is a server that knows its routes and can answer nothing.
func unwired() (*Server, error) {
	return New(Deps{
		Config: Config{PublicURL: "http://localhost:8080", Version: ContractVersion},
		Log:    slog.New(slog.DiscardHandler), Clock: clock.System{}, Metrics: telemetry.NewMetrics(telemetry.Build{}),
		Limits: func(*problem.Writer) *middleware.RateLimits {
			return middleware.NewRateLimits(middleware.RateLimitConfig{}, middleware.RateLimitDeps{})
		},
	})
}

package httpapi

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/user-management-service/ums/internal/httpapi/problem"
)

const (
	basePath = "/api/v1"
	// maxBody is the size of any JSON body, in bytes.
	maxBody = 1 << 20

	mediaJSON  = "application/json"
	mediaMerge = "application/merge-patch+json"
)

// huma keeps these in package variables; every API of a process wants the same.
var setUpHuma = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	huma.NewError = func(int, string, ...error) huma.StatusError { return &problem.Document{} }
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		call := callFrom(ctx.Context())
		doc := call.server.problems.Resolve(ctx.Context(), call.inputFault(status, msg, errs))
		for name, values := range doc.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
		return doc
	}
})

// newAPI returns huma on the router: it documents, decodes and validates; the server's gate stands before it.
func newAPI(s *Server, router chi.Router, version string) huma.API {
	setUpHuma()
	cfg := huma.DefaultConfig("User Management Service", version)
	cfg.Info.Description = "Users, roles and permissions, scoped API keys and an audit log, over REST."
	cfg.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	cfg.CreateHooks = nil // else a $schema member and a Link header are put into each answer
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	format := huma.Format{Marshal: marshalJSON, Unmarshal: unmarshalJSON}
	cfg.Formats = map[string]huma.Format{mediaJSON: format, "json": format}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "An access token, or an API key."},
		"apiKey": {Type: "apiKey", In: "header", Name: "X-API-Key", Description: "An API key."},
	}
	return huma.NewAPI(cfg, &adapter{server: s, router: router})
}

// adapter puts each operation of huma behind the gate of its route.
type adapter struct {
	server *Server
	router chi.Router
}

const routeKey = "route"

// Handle implements huma.Adapter.
func (a *adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	route, ok := op.Metadata[routeKey].(*Route)
	if !ok {
		panic(fmt.Sprintf("httpapi: operation %s has no route", op.OperationID))
	}
	a.router.MethodFunc(op.Method, op.Path, func(w http.ResponseWriter, r *http.Request) {
		a.server.serve(route, w, r, func(w http.ResponseWriter, r *http.Request) {
			ctx := exchange{humaContext: humachi.NewContext(op, r, w), w: w}
			if route.Stream {
				ctx.progress = callFrom(r.Context()).progress
			}
			handler(&ctx)
			ctx.finish()
		})
	})
}

// ServeHTTP implements huma.Adapter.
func (a *adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.router.ServeHTTP(w, r) }

// humaContext is embedded under a name that leaves the method Context free.
type humaContext = huma.Context

// exchange is huma's context with a response that goes out in one piece, with its length, unless it is a stream.
type exchange struct {
	humaContext
	w      http.ResponseWriter
	status int
	sent   bool

	progress *progress // of a stream, else nil
}

// Unwrap lets humachi find its own context.
func (x *exchange) Unwrap() huma.Context { return x.humaContext }

// SetReadDeadline implements huma.Context: the body has been read and its time was bounded there.
func (x *exchange) SetReadDeadline(time.Time) error { return nil }

// SetStatus implements huma.Context. An answer that leaves its status open has the route's.
func (x *exchange) SetStatus(status int) {
	if status == 0 {
		status = x.Operation().DefaultStatus
	}
	x.status = status
}

// Status implements huma.Context.
func (x *exchange) Status() int { return x.status }

// BodyWriter implements huma.Context.
func (x *exchange) BodyWriter() io.Writer { return x }

// Write sends the whole body: our format writes once. Of a stream it sends a part.
func (x *exchange) Write(p []byte) (int, error) {
	if x.progress != nil {
		x.finish()
		n, err := x.w.Write(p)
		if err == nil {
			x.progress.step()
		}
		return n, err
	}
	if !x.sent {
		x.w.Header()["Content-Length"] = []string{strconv.Itoa(len(p))}
		x.finish()
	}
	return x.w.Write(p)
}

func (x *exchange) finish() {
	if !x.sent {
		x.sent = true
		if x.status == http.StatusNoContent {
			x.w.Header().Del("Content-Type") // huma sets it for routes that have a body at other times
		}
		if x.status != 0 {
			x.w.WriteHeader(x.status)
		}
	}
}

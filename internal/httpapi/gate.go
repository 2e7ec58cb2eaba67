package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

var errMediaType = fault.New(fault.UnsupportedMediaType, "unsupported_media_type",
	"Send the body as application/json in UTF-8, without a Content-Encoding.")

var errTooLarge = fault.New(fault.TooLarge, "payload_too_large", "The body is larger than 1 MiB.")

// call is one request to a route: who calls, and what has been found out on the way to the handler.
type call struct {
	server *Server
	route  *Route
	actor  actor.Actor
	faults []fault.Field // values that are JSON but no field takes
	slot   *slot         // of an idempotent request, else nil
	body   []byte
	header http.Header // of the answer

	byCookie bool // the refresh token came in the cookie

	progress *progress // of a stream, in either direction, else nil
	upload   io.Reader // the body, where the handler reads it

	request *http.Request
}

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// requestFrom returns the request that a handler answers.
func requestFrom(ctx context.Context) *http.Request { return callFrom(ctx).request }

// pathID is the id in the path of the request, "" when the route has none.
func pathID(r *http.Request) string {
	if v := chi.URLParam(r, "id"); v != "" {
		return v
	}
	return chi.URLParam(r, "user_id")
}

// refuse is how a handler's error becomes huma's. A problem has a Cache-Control of its own, which huma adds to what is there.
func (c *call) refuse(ctx context.Context, err error) error {
	delete(c.header, "Cache-Control")
	return c.server.problems.Resolve(ctx, err)
}

// checkQuery notes the parameters that the route does not have, and those that are given twice: huma would take the
// first and say nothing.
func (c *call) checkQuery(r *http.Request) {
	if r.URL.RawQuery == "" {
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil { // net/url leaves out what it cannot read
		c.faults = append(c.faults, fault.Field{Pointer: "query", Code: "invalid_format", Detail: "The query is not well-formed; escape ; as %3B and % as %25."})
	}
	// Huma reads ?a&b=1 as one parameter and ?a as true: it gets the one spelling that both read alike, so that what is
	// checked here is what is decoded there.
	r.URL.RawQuery = query.Encode()
	for name, values := range query {
		pointer := "query/" + name
		switch {
		case !c.route.takes(name):
			c.faults = append(c.faults, fault.Field{Pointer: pointer, Code: "unknown_parameter", Detail: "This parameter does not exist here."})
		case len(values) > 1:
			c.faults = append(c.faults, fault.Field{Pointer: pointer, Code: "repeated", Detail: "Give this parameter once."})
		case !utf8.ValidString(values[0]):
			c.faults = append(c.faults, fault.Field{Pointer: pointer, Code: "invalid_format", Detail: "This must be UTF-8."})
		default:
			if f, bad := checkText(pointer, values[0]); bad {
				c.faults = append(c.faults, f)
			}
		}
	}
}

// serve is the gate: what must hold before a handler is called, in the contract's order of refusals.
func (s *Server) serve(route *Route, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	cache := "no-store"
	if route.Cacheable != "" {
		cache = route.Cacheable
	}
	w.Header()["Cache-Control"] = []string{cache}
	c := &call{server: s, route: route, header: w.Header(), request: r}
	if route.direct == nil {
		var end func()
		r, end = c.begin(w, r)
		defer end()
	}
	if err := s.admit(c, w, r); err != nil {
		s.problems.Write(w, r, s.refused(r.Context(), c, err))
		return
	}
	if route.direct != nil {
		if route.direct(w, r, c) {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(c.body))
		var end func()
		r, end = c.begin(w, r)
		defer end()
	}
	if c.slot == nil {
		next(w, r)
		return
	}
	c.slot.serve(s, w, r, next)
}

// begin gives the request its time and its context the call. Routes that are answered directly do without, as long as they
// are: a timer and a copy of the request show there, and each wait on their way has a bound of its own.
func (c *call) begin(w http.ResponseWriter, r *http.Request) (*http.Request, func()) {
	ctx, end := c.bound(context.WithValue(r.Context(), callKey{}, c), w)
	return r.WithContext(ctx), end
}

func (c *call) bound(ctx context.Context, w http.ResponseWriter) (context.Context, func()) {
	if !c.route.Stream && !c.route.Lines {
		return context.WithTimeout(ctx, requestTimeout)
	}
	ctx, p, end := stream(ctx, w, cmp.Or(c.server.Config.Edge.Stall, stallTimeout))
	c.progress = p
	return ctx, end
}

func (s *Server) admit(c *call, w http.ResponseWriter, r *http.Request) error {
	if len(r.TransferEncoding) > 0 {
		// It may have had a Content-Length as well, which net/http has hidden: then nothing else may come on this connection
		// (RFC 9112, section 6.1). Nor does net/http wait for chunks that nobody will read before it answers.
		w.Header().Set("Connection", "close")
	}
	if c.route.writes() && r.ContentLength != 0 {
		if err := checkMedia(c.route, r); err != nil {
			return err
		}
	}
	if most, refusal := c.route.most(); r.ContentLength > most {
		w.Header().Set("Connection", "close") // what follows on it is the rest of the body
		return refusal
	}
	principal, err := s.authenticate(c, r)
	if err != nil {
		return err
	}
	if err := s.limits.AddressClass(w, r, c.route.Class.limit); err != nil {
		return err
	}
	if err := s.admitCaller(c, w, r, principal); err != nil {
		return err
	}
	c.checkQuery(r)
	if !c.route.writes() {
		return nil
	}
	if c.route.Lines {
		c.upload = &upload{r.Body, c.progress}
		r.Body, r.ContentLength = http.NoBody, 0 // nothing is left for huma to decode
		r.Header.Del("Content-Type")
		return nil // the handler asks for the slot when it has read what the answer is bound to
	}
	if err := c.read(w, r); err != nil {
		return err
	}
	if c.route.Idempotent {
		return s.takeSlot(c, r)
	}
	return nil
}

// admitCaller says whether the caller may call the route now, and counts what becomes of a key's request.
func (s *Server) admitCaller(c *call, w http.ResponseWriter, r *http.Request, principal *access.Principal) error {
	err := s.checkCaller(c, w, r, principal)
	if principal == nil || principal.KeyID == id.Nil {
		return err
	}
	use := apikey.Use{
		Key: principal.KeyID, PublicID: principal.PublicID, Outcome: apikey.Allowed, Accepted: true,
		IP: c.actor.Origin.IP, UserAgent: c.actor.Origin.UserAgent,
	}
	f := fault.As(err)
	switch {
	case err == nil:
		if name := c.route.Policy.used(c.actor); name != "" {
			s.KeyUsage.Record(use, name)
			return nil
		}
	case f == nil:
		return err
	default:
		use.Outcome, use.Reason = apikey.Denied, f.Code
		if f.Kind == fault.Limited {
			use.Outcome = apikey.Limited
		}
	}
	s.KeyUsage.Record(use)
	return err
}

func (s *Server) checkCaller(c *call, w http.ResponseWriter, r *http.Request, principal *access.Principal) error {
	if principal != nil {
		var own *ratelimit.Rate
		if !principal.Rate.Off() {
			own = &principal.Rate
		}
		caller := c.actor.ID().String()
		if err := s.limits.Caller(w, r, caller, own); err != nil {
			return err
		}
		if own == nil {
			if err := s.limits.CallerClass(w, r, c.route.Class.limit, caller); err != nil {
				return err
			}
		}
		if principal.MFARequired && !principal.MFAEnabled && !c.route.Policy.enrolment {
			return errEnrollment
		}
	}
	return c.route.Policy.check(c.actor, s.Clock.Now())
}

// read takes the whole body and checks its form.
func (c *call) read(w http.ResponseWriter, r *http.Request) error {
	most, refusal := c.route.most()
	var body []byte
	var err error
	if r.ContentLength > 0 { // no more than is allowed, as has been checked
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	}
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return refusal
		}
		return errMalformed.WithDetail("The body could not be read to its end.").Because(err)
	}
	if c.route.Picture {
		// Its decoder judges it. Nothing is left for huma to decode.
		c.body, r.Body, r.ContentLength = body, http.NoBody, 0
		r.Header.Del("Content-Type")
		return nil
	}
	if c.route.Form != nil {
		if body, err = formJSON(body, c.route.Form); err != nil {
			return err
		}
		r.Header.Set("Content-Type", mediaJSON)
	} else if len(body) > 0 {
		faults, err := checkJSON(body)
		if err != nil {
			return err
		}
		c.faults = append(c.faults, faults...)
	}
	c.body = body
	if c.route.direct == nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return nil
}

// most is how large a body may be, in bytes, and the refusal of a larger one.
func (r *Route) most() (int64, error) {
	switch {
	case r.Picture:
		return maxPicture, errPictureTooLarge
	case r.Lines:
		return math.MaxInt64, nil // its lines are counted, and each is bounded
	}
	return maxBody, errTooLarge
}

func checkMedia(route *Route, r *http.Request) error {
	refusal := errMediaType
	switch {
	case route.Picture:
		refusal = errPictureMedia
	case route.Lines:
		refusal = errLinesMedia
	case route.Form != nil:
		refusal = errFormMedia
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return refusal
	}
	given := r.Header.Get("Content-Type")
	if given == mediaJSON && refusal == errMediaType {
		return nil // nearly always
	}
	media, params, err := mime.ParseMediaType(given)
	if err != nil || !slices.Contains(route.media(), media) {
		return refusal
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return refusal
	}
	if given != media {
		r.Header.Set("Content-Type", media) // huma knows one spelling
	}
	return nil
}

// refused records the refusal of an identified caller, once: what services refuse, and what no service sees.
func (s *Server) refused(ctx context.Context, c *call, err error) error {
	f := fault.As(err)
	if f == nil || c.actor.UserID == id.Nil || f.Kind != fault.Forbidden && !errors.Is(err, actor.ErrHidden) {
		return err
	}
	e := audit.Event{
		Action: c.route.Action, Outcome: audit.Denied, Reason: f.Code,
		Target: audit.Target{Type: "route", Label: c.route.Method + " " + basePath + c.route.Path},
	}
	if target, ok := id.Parse(pathID(c.request)); ok {
		e.Target.Type, e.Target.ID = strings.SplitN(c.route.Action, ".", 2)[0], target
		switch {
		case strings.HasPrefix(c.route.Path, "/users/import/"):
			e.Target.Type = "import"
		case tag(c.route.Path) == "users":
			e.Target.Type = "user" // also when the act is role.assign
		}
	}
	if auditErr := audit.Record(ctx, s.DB, c.actor, e); auditErr != nil {
		return auditErr
	}
	return err
}

func origin(r *http.Request) actor.Origin {
	rec := middleware.RecordFrom(r.Context())
	return actor.Origin{IP: rec.ClientIP, UserAgent: r.UserAgent(), RequestID: rec.RequestID}
}

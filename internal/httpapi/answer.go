package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/patch"
)

// single is the answer that is one resource.
type single[B any] struct {
	Status   int    // when it is not the route's
	ETag     string `header:"ETag" doc:"The version, for If-Match and If-None-Match."`
	Location string `header:"Location" doc:"Where a created resource is."`
	Body     B
}

func (o *single[B]) entityTag() string { return o.ETag }

// withStatus fills in the status of the route: huma takes a zero for what was asked.
func (o *single[B]) withStatus(ofRoute int) {
	if o.Status == 0 {
		o.Status = ofRoute
	}
}

// tagged answers can be asked for conditionally.
type tagged interface{ entityTag() string }

// unversioned is the answer that is no resource: nothing to ask for conditionally.
type unversioned[B any] struct{ Body B }

// empty is the answer without a body.
type empty struct{}

// one answers with a versioned resource.
func one[B any](body B, version int64) *single[B] {
	return &single[B]{ETag: etag(version), Body: body}
}

// created answers with a new versioned resource at path, which is below /api/v1.
func created[B any](body B, version int64, path string) *single[B] {
	return &single[B]{ETag: etag(version), Location: basePath + path, Body: body}
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// listing is the answer that is one page of a list.
type listing[B any] struct {
	Link string `header:"Link" doc:"The next page, rel=next (RFC 8288)."`
	Body page.Page[B]
}

// Paging is the input of every list. What inputs embed is exported: huma looks into no unexported struct.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Rows on a page."`
	Cursor string `query:"cursor" doc:"The next_cursor of the page before; opaque."`
}

// position reads the cursor, which counts only for this caller, route, filter and order. The binding names filter and
// order. Nil without a cursor.
func (p *Paging) position(s *Server, by actor.Actor, route string, binding ...string) ([]string, error) {
	if p.Cursor == "" {
		return nil, nil
	}
	return s.cursors.Decode(listBinding(by, route, binding), p.Cursor)
}

// after is position for lists by time.
func (p *Paging) after(s *Server, by actor.Actor, route string, binding ...string) (*page.Position, error) {
	keys, err := p.position(s, by, route, binding...)
	if err != nil {
		return nil, err
	}
	return page.ParsePosition(keys)
}

// list answers with a page. rows may hold one more than the limit: that one says that there is a next page. keys are the
// sort keys of a row, as position will return them.
func list[R, B any](ctx context.Context, s *Server, by actor.Actor, p *Paging, route string, binding []string,
	rows []R, keys func(R) []string, encode func(R) B,
) *listing[B] {
	out := &listing[B]{}
	pg := page.New(rows, p.Limit, func(last R) string {
		return s.cursors.Encode(listBinding(by, route, binding), keys(last)...)
	})
	out.Body = page.Page[B]{Data: make([]B, len(pg.Data)), NextCursor: pg.NextCursor}
	for i, r := range pg.Data {
		out.Body.Data[i] = encode(r)
	}
	if pg.NextCursor != nil {
		next := *requestFrom(ctx).URL
		q := next.Query()
		q.Set("cursor", *pg.NextCursor)
		out.Link = "<" + (&url.URL{Path: next.Path, RawQuery: q.Encode()}).String() + `>; rel="next"`
	}
	return out
}

func listBinding(by actor.Actor, route string, binding []string) string {
	return page.Binding(append([]string{string(by.Kind), by.ID().String(), route}, binding...)...)
}

// Conditional is the input of every change of one resource.
type Conditional struct {
	IfMatch string `header:"If-Match" doc:"Change only this version of the resource (ETag)."`
}

// version returns the version that the change is for, nil when any will do. A tag that is none of ours is a version
// that never was, and so stale.
func (c *Conditional) version() *int64 {
	if c.IfMatch == "" {
		return nil
	}
	newest := int64(-1)
	for tag := range strings.SplitSeq(c.IfMatch, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" {
			return nil
		}
		inner, ok := strings.CutPrefix(tag, `"`)
		inner, closed := strings.CutSuffix(inner, `"`)
		if v, err := strconv.ParseInt(inner, 10, 64); ok && closed && err == nil && etag(v) == tag {
			newest = max(newest, v) // of several, only the newest can be current
		}
	}
	return &newest
}

// noneMatch says whether If-None-Match names the tag (RFC 9110, section 13.1.2: weak comparison).
func noneMatch(ctx context.Context, tag string) bool {
	for _, value := range requestFrom(ctx).Header.Values("If-None-Match") {
		for given := range strings.SplitSeq(value, ",") {
			given = strings.TrimPrefix(strings.TrimSpace(given), "W/")
			if given == "*" || given == tag {
				return tag != ""
			}
		}
	}
	return false
}

// notModified is the answer 304, which huma knows as an error.
type unmodified string

func notModified(tag string) error { return unmodified(tag) }

func (unmodified) Error() string             { return "not modified" }
func (unmodified) GetStatus() int            { return http.StatusNotModified }
func (u unmodified) GetHeaders() http.Header { return http.Header{"Etag": {string(u)}} }

// Identified is the input of every route to one resource.
type Identified struct {
	ID string `path:"id" doc:"The resource's id (UUID)."`
}

// id parses the path's id. What is no UUID names nothing: 404.
func (i *Identified) id() (id.ID, error) { return parseID(i.ID) }

func parseID(text string) (id.ID, error) {
	u, ok := id.Parse(text)
	if !ok {
		return id.Nil, fault.ErrNotFound
	}
	return u, nil
}

// pathID is the id in the path of the request, "" when the route has none.
func pathID(ctx context.Context) string {
	r := requestFrom(ctx)
	if v := chi.URLParam(r, "id"); v != "" {
		return v
	}
	return chi.URLParam(r, "user_id")
}

// requestFrom returns the request that a handler answers.
func requestFrom(ctx context.Context) *http.Request { return callFrom(ctx).request }

// opt is a member of a merge patch: absent, null or a value.
type opt[T any] struct{ patch.Field[T] }

// Schema implements huma.SchemaProvider: the value's, or null.
func (opt[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, typeOf[T]())
	s.Nullable = s.Ref == ""
	return &s
}

// object is a free-form JSON object.
type object jsontext.Value

// MarshalJSON writes {} for nothing.
func (o object) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// UnmarshalJSON keeps the text.
func (o *object) UnmarshalJSON(b []byte) error {
	*o = append((*o)[:0], b...)
	return nil
}

// Schema implements huma.SchemaProvider.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "Free-form; at most 16 KiB and 8 levels."}
}

const timeLayout = "2006-01-02T15:04:05.000Z"

// timestamp is a time as the contract writes it: RFC 3339, UTC, milliseconds.
type timestamp time.Time

// MarshalJSON implements json.Marshaler.
func (t timestamp) MarshalJSON() ([]byte, error) {
	return t.append(make([]byte, 0, len(timeLayout)+2)), nil
}

func (t timestamp) append(b []byte) []byte {
	b = append(b, '"')
	b = time.Time(t).UTC().AppendFormat(b, timeLayout)
	return append(b, '"')
}

// Schema implements huma.SchemaProvider.
func (timestamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

func stamp(t *time.Time) *timestamp { return (*timestamp)(t) }

func itoa(n int) string { return strconv.Itoa(n) }

package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/page"
)

// single is the answer that is one resource.
type single[B any] struct {
	Status   int    // when it is not the route's; see exchange.SetStatus
	ETag     string `header:"ETag" doc:"The version, for If-Match and If-None-Match."`
	Location string `header:"Location" doc:"Where a created resource is."`
	Body     B
}

func (o *single[B]) entityTag() string { return o.ETag }

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

// list answers with a page. rows may hold one more than the limit: that one says that there is a next page. keys are the
// sort keys of a row, as position will return them.
func list[R, B any](ctx context.Context, s *Server, by actor.Actor, p *Paging, route string, binding []string,
	rows []R, keys func(R) []string, encode func(R) B,
) *listing[B] {
	out := &listing[B]{}
	pg := page.New(rows, p.Limit, func(last R) string {
		return s.Cursors.Encode(listBinding(by, route, binding), keys(last)...)
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

// noneMatch says whether If-None-Match names the tag (RFC 9110, section 13.1.2: weak comparison).
func noneMatch(ctx context.Context, tag string) bool { return noneMatchHeader(requestFrom(ctx), tag) }

func noneMatchHeader(r *http.Request, tag string) bool {
	for _, value := range r.Header.Values("If-None-Match") {
		for given := range strings.SplitSeq(value, ",") {
			given = strings.TrimPrefix(strings.TrimSpace(given), "W/")
			if given == "*" || given == tag {
				return tag != ""
			}
		}
	}
	return false
}

// unmodified is the answer 304 with this tag, which huma knows as an error.
type unmodified string

func (unmodified) Error() string             { return "not modified" }
func (unmodified) GetStatus() int            { return http.StatusNotModified }
func (u unmodified) GetHeaders() http.Header { return http.Header{"Etag": {string(u)}} }

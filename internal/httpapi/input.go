package httpapi

import (
	"strconv"
	"strings"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// Paging is the input of every list. What inputs embed is exported: huma looks into no unexported struct.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Rows on a page."`
	Cursor string `query:"cursor" doc:"The next_cursor of the page before; opaque."`
}

// ByCreation is the input of lists that go by creation.
type ByCreation struct {
	Paging
	Sort string `query:"sort" enum:"created_at,-created_at" default:"-created_at"`
}

func (in *ByCreation) ascending() bool { return in.Sort == "created_at" }

// position reads the cursor, which counts only for this caller, route, filter and order. The binding names filter and
// order. Nil without a cursor.
func (p *Paging) position(s *Server, by actor.Actor, route string, binding ...string) ([]string, error) {
	if p.Cursor == "" {
		return nil, nil
	}
	return s.Cursors.Decode(listBinding(by, route, binding), p.Cursor)
}

// after is position for lists by time.
func (p *Paging) after(s *Server, by actor.Actor, route string, binding ...string) (*page.Position, error) {
	keys, err := p.position(s, by, route, binding...)
	if err != nil {
		return nil, err
	}
	return page.ParsePosition(keys)
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

// filterID reads an id in the query: Nil when there is none.
func filterID(name, text string) (id.ID, error) {
	if text == "" {
		return id.Nil, nil
	}
	u, ok := id.Parse(text)
	if !ok {
		return id.Nil, fault.InvalidField("query/"+name, "invalid_format", "Give an id, a UUID.")
	}
	return u, nil
}

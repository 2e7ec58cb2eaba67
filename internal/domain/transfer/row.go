package transfer

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// value is what stands in a column or member: a text, or JSON.
type value struct {
	text string
	json jsontext.Value // of an object or array
	raw  jsontext.Value // as it stands in a file of JSON
}

// row is one account of a foreign file. What is taken out of it has a place here; the rest is reported.
type row struct {
	line   int64
	values map[string]value
	raw    []byte // of a line that is one already
	faults fault.Validation
}

// text takes the text of the first of these names that has one.
func (r *row) text(names ...string) string {
	found := ""
	for _, name := range names {
		if v, ok := r.values[name]; ok && found == "" && v.json == nil {
			found = strings.TrimSpace(v.text)
			delete(r.values, name)
		}
	}
	return found
}

// truth takes a yes or no; without one it is otherwise.
func (r *row) truth(name string, otherwise bool) bool {
	switch strings.ToLower(r.text(name)) {
	case "":
		return otherwise
	case "true", "t", "1", "yes", "y":
		return true
	case "false", "f", "0", "no", "n":
		return false
	}
	r.faults.Add("/"+name, "wrong_type", "Give true or false.")
	return otherwise
}

// times are the spellings of PostgreSQL, of its JSON, and of people; without a zone it is UTC.
var times = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05-07", "2006-01-02T15:04:05-07", "2006-01-02 15:04:05 UTC",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly,
}

// moment takes a time, or nil.
func (r *row) moment(name string) *time.Time {
	text := r.text(name)
	if text == "" {
		return nil
	}
	for _, layout := range times {
		if t, err := time.Parse(layout, text); err == nil {
			return &t
		}
	}
	r.faults.Add("/"+name, "wrong_type", "Give a time such as 2024-05-01T12:00:00Z.")
	return nil
}

// object takes an object, or nil; in a table it stands as a text.
func (r *row) object(names ...string) map[string]any {
	for _, name := range names {
		v, ok := r.values[name]
		if !ok {
			continue
		}
		delete(r.values, name)
		var members map[string]any
		if json.Unmarshal([]byte(v.text), &members) != nil || members == nil && !bytes.Equal([]byte(v.text), []byte("null")) {
			r.faults.Add("/"+name, "wrong_type", "Give an object in JSON.")
			return nil
		}
		return members
	}
	return nil
}

// drop takes out what is of no use elsewhere.
func (r *row) drop(names ...string) {
	for _, name := range names {
		delete(r.values, name)
	}
}

// rest are the names of what nobody took, sorted.
func (r *row) rest() []string { return slices.Sorted(maps.Keys(r.values)) }

// draft is an account on its way into an import: the members of a line of POST /users/import, those that are objects as
// such.
type draft map[string]any

// set puts a text in its place, as in profile.address.city; an empty one is none.
func (a draft) set(path, text string) {
	if text != "" {
		a.put(path, text)
	}
}

func (a draft) put(path string, v any) {
	outer, name, inner := strings.Cut(path, ".")
	if !inner {
		a[outer] = v
		return
	}
	a.member(outer).put(name, v)
}

// member is a member that is an object.
func (a draft) member(name string) draft {
	m, ok := a[name].(draft)
	if !ok {
		m = draft{}
		a[name] = m
	}
	return m
}

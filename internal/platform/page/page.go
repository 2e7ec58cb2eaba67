package page

import (
	"slices"
	"strings"

	"github.com/user-management-service/ums/internal/platform/fault"
)

// Page is the body of a list: its rows, and the cursor of the next page, null on the last one.
type Page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// New makes a page from the rows of a query that asked for one row more than limit: that row is cut off and says that
// there is a next page, whose cursor is taken from the last row that stays.
func New[T any](rows []T, limit int, cursor func(last T) string) Page[T] {
	if rows == nil {
		rows = []T{}
	}
	if len(rows) <= limit {
		return Page[T]{Data: rows}
	}
	rows = rows[:limit:limit]
	next := cursor(rows[limit-1])
	return Page[T]{Data: rows, NextCursor: &next}
}

// Sort is the order of a list: by one field, ties by id in the same direction.
type Sort struct {
	Field      string
	Descending bool
}

// ParseSort reads ?sort=: one of the allowed fields, "-" before it for descending; def when absent; else a validation
// fault (422). What comes back is def or spelled like an element of allowed, never like the input alone.
func ParseSort(text string, def Sort, allowed ...string) (Sort, error) {
	if text == "" {
		return def, nil
	}
	field, descending := strings.CutPrefix(text, "-")
	i := slices.Index(allowed, field)
	if i < 0 {
		return Sort{}, fault.InvalidField("query/sort", "not_allowed",
			"Sort by one of "+strings.Join(allowed, ", ")+", with - before it for descending.")
	}
	return Sort{Field: allowed[i], Descending: descending}, nil
}

// String returns the form that ParseSort reads.
func (s Sort) String() string {
	if s.Descending {
		return "-" + s.Field
	}
	return s.Field
}

package page

import (
	"strconv"
	"time"

	"github.com/user-management-service/ums/internal/platform/id"
)

// Position is the place of a row in a list by time, ties by id. Times are whole milliseconds, as the database has them.
type Position struct {
	Time time.Time
	ID   id.ID
}

// Keys returns the position as a cursor takes it.
func (p Position) Keys() []string {
	return []string{strconv.FormatInt(p.Time.UnixMilli(), 10), p.ID.String()}
}

// ParsePosition reads what Keys wrote, or returns ErrInvalidCursor. No keys are no position: the list from its start.
func ParsePosition(keys []string) (*Position, error) {
	if keys == nil {
		return nil, nil //nolint:nilnil // the start of a list is no error
	}
	if len(keys) != 2 {
		return nil, ErrInvalidCursor
	}
	ms, err := strconv.ParseInt(keys[0], 10, 64)
	row, ok := id.Parse(keys[1])
	if err != nil || !ok {
		return nil, ErrInvalidCursor
	}
	return &Position{Time: time.UnixMilli(ms).UTC(), ID: row}, nil
}

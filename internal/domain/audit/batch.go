package audit

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Author makes the events of one caller who does many things at once; what is the same in all of them is worked out once.
// It is safe for concurrent use.
type Author struct {
	by        actor.Actor
	personal  personal
	canonical []byte
}

// NewAuthor returns the author of a caller's events.
func NewAuthor(by actor.Actor) (*Author, error) {
	a := &Author{by: by, personal: personalOf(by)}
	var err error
	a.canonical, err = a.personal.canonical()
	return a, err
}

// Entry is an event that is ready to be appended: its commitments are made.
type Entry struct{ row *row }

// Entry prepares an event. It asks no database.
func (a *Author) Entry(e Event) (Entry, error) {
	r, err := rowBy(a.by, a.personal, a.canonical, e)
	return Entry{&r}, err
}

// Append records many events in the transaction of their effects, in two statements whatever their number. When it fails
// the operation must fail.
func Append(ctx context.Context, tx postgres.Tx, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := copyEvents(ctx, tx, entries); err != nil {
		return err
	}
	return copyPersonal(ctx, tx, entries)
}

// RecordMany appends many events of one actor, as Record does each.
func RecordMany(ctx context.Context, tx postgres.Tx, by actor.Actor, events []Event) error {
	a, err := NewAuthor(by)
	if err != nil {
		return err
	}
	entries := make([]Entry, len(events))
	for i, e := range events {
		if entries[i], err = a.Entry(e); err != nil {
			return err
		}
	}
	return Append(ctx, tx, entries)
}

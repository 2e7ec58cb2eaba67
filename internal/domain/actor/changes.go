package actor

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// changed is the channel on which replicas tell each other whose rights were cut or changed.
const changed = "ums_access"

const everyone = "*"

// Changes announces that rights changed: to this replica when the transaction commits, to the others by NOTIFY.
type Changes struct{ bus *postgres.Bus }

// NewChanges announces over bus.
func NewChanges(bus *postgres.Bus) Changes { return Changes{bus} }

// Of announces, with tx, that what these accounts, their sessions or their keys may do has changed.
func (c Changes) Of(ctx context.Context, tx postgres.Tx, users ...id.ID) error {
	for _, u := range users {
		if err := c.bus.Publish(ctx, tx, changed, u.String()); err != nil {
			return fmt.Errorf("announce change of rights: %w", err)
		}
	}
	return nil
}

// OfEveryone announces, with tx, a change that reaches an unknown number of accounts: of a role.
func (c Changes) OfEveryone(ctx context.Context, tx postgres.Tx) error {
	if err := c.bus.Publish(ctx, tx, changed, everyone); err != nil {
		return fmt.Errorf("announce change of rights: %w", err)
	}
	return nil
}

// Subscribe calls one for an account whose rights changed and all when anybody's may have, which includes every time
// that announcements may have been missed.
func (c Changes) Subscribe(one func(user id.ID), all func()) {
	c.bus.Subscribe(changed, func(payload string) {
		if user, ok := id.Parse(payload); ok {
			one(user)
			return
		}
		all()
	})
}

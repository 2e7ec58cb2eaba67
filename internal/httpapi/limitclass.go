package httpapi

import (
	"slices"

	"github.com/user-management-service/ums/internal/httpapi/middleware"
)

// Class is what a request costs us, and so how many of its kind there may be: a part of a general limit. A route without
// one stops the start-up.
type Class struct {
	Name  string
	limit middleware.Class // its zero value: nothing but the general limits
}

// A key with a limit of its own has that one for all of them.
var (
	// reading is cheap: all that the general limits allow.
	reading = Class{Name: "read"}
	// writing is a transaction and an event of the log.
	writing = class("write", middleware.PolicyCaller, 2, 60)
	// credentials are guessed at, hashed or mailed, mostly by somebody who is nobody yet. Failed guesses have limits of
	// their own beside it, in the database.
	credentials = class("credential", middleware.PolicyAddress, 2, 60)
	// masses are as much work as a thousand others.
	masses = class("bulk", middleware.PolicyCaller, 20, 60)
	// leaked is a report by somebody who is nobody, which may cost a look-up and a mail each.
	leaked = class("leaked", middleware.PolicyAddress, 20, 30)
)

// Limits are the policies that can refuse a request to the route.
func (r *Route) Limits() []string {
	limits := []string{middleware.PolicyAddress}
	if !r.Policy.anonymous() {
		limits = append(limits, middleware.PolicyCaller)
	}
	if of := r.Class.limit.Of; slices.Contains(limits, of) {
		limits = append(limits, r.Class.Name)
	}
	return limits
}

func class(name, of string, part, least int) Class {
	return Class{Name: name, limit: middleware.Class{Name: name, Of: of, Part: part, Least: least}}
}

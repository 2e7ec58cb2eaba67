package role

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
)

// maxAsked is how many permissions one check takes.
const maxAsked = 100

// Link is a part of the chain from an account to something that it may do.
type Link string

// The links, in the order in which they are looked at.
const (
	LinkAccount      Link = "account"       // it is not active, and so may do nothing
	LinkSecondFactor Link = "second_factor" // a role obliges it to one that it lacks, and until then it may do nothing
	LinkScope        Link = "scope"         // its owner may, the key that asks may not
	LinkAssignment   Link = "assignment"    // it was in its hands by a role that has expired
	LinkRegistration Link = "registration"  // nothing of this name is registered, so no role can hold it
	LinkGrant        Link = "grant"         // no role that it holds has it
)

// Decision says whether an account may do something, and by what or why not.
type Decision struct {
	Permission string
	Allowed    bool
	Via        []string // role names from the one that is held down to the one that grants it; the shortest such path
	Missing    *Missing // nil: allowed
}

// Missing is the first link that is not there.
type Missing struct {
	Link Link
	// Roles is, of an assignment, the path that would allow it; of a grant, the roles held directly, none of which leads
	// to it; of a second factor, the path to the role that asks for one.
	Roles     []string
	Status    string     // of an account: what it is instead of active
	ExpiredAt *time.Time // of an assignment: when it ended
}

// Askable says whether p is something that can be asked for: a name, the wildcard of a resource, or *.
func Askable(p string) bool {
	resource, action, ok := strings.Cut(p, ":")
	return p == "*" || ok && askableName(resource) && (action == "*" || askableName(action))
}

// askableName is what resourceName says, without the price of an expression: each verification asks.
func askableName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// Check says of each permission, in order, whether an account may do it now, from the database and not from what a cache
// remembers. Of oneself everyone may ask (user Nil, or his own); a key is answered for itself, so within its scopes. Of
// others it needs roles:read. Containment alone decides, as it does everywhere: who holds * may also do what nobody has
// registered. The faults: not found, validation of /permissions.
func (s *Service) Check(ctx context.Context, by actor.Actor, user id.ID, permissions []string) ([]Decision, error) {
	own := user == id.Nil || by.Is(user)
	if !own && !by.May(ReadPermission) {
		return nil, actor.Denied(ReadPermission)
	}
	var v fault.Validation
	switch {
	case len(permissions) == 0:
		v.Add("/permissions", "required", "Ask for at least one permission.")
	case len(permissions) > maxAsked:
		v.Add("/permissions", "too_many", "Ask for at most 100 permissions at a time.")
	}
	for i, p := range permissions {
		if !Askable(p) {
			v.Add(fmt.Sprintf("/permissions/%d", i), "invalid_format", "Use a permission such as orders:read, resource:* or *.")
		}
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	key := id.Nil
	if own {
		user, key = by.UserID, by.KeyID
	}
	w, err := webOf(ctx, s.pool, user, key, permissions)
	if err != nil {
		return nil, err
	}
	decisions := make([]Decision, len(permissions))
	for i, p := range permissions {
		decisions[i] = w.decide(p)
	}
	return decisions, nil
}

// web is everything that a decision about one account depends on, as it stood in one statement.
type web struct {
	status     string
	factorless bool // a human without a second factor
	scopes     actor.Permissions
	bounded    bool     // scopes are those of the key that asks
	registered []string // of what was asked
	nodes      []node   // every role that it holds or held, directly or by inheritance, by name
}

// node is one role of a web.
type node struct {
	id          id.ID
	name        string
	requireMFA  bool
	permissions actor.Permissions // its own grants
	inherits    []id.ID
	direct      bool // assigned, or implied
	live        bool // of a direct one: not expired
	expiresAt   *time.Time
}

func (w *web) decide(p string) Decision {
	d := Decision{Permission: p, Via: []string{}}
	grants := func(n *node) bool { return n.permissions.Has(p) }
	path := w.path(w.held(), grants)
	if d.Missing = w.missing(p, path, grants); d.Missing == nil {
		d.Allowed, d.Via = true, path
	}
	return d
}

// missing returns the first link that is not there, nil when all are; path leads from a held role to a grant, if any does.
func (w *web) missing(p string, path []string, grants func(*node) bool) *Missing {
	if w.status != "active" {
		return &Missing{Link: LinkAccount, Status: w.status}
	}
	if w.factorless {
		if obliged := w.path(w.held(), func(n *node) bool { return n.requireMFA }); obliged != nil {
			return &Missing{Link: LinkSecondFactor, Roles: obliged}
		}
	}
	if path != nil {
		if w.bounded && !w.scopes.Has(p) {
			return &Missing{Link: LinkScope}
		}
		return nil
	}
	if expired := w.path(w.expired(), grants); expired != nil {
		m := &Missing{Link: LinkAssignment, Roles: expired}
		for _, n := range w.nodes {
			if n.name == expired[0] {
				m.ExpiredAt = n.expiresAt
			}
		}
		return m
	}
	if !slices.Contains(w.registered, p) {
		return &Missing{Link: LinkRegistration}
	}
	names := []string{}
	for _, n := range w.held() {
		names = append(names, n.name)
	}
	return &Missing{Link: LinkGrant, Roles: names}
}

func (w *web) held() []*node { return w.starts(func(n *node) bool { return n.direct && n.live }) }

func (w *web) expired() []*node { return w.starts(func(n *node) bool { return n.direct && !n.live }) }

func (w *web) starts(is func(*node) bool) []*node {
	var all []*node
	for i := range w.nodes {
		if is(&w.nodes[i]) {
			all = append(all, &w.nodes[i])
		}
	}
	return all
}

// path returns the names on the shortest way, by inheritance, from one of the starts to a role that is good; nil when
// there is none. Of equally short ones, the first by name.
func (w *web) path(starts []*node, good func(*node) bool) []string {
	type step struct {
		at   *node
		from *step
	}
	seen := map[id.ID]bool{}
	var queue []*step
	visit := func(n *node, from *step) {
		if !seen[n.id] {
			seen[n.id] = true
			queue = append(queue, &step{n, from})
		}
	}
	for _, n := range starts {
		visit(n, nil)
	}
	for i := 0; i < len(queue); i++ {
		if good(queue[i].at) {
			var names []string
			for s := queue[i]; s != nil; s = s.from {
				names = append(names, s.at.name)
			}
			slices.Reverse(names)
			return names
		}
		for j := range w.nodes {
			if slices.Contains(queue[i].at.inherits, w.nodes[j].id) {
				visit(&w.nodes[j], queue[i])
			}
		}
	}
	return nil
}

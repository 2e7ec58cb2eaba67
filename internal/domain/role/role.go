// Package role is who may be given what: roles, the permissions that they grant, inheritance between them, and the
// lattice: nobody gives, takes or touches more than he may do himself.
//
// A role's content is its own grants and those of every role that it inherits from. An account's effective permissions
// are the contents of the roles that it holds at this moment; role `user` is held by every human from activation on,
// by status, without a row.
package role

import (
	"regexp"
	"slices"
	"time"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/patch"
)

// The built-in roles, as the migration inserts them.
var (
	AdminID = id.ID{6: 0x70, 8: 0x80, 15: 1} // grants *, can be neither edited nor deleted
	UserID  = id.ID{6: 0x70, 8: 0x80, 15: 2} // implied by status, can be neither given, taken away nor deleted
)

// The names of the built-in roles.
const (
	AdminName = "admin"
	UserName  = "user"
)

// Role is a named set of permissions.
type Role struct {
	ID          id.ID
	Name        string // fixed at creation
	Description *string
	Permissions []string // its own grants, sorted
	Inherits    []string // names of the roles whose content it has too, sorted
	RequireMFA  bool     // its human holders need a second factor
	System      bool     // built in
	UserCount   int64    // holders at this moment, the implied ones of role `user` included
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// New is what a role is created with.
type New struct {
	Name        string
	Description *string
	Permissions []string
	Inherits    []string
	RequireMFA  bool
}

// Patch changes a role: absent members stay, null empties.
type Patch struct {
	Description patch.Field[string]
	Permissions patch.Field[[]string]
	Inherits    patch.Field[[]string]
	RequireMFA  patch.Field[bool]
}

// Assignment is a role in somebody's hands.
type Assignment struct {
	RoleID    id.ID
	Name      string
	ExpiresAt *time.Time // nil: lasts
	Implied   bool       // role `user`, held by status
	CreatedAt *time.Time // when it was given; nil when implied
}

// Holder is an account that holds a role.
type Holder struct {
	UserID      id.ID
	Kind        string
	Email       *string
	DisplayName *string
	Status      string
	ExpiresAt   *time.Time // of the assignment; nil: lasts
	CreatedAt   time.Time  // of the account
}

// Source is one effective permission and where it comes from.
type Source struct {
	Permission string
	Roles      []string // every role held, directly or by inheritance, whose content has it; sorted names
}

// Filter says which part of a list is wanted. At most Limit rows come back, newest first unless Ascending.
type Filter struct {
	Limit     int
	Ascending bool
	After     *page.Position // rows behind this one; nil: from the start
}

// Refusals that concern roles.
var (
	ErrRoleInUse = fault.New(fault.Conflict, "role_in_use",
		"The role is assigned or inherited; take it away there first, or delete it with force=true.")
	ErrRoleExists = fault.New(fault.Conflict, "already_exists", "There is a role of this name already.")
	ErrSystemRole = fault.New(fault.Conflict, "system_role", "A built-in role does not allow this.")
	ErrRoleCycle  = fault.New(fault.Invalid, "role_cycle",
		"The role would inherit from itself, directly or through other roles.")
	ErrLastAdmin = fault.New(fault.Conflict, "last_admin",
		"This would leave no active, verified administrator who can sign in; make another one first.")
)

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

func (n New) validate() error {
	var v fault.Validation
	if !namePattern.MatchString(n.Name) {
		v.Add("/name", "pattern", "Use 1 to 63 lower-case letters, digits, _ and -, beginning with a letter.")
	}
	checkDescription(&v, n.Description)
	checkLists(&v, n.Permissions, n.Inherits)
	return v.Err()
}

func (p Patch) validate() error {
	var v fault.Validation
	checkDescription(&v, p.Description.Pointer())
	checkLists(&v, p.Permissions.Value, p.Inherits.Value)
	return v.Err()
}

func checkLists(v *fault.Validation, permissions, inherits []string) {
	if len(permissions) > maxPermissions {
		v.Add("/permissions", "too_many", "Use at most 200 permissions; a wildcard or an inherited role holds more.")
	}
	if len(inherits) > maxInherits {
		v.Add("/inherits", "too_many", "Inherit from at most 50 roles directly.")
	}
}

// apply returns the role as the patch leaves it, its lists as they were given, so that a fault can point into them.
func (p Patch) apply(r Role) Role {
	p.Description.Apply(&r.Description)
	if p.Permissions.Set {
		r.Permissions = p.Permissions.Value
	}
	if p.Inherits.Set {
		r.Inherits = p.Inherits.Value
	}
	if p.RequireMFA.Set {
		r.RequireMFA = p.RequireMFA.Value
	}
	return r
}

func (r Role) tidied() Role {
	r.Permissions, r.Inherits = tidy(r.Permissions), tidy(r.Inherits)
	return r
}

func (n New) tidied() New {
	n.Permissions, n.Inherits = tidy(n.Permissions), tidy(n.Inherits)
	return n
}

// tidy returns names sorted and without repetitions, never nil.
func tidy(names []string) []string {
	out := append([]string{}, names...)
	slices.Sort(out)
	return slices.Compact(out)
}

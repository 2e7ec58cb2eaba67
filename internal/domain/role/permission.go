package role

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/text"
)

// What reading and changing roles needs.
const (
	ReadPermission   = "roles:read"
	WritePermission  = "roles:write"
	AssignPermission = "roles:assign"
)

// Builtin lists the permissions that the service itself asks for, sorted. They are registered by a migration and
// cannot be deleted. "Whom may I touch?" is decided by these alone: what another program's permissions mean is its own.
var Builtin = []string{
	"api_keys:read", "api_keys:verify", "api_keys:write",
	"audit:read",
	"mail:read",
	"me:read", "me:write",
	"profiles:read", "profiles:write",
	"roles:assign", "roles:read", "roles:write",
	"tokens:introspect",
	"users:delete", "users:export", "users:import", "users:read", "users:write",
	"webhooks:read", "webhooks:write",
}

// Permission is a registered permission.
type Permission struct {
	Name        string
	Description *string
	System      bool // built in
	CreatedAt   time.Time
}

// NewPermission is what a permission is registered with.
type NewPermission struct {
	Name        string
	Description *string
}

// The bounds of names and lists.
const (
	maxDescription = 500 // code points
	maxPermissions = 200 // a role's own grants
	maxInherits    = 50  // roles that a role inherits from directly
)

var (
	permissionName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}:[a-z][a-z0-9_-]{0,62}$`)
	resourceName   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
)

// Refusals that concern permissions.
var (
	ErrPermissionInUse = fault.New(fault.Conflict, "permission_in_use",
		"A role or an API key holds this permission; take it away there first.")
	ErrPermissionExists = fault.New(fault.Conflict, "already_exists", "There is a permission of this name already.")
)

var errBuiltinPermission = ErrPermissionInUse.WithDetail("The service itself uses this permission; it cannot be deleted.")

func (p NewPermission) validate() error {
	var v fault.Validation
	if !permissionName.MatchString(p.Name) {
		v.Add("/name", "pattern", "Use resource:action, each of lower-case letters, digits, _ and -, beginning with a letter.")
	}
	checkDescription(&v, p.Description)
	return v.Err()
}

func checkDescription(v *fault.Validation, d *string) {
	if d != nil && *d != "" {
		text.Block(v, "/description", *d, maxDescription)
	}
}

// resourceOf returns "users" for users:*, and false for everything that is no such wildcard.
func resourceOf(p string) (string, bool) {
	resource, ok := strings.CutSuffix(p, ":*")
	return resource, ok && resourceName.MatchString(resource)
}

// touchesBuiltin says whether a grant is a built-in permission or a wildcard that contains one.
func touchesBuiltin(grant string) bool {
	return slices.ContainsFunc(Builtin, func(b string) bool { return actor.Covers(grant, b) })
}

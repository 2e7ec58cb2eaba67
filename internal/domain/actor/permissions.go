package actor

import (
	"slices"
	"strings"
)

// All is the permission that contains every other.
const All = "*"

// Permissions is a set of permissions: names such as users:read, and the wildcards users:* and *.
// Containment is syntactic: users:* lies in users:* or *, and * only in *; so registering a new permission
// changes nobody's place in the lattice.
type Permissions []string

// Covers says whether the grant contains the permission or wildcard p.
func Covers(grant, p string) bool {
	if grant == All || grant == p {
		return true
	}
	resource, ok := strings.CutSuffix(grant, ":*")
	return ok && len(p) > len(resource) && p[len(resource)] == ':' && p[:len(resource)] == resource
}

// Has says whether the set contains p, which may be a wildcard.
func (s Permissions) Has(p string) bool {
	for _, grant := range s {
		if Covers(grant, p) {
			return true
		}
	}
	return false
}

// Contains says whether every member of other lies in s.
func (s Permissions) Contains(other Permissions) bool {
	for _, p := range other {
		if !s.Has(p) {
			return false
		}
	}
	return true
}

// Intersect returns what both sets contain, sorted: {users:*} and {users:read, *} give {users:*, users:read}.
func (s Permissions) Intersect(other Permissions) Permissions {
	var both Permissions
	for _, p := range s {
		if other.Has(p) {
			both = append(both, p)
		}
	}
	for _, p := range other {
		if s.Has(p) {
			both = append(both, p)
		}
	}
	slices.Sort(both)
	return slices.Compact(both)
}

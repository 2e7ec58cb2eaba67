package upkeep

import "github.com/user-management-service/ums/internal/platform/keyring"

// Sealed counts values that one master key sealed.
type Sealed struct {
	What  string
	Head  []byte // the first bytes of such a value, by which the ring knows its key
	Count int64
}

// Judge tells what a ring does not open, and what a key that is not its first one sealed.
func Judge(ring *keyring.Ring, all []Sealed) (lost, old []Sealed) {
	for _, s := range all {
		switch {
		case !ring.Lists(s.Head):
			lost = append(lost, s)
		case !ring.First(s.Head):
			old = append(old, s)
		}
	}
	return lost, old
}

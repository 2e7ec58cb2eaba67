package apikey

// Pending is how many tallies wait to be written.
func (u *Usage) Pending() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.pending)
}

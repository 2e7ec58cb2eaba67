package ratelimit

import "time"

// At makes Redis decide as if it were then, so that a test can compare it with Memory.
func (s *Shared) At(now func() time.Time) { s.server.now = now }

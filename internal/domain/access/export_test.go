package access

import "sync/atomic"

// CountComparisons makes the service count its comparisons of secrets. Call it before any use.
func (s *Service) CountComparisons() func() int64 {
	var n atomic.Int64
	compare := s.same
	s.same = func(stored []byte, presented [32]byte) bool {
		n.Add(1)
		return compare(stored, presented)
	}
	return n.Load
}

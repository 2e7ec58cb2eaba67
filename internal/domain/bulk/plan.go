package bulk

import (
	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// plan is a batch that is ready to be worked: everything that needs no lock has been done.
type plan struct {
	imp        *Import
	lines      []int64 // their numbers, at least one
	candidates []*account.Candidate
}

func (p *plan) last() int64 { return p.lines[len(p.lines)-1] }

// plan prepares what lines ask for.
func (s *Service) plan(imp *Import, waits []staged) (*plan, error) {
	by, err := audit.NewAuthor(imp.by)
	if err != nil {
		return nil, err
	}
	p := &plan{imp: imp, lines: make([]int64, len(waits)), candidates: make([]*account.Candidate, len(waits))}
	for i, l := range waits {
		text, err := s.Ring.Open(sealPurpose, bound(imp.ID, l.line), l.sealed)
		if err != nil {
			return nil, err
		}
		if p.candidates[i], err = s.candidate(by, text); err != nil {
			return nil, err
		}
		p.lines[i] = l.line
		waits[i].sealed = nil // memory is short
	}
	return p, nil
}

func (s *Service) candidate(by *audit.Author, text []byte) (*account.Candidate, error) {
	n, err := parse(text)
	if f := fault.As(err); f != nil {
		return account.Refused(f), nil
	}
	if err != nil {
		return nil, err
	}
	return s.Accounts.Candidate(by, n)
}

package account

import (
	"context"
	"strings"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Result is what became of a candidate: an outcome, a fault, or neither: then it is still to be imported, by Import.
type Result struct {
	Outcome Outcome
	Fault   error
}

// Open says that nothing has become of it yet.
func (r Result) Open() bool { return r.Outcome == "" && r.Fault == nil }

// ImportMany is Import for many, in a few statements whatever their number. It makes those who are new, and finds those
// who are there. What is left Open, in its order, ends as if Import had had all one after the other: those that share an
// address or external id with one before, and those that update an account.
func (s *Service) ImportMany(ctx context.Context, tx postgres.Tx, by actor.Actor, candidates []*Candidate, update bool) ([]Result, error) {
	results := make([]Result, len(candidates))
	first := firsts(candidates)
	grants := grants{s: s, by: by, known: map[string]grant{}}
	roles := make([][]id.ID, len(candidates))
	refused := make([]error, len(candidates)) // unless they are there already
	var fresh []*user.Draft
	for i, c := range candidates {
		if results[i].Fault = c.allowed(by); results[i].Fault != nil || !first[i] {
			continue
		}
		g, err := grants.of(ctx, tx, c.in.Roles)
		if err != nil {
			return nil, err
		}
		if roles[i], refused[i] = g.roles, g.fault; g.fault == nil {
			fresh = append(fresh, &c.draft)
		}
	}
	made, err := user.InsertMany(ctx, tx, fresh)
	if err != nil {
		return nil, err
	}
	var there []int
	b := birth{}
	for i, c := range candidates {
		switch {
		case results[i].Fault != nil || !first[i]:
		case made[c.draft.ID]:
			results[i].Outcome = Created
			b.add(c, roles[i])
		default:
			there = append(there, i)
		}
	}
	if err := b.finish(ctx, tx, s); err != nil {
		return nil, err
	}
	return results, s.known(ctx, tx, candidates, there, refused, update, results)
}

// Claims are the addresses and external ids that candidates may be known by.
type Claims struct{ emails, externals map[string]bool }

// ClaimsOf collects them.
func ClaimsOf(candidates []*Candidate) Claims {
	all := Claims{make(map[string]bool, len(candidates)), make(map[string]bool, len(candidates))}
	for _, c := range candidates {
		if c.fault == nil {
			all.add(c.claim())
		}
	}
	return all
}

func (c Claims) add(claim user.Claim) {
	if claim.EmailNorm != "" {
		c.emails[claim.EmailNorm] = true
	}
	if claim.ExternalID != "" {
		c.externals[claim.ExternalID] = true
	}
}

// Overlap says whether the two may be about one account.
func (c Claims) Overlap(other Claims) bool {
	shared := func(a, b map[string]bool) bool {
		for name := range a {
			if b[name] {
				return true
			}
		}
		return false
	}
	return shared(c.emails, other.emails) || shared(c.externals, other.externals)
}

// firsts says which candidates share neither address nor external id with one before them.
func firsts(candidates []*Candidate) []bool {
	first := make([]bool, len(candidates))
	before := ClaimsOf(nil)
	for i, c := range candidates {
		if c.fault != nil {
			continue
		}
		claim := c.claim()
		first[i] = !before.emails[claim.EmailNorm] && !before.externals[claim.ExternalID]
		before.add(claim)
	}
	return first
}

// grants remembers what the lattice said of a list of names: lines of an import repeat a few.
type grants struct {
	s     *Service
	by    actor.Actor
	known map[string]grant
}

type grant struct {
	roles []id.ID
	fault error
}

func (g grants) of(ctx context.Context, tx postgres.Tx, names []string) (grant, error) {
	if len(names) == 0 {
		return grant{}, nil
	}
	key := strings.Join(names, "\x00") // which no name holds that a role has
	if known, ok := g.known[key]; ok {
		return known, nil
	}
	roles, err := g.s.Authorizer.Grantable(ctx, tx, g.by, "/roles", names)
	if err != nil && fault.As(err) == nil {
		return grant{}, err
	}
	g.known[key] = grant{roles, err}
	return g.known[key], nil
}

// birth is what accounts have beside their rows.
type birth struct {
	holders, roles []id.ID
	profiles       []*profile.Draft
	entries        []audit.Entry
}

func (b *birth) add(c *Candidate, roles []id.ID) {
	for _, r := range roles {
		b.holders, b.roles = append(b.holders, c.draft.ID), append(b.roles, r)
	}
	if !c.profile.Empty() {
		b.profiles = append(b.profiles, c.profile)
	}
	b.entries = append(b.entries, c.entries...)
}

func (b *birth) finish(ctx context.Context, tx postgres.Tx, s *Service) error {
	if err := s.Authorizer.GrantNew(ctx, tx, b.holders, b.roles); err != nil {
		return err
	}
	if err := profile.InsertMany(ctx, tx, b.profiles); err != nil {
		return err
	}
	return audit.Append(ctx, tx, b.entries)
}

// known decides about those that are there. One that is there no more, or is to be updated, stays open.
func (s *Service) known(
	ctx context.Context, tx postgres.Tx, candidates []*Candidate, there []int, refused []error, update bool, results []Result,
) error {
	if len(there) == 0 {
		return nil
	}
	claims := make([]user.Claim, len(there))
	for at, i := range there {
		claims[at] = candidates[i].claim()
	}
	claimants, err := user.Claimants(ctx, tx, claims)
	if err != nil {
		return err
	}
	for at, i := range there {
		switch n := len(claimants[at]); {
		case n == 0:
			results[i].Fault = refused[i]
		case update: // another update before it may free an external id
		case n > 1:
			results[i].Fault = ErrAmbiguous
		default:
			results[i].Outcome = Skipped
		}
	}
	return nil
}

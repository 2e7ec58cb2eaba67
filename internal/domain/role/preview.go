package role

import (
	"context"
	"errors"
	"slices"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Effect is what a change of a role does to those who hold it, directly or through a role that inherits it.
type Effect struct {
	Gained, Lost []string // permissions that at least one account gains, or loses; sorted
	// Users counts the accounts, of any status, whose effective permissions change, or who come under or out of the duty to
	// have a second factor without having one. Keys counts the living keys for which that is so.
	Users, Keys int64
}

// errPreviewed rolls a transaction back that has shown what it would do.
var errPreviewed = errors.New("previewed")

// PreviewUpdate returns what Update would do, or its fault. It is the same transaction, rolled back: nothing is changed,
// recorded or announced, though edits of roles wait for it.
func (s *Service) PreviewUpdate(ctx context.Context, by actor.Actor, role id.ID, p Patch, ifMatch *int64) (Effect, error) {
	if !by.May(WritePermission) {
		return Effect{}, actor.Denied(WritePermission)
	}
	if err := p.validate(); err != nil {
		return Effect{}, err
	}
	return s.preview(ctx, by, role, ifMatch, func(ctx context.Context, tx postgres.Tx) error {
		var updated Role
		_, err := s.update(ctx, tx, by, role, p, ifMatch, &updated)
		return err
	})
}

// PreviewDelete returns what Delete would do, or its fault, as PreviewUpdate does.
func (s *Service) PreviewDelete(ctx context.Context, by actor.Actor, role id.ID, force bool, ifMatch *int64) (Effect, error) {
	if !by.May(WritePermission) {
		return Effect{}, actor.Denied(WritePermission)
	}
	return s.preview(ctx, by, role, ifMatch, func(ctx context.Context, tx postgres.Tx) error {
		_, err := s.remove(ctx, tx, by, role, force, ifMatch)
		return err
	})
}

func (s *Service) preview(
	ctx context.Context, by actor.Actor, role id.ID, ifMatch *int64, change func(context.Context, postgres.Tx) error,
) (Effect, error) {
	var e Effect
	err := s.pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if err := lockGraph(ctx, tx); err != nil {
			return err
		}
		// Before a million people are grouped for somebody who may not do it anyway.
		if _, _, err := s.lockToEdit(ctx, tx, by, role, ifMatch); err != nil {
			return err
		}
		before, err := contents(ctx, tx)
		if err != nil {
			return err
		}
		groups, err := holdersAlike(ctx, tx, role)
		if err != nil {
			return err
		}
		if err := change(ctx, tx); err != nil {
			return err
		}
		after, err := contents(ctx, tx)
		if err != nil {
			return err
		}
		e = compare(groups, before, after)
		return errPreviewed
	})
	if errors.Is(err, errPreviewed) {
		err = nil
	}
	return e, err
}

// alike are accounts, or keys of such accounts with the same scopes, that a change of roles treats alike.
type alike struct {
	roles      []id.ID // held directly
	scopes     actor.Permissions
	keys       bool // count is of keys, not of accounts
	factorless bool // humans without a second factor
	count      int64
}

// content is what a role gives, inherited parts included.
type content struct {
	permissions actor.Permissions
	requireMFA  bool
}

func compare(groups []alike, before, after map[id.ID]content) Effect {
	e := Effect{Gained: []string{}, Lost: []string{}}
	for _, g := range groups {
		had, mustHave := g.of(before)
		has, must := g.of(after)
		gained, lost := beyond(has, had), beyond(had, has)
		if len(gained)+len(lost) == 0 && (!g.factorless || must == mustHave) {
			continue
		}
		if g.keys {
			e.Keys += g.count
			continue
		}
		e.Users += g.count
		e.Gained, e.Lost = append(e.Gained, gained...), append(e.Lost, lost...)
	}
	e.Gained, e.Lost = tidy(e.Gained), tidy(e.Lost)
	return e
}

// of returns what the group may do, and whether it needs a second factor for it.
func (g alike) of(roles map[id.ID]content) (may actor.Permissions, requireMFA bool) {
	for _, r := range g.roles {
		may = append(may, roles[r].permissions...)
		requireMFA = requireMFA || roles[r].requireMFA
	}
	if g.keys {
		may = may.Intersect(g.scopes)
	}
	return may, requireMFA
}

// inherited completes the roles' own contents with those of all roles that they inherit from. There are no cycles.
func inherited(own map[id.ID]content, parents map[id.ID][]id.ID) map[id.ID]content {
	all := make(map[id.ID]content, len(own))
	var visit func(id.ID) content
	visit = func(r id.ID) content {
		if c, done := all[r]; done {
			return c
		}
		c := content{slices.Clone(own[r].permissions), own[r].requireMFA}
		for _, parent := range parents[r] {
			p := visit(parent)
			c.permissions, c.requireMFA = append(c.permissions, p.permissions...), c.requireMFA || p.requireMFA
		}
		c.permissions = tidy(c.permissions)
		all[r] = c
		return c
	}
	for r := range own {
		visit(r)
	}
	return all
}

package transfer

import (
	"context"
	"errors"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

var (
	errGone = fault.New(fault.Conflict, "deleted_here",
		"The account was deleted in this service; its id does not come back. Without the id it can be made anew.")
	errTwice = fault.New(fault.Conflict, "already_exists", "Another line of this file has the id, address or external id.")
)

// races is how often a batch is decided anew, because somebody else has just made an account that it makes.
const races = 3

// outcome is what a batch did, apart from the database.
type outcome struct {
	tally    Report
	rejected []Rejection
}

func (o *outcome) reject(line int64, f *fault.Error) {
	o.tally.Failed++
	o.rejected = append(o.rejected, NewRejection(line, f))
}

// flush brings the accounts that wait in, in one transaction.
func (r *restorer) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	for attempt := 1; ; attempt++ {
		var did outcome
		err := r.DB.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
			did = outcome{}
			return r.bring(ctx, tx, &did)
		})
		taken := errors.Is(err, user.ErrThere) || errors.Is(err, user.ErrEmailTaken) || errors.Is(err, user.ErrExternalID) || errors.Is(err, passkey.ErrKnown)
		if taken && attempt < races {
			continue
		}
		if err != nil {
			return err
		}
		clear(r.batch) // memory is short
		r.batch, r.size = r.batch[:0], 0
		r.did.Add(did.tally)
		for _, one := range did.rejected {
			r.tell.reject(one)
		}
		return nil
	}
}

// bring decides what becomes of each account, and makes those that are new.
func (r *restorer) bring(ctx context.Context, tx postgres.Tx, did *outcome) error {
	there, err := r.look(ctx, tx)
	if err != nil {
		return err
	}
	var made []numbered
	for _, n := range r.batch {
		found, clash := there.find(&n.account)
		switch {
		case clash != nil:
			did.reject(n.line, clash)
		case found != id.Nil:
			if err := r.meet(ctx, tx, n, found, did); err != nil {
				return err
			}
		default:
			if f := there.refuse(n.carried, r.known, r.o.DryRun); f != nil {
				did.reject(n.line, f)
				continue
			}
			there.add(n.carried)
			made = append(made, n)
		}
	}
	did.tally.Created = int64(len(made))
	if r.o.DryRun {
		return nil
	}
	return r.make(ctx, tx, made, there.roles)
}

// meet is for an account that is there.
func (r *restorer) meet(ctx context.Context, tx postgres.Tx, n numbered, found id.ID, did *outcome) error {
	if r.o.OnConflict != Update {
		did.tally.Skipped++
		return nil
	}
	changed := false
	err := tx.Try(ctx, !r.o.DryRun, func(ctx context.Context, tx postgres.Tx) error {
		u, err := user.Lock(ctx, tx, found)
		if err != nil {
			return err
		}
		before := u.Version
		err = user.Apply(ctx, tx, r.by, u, n.adminChanges(), nil)
		changed = u.Version != before
		return err
	})
	if f := fault.As(err); f != nil && f.Kind != fault.Unavailable {
		did.reject(n.line, f)
		return nil
	}
	if changed {
		did.tally.Updated++
	} else {
		did.tally.Skipped++
	}
	return err
}

// make stores new accounts with what hangs on them, a statement or two a noun, and records each.
func (r *restorer) make(ctx context.Context, tx postgres.Tx, made []numbered, roles map[string]id.ID) error {
	if len(made) == 0 {
		return nil
	}
	var accounts []user.Carried
	var held []role.Held
	var profiles []*profile.Profile
	var factors []mfa.CarriedFactor
	var codes []mfa.CarriedCode
	var keys []passkey.Carried
	var events []audit.Event
	for _, n := range made {
		accounts, held = append(accounts, n.account), append(held, n.roles...)
		if n.profile != nil {
			profiles = append(profiles, n.profile)
		}
		factors, codes, keys = append(factors, n.factors...), append(codes, n.codes...), append(keys, n.passkeys...)
		events = append(events, account.Creation(n.account.Seen(n.roleNames())))
	}
	if err := user.Restore(ctx, tx, accounts); err != nil {
		return err
	}
	if err := role.RestoreHeld(ctx, tx, held, roles); err != nil {
		return err
	}
	if err := profile.Restore(ctx, tx, profiles); err != nil {
		return err
	}
	if err := r.Factors.Restore(ctx, tx, factors, codes); err != nil {
		return err
	}
	if err := passkey.Restore(ctx, tx, keys); err != nil {
		return err
	}
	return audit.RecordMany(ctx, tx, r.by, events)
}

// surroundings are what this service has that a batch could meet; what the batch makes is added.
type surroundings struct {
	ids                    map[id.ID]bool
	addresses, externalIDs map[string]id.ID
	gone                   map[id.ID]bool
	credentials            map[string]bool
	roles                  map[string]id.ID
	fresh                  map[id.ID]bool // made by an earlier line of this batch
}

func (r *restorer) look(ctx context.Context, tx postgres.Tx) (*surroundings, error) {
	ids, addresses, externalIDs, credentials := claims(r.batch)
	known, err := user.KnownBy(ctx, tx, ids, addresses, externalIDs)
	if err != nil {
		return nil, err
	}
	there := &surroundings{ids: map[id.ID]bool{}, addresses: map[string]id.ID{}, externalIDs: map[string]id.ID{}, fresh: map[id.ID]bool{}}
	for _, k := range known {
		there.ids[k.ID] = true
		if k.EmailNorm != nil {
			there.addresses[*k.EmailNorm] = k.ID
		}
		if k.ExternalID != nil {
			there.externalIDs[*k.ExternalID] = k.ID
		}
	}
	if there.gone, err = audit.Gone(ctx, tx, ids); err != nil {
		return nil, err
	}
	if there.credentials, err = passkey.Registered(ctx, tx, credentials); err != nil {
		return nil, err
	}
	if there.credentials == nil {
		there.credentials = map[string]bool{}
	}
	names := map[string]bool{}
	for _, n := range r.batch {
		for _, h := range n.roles {
			names[h.Role] = true
		}
	}
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	there.roles, err = role.IDsOf(ctx, tx, list)
	return there, err
}

// find returns the account that a line is about, or why that is none or several.
func (t *surroundings) find(a *user.Carried) (id.ID, *fault.Error) {
	claimants := make([]id.ID, 0, 3)
	if t.ids[a.ID] {
		claimants = append(claimants, a.ID)
	}
	if a.EmailNorm != nil {
		claimants = append(claimants, t.addresses[*a.EmailNorm])
	}
	if a.ExternalID != nil {
		claimants = append(claimants, t.externalIDs[*a.ExternalID])
	}
	found := id.Nil
	for _, who := range claimants {
		switch {
		case who == id.Nil:
		case t.fresh[who]:
			return id.Nil, errTwice
		case found != id.Nil && found != who:
			return id.Nil, account.ErrAmbiguous
		default:
			found = who
		}
	}
	return found, nil
}

// refuse says why a new account cannot be made here.
func (t *surroundings) refuse(c *carried, inFile map[string]bool, dryRun bool) *fault.Error {
	if t.gone[c.account.ID] {
		return errGone
	}
	var v fault.Validation
	given := map[string]bool{}
	for i, h := range c.roles {
		switch _, there := t.roles[h.Role]; {
		case given[h.Role]:
			v.Add(pointer("roles", i), "duplicate", "The account has the role twice.")
		case !there && !(dryRun && inFile[h.Role]):
			v.Add(pointer("roles", i), "unknown_role", "There is no role of this name here.")
		}
		given[h.Role] = true
	}
	own := map[string]bool{}
	for i, k := range c.passkeys {
		if t.credentials[string(k.CredentialID)] || own[string(k.CredentialID)] {
			v.Add(pointer("passkeys", i), "already_exists", "This passkey is registered here already.")
		}
		own[string(k.CredentialID)] = true
	}
	codes := map[string]bool{}
	for i, code := range c.codes {
		if codes[string(code.Hash)] {
			v.Add(pointer("recovery_codes", i), "duplicate", "The account has the code twice.")
		}
		codes[string(code.Hash)] = true
	}
	return fault.As(v.Err())
}

// add is for the lines of the same batch that come after.
func (t *surroundings) add(c *carried) {
	a := &c.account
	t.ids[a.ID], t.fresh[a.ID] = true, true
	if a.EmailNorm != nil {
		t.addresses[*a.EmailNorm] = a.ID
	}
	if a.ExternalID != nil {
		t.externalIDs[*a.ExternalID] = a.ID
	}
	for _, k := range c.passkeys {
		t.credentials[string(k.CredentialID)] = true
	}
}

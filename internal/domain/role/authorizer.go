package role

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Authorizer is the lattice: the one check below every path on which somebody gives, takes or touches something.
// It decides from the database inside the caller's transaction, by ids, never from what a cache remembers of the
// caller. The service itself (actor.System) passes; API keys count as their scopes within their owner's permissions.
//
// Two transactions at once are as if one came after the other: a role that gains a permission while it is being
// assigned gained it afterwards, by somebody who may give that permission.
type Authorizer struct{}

// Effective returns the permissions that an account holds now, whatever its status; with until, only those that its
// present assignments still give it then. Sorted; not found is empty.
func (Authorizer) Effective(ctx context.Context, db postgres.DB, user id.ID, until *time.Time) (actor.Permissions, error) {
	if until == nil {
		return effective(ctx, db, user, now)
	}
	return effective(ctx, db, user, lasting(until))
}

// CheckGrant refuses, with actor.ErrEscalation, to give what lies outside the caller's own set. The grant ends at
// until (nil: never), and only holds of the caller that last as long count.
func (Authorizer) CheckGrant(ctx context.Context, tx postgres.Tx, by actor.Actor, what actor.Permissions, until *time.Time) error {
	return checkWithin(ctx, tx, by, what, lasting(until))
}

// CheckOwn refuses, with actor.ErrEscalation, what lies outside the caller's set of this moment. It is for what is
// bounded anew at each use (the scopes of a key), and for what is taken away.
func (Authorizer) CheckOwn(ctx context.Context, tx postgres.Tx, by actor.Actor, what actor.Permissions) error {
	return checkWithin(ctx, tx, by, what, now)
}

func checkWithin(ctx context.Context, tx postgres.Tx, by actor.Actor, what actor.Permissions, h horizon) error {
	if by.Kind == actor.System || len(what) == 0 {
		return nil
	}
	own, err := ownOf(ctx, tx, by, h)
	if err != nil {
		return err
	}
	if !own.Contains(what) {
		return actor.ErrEscalation
	}
	return nil
}

// CheckTarget refuses, with actor.ErrEscalation, to touch an account that holds a built-in permission, or a wildcard
// over one, which the caller lacks. Everyone may touch himself in a session.
func (Authorizer) CheckTarget(ctx context.Context, tx postgres.Tx, by actor.Actor, user id.ID) error {
	return checkAgainst(ctx, tx, by, user, touchesBuiltin)
}

// CheckControl refuses, with actor.ErrEscalation, to hand out control over an account (a key, a reset factor) that
// holds any permission which the caller lacks.
func (Authorizer) CheckControl(ctx context.Context, tx postgres.Tx, by actor.Actor, user id.ID) error {
	return checkAgainst(ctx, tx, by, user, func(string) bool { return true })
}

// Withdraw takes those of the roles from an account that it holds, whoever gave them, and returns their names. It is for an
// account that nobody has taken yet, and so asks neither the lattice nor for the last administrator. The caller records the
// event and announces the change.
func (Authorizer) Withdraw(ctx context.Context, tx postgres.Tx, user id.ID, roles []id.ID) ([]string, error) {
	return withdraw(ctx, tx, user, roles)
}

// Vouches says whether an account has the permission and everything that these roles hold, now: what it once gave it could
// give still.
func (Authorizer) Vouches(ctx context.Context, db postgres.DB, user id.ID, permission string, roles []id.ID) (bool, error) {
	own, err := effective(ctx, db, user, now)
	if err != nil || !own.Has(permission) {
		return false, err
	}
	content, err := contentOf(ctx, db, roles)
	return err == nil && own.Contains(content), err
}

func checkAgainst(ctx context.Context, tx postgres.Tx, by actor.Actor, user id.ID, counts func(string) bool) error {
	if by.Kind == actor.System || (by.Kind == actor.User && by.Is(user)) {
		return nil
	}
	theirs, err := effective(ctx, tx, user, now)
	if err != nil {
		return err
	}
	theirs = slices.DeleteFunc(theirs, func(p string) bool { return !counts(p) })
	return checkWithin(ctx, tx, by, theirs, now)
}

// checkHolders refuses, with actor.ErrEscalation, to change a role in the hands of somebody whom CheckTarget keeps from the
// caller: else an edit or a deletion would take from him what an unassignment may not.
func (Authorizer) checkHolders(ctx context.Context, tx postgres.Tx, by actor.Actor, role id.ID) error {
	if by.Kind == actor.System {
		return nil
	}
	own, err := ownOf(ctx, tx, by, now)
	if err != nil || own.Has(actor.All) {
		return err
	}
	all, err := contents(ctx, tx)
	if err != nil {
		return err
	}
	var above []id.ID
	for r, c := range all {
		if slices.ContainsFunc(c.permissions, func(p string) bool { return touchesBuiltin(p) && !own.Has(p) }) {
			above = append(above, r)
		}
	}
	held, err := heldBeside(ctx, tx, role, above, by.UserID)
	if err == nil && held {
		err = actor.ErrEscalation
	}
	return err
}

// ownOf returns what the caller may do. Nobody may do nothing.
func ownOf(ctx context.Context, tx postgres.Tx, by actor.Actor, h horizon) (actor.Permissions, error) {
	switch by.Kind {
	case actor.System:
		return actor.Permissions{actor.All}, nil
	case actor.User:
		return effective(ctx, tx, by.UserID, h)
	case actor.APIKey:
		owner, err := effective(ctx, tx, by.UserID, h)
		if err != nil {
			return nil, err
		}
		scopes, err := scopesOf(ctx, tx, by.KeyID)
		if err != nil {
			return nil, err
		}
		return owner.Intersect(scopes), nil
	default:
		return nil, nil
	}
}

// KeepAnAdmin guards the last administrator: an active, verified human with a password or a passkey who holds role
// admin directly and without an end. Call it before a change that could cost one, and check after the change, in the same
// transaction: check returns ErrLastAdmin when there was one and there is none any more. Until the transaction ends
// others that call it wait.
func (Authorizer) KeepAnAdmin(ctx context.Context, tx postgres.Tx) (check func(ctx context.Context) error, err error) {
	if err := lockAdmins(ctx, tx); err != nil {
		return nil, err
	}
	before, err := countAdmins(ctx, tx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if before == 0 {
			return nil
		}
		after, err := countAdmins(ctx, tx)
		if err != nil {
			return err
		}
		if after == 0 {
			return ErrLastAdmin
		}
		return nil
	}, nil
}

// CheckRegistered refuses names that are neither registered permissions, nor the wildcard of a resource that has one,
// nor *: a validation fault per name at pointer/N, code unknown_permission. The rows stay locked against deletion
// until tx ends, so call it in the transaction that stores the names.
func (a Authorizer) CheckRegistered(ctx context.Context, tx postgres.Tx, pointer string, names []string) error {
	unknown, err := a.unregistered(ctx, tx, pointer, names)
	if err != nil {
		return err
	}
	return invalid(unknown)
}

func (Authorizer) unregistered(ctx context.Context, tx postgres.Tx, pointer string, names []string) ([]fault.Field, error) {
	var plain, resources []string
	for _, name := range names {
		if resource, ok := resourceOf(name); ok {
			resources = append(resources, resource)
		} else if permissionName.MatchString(name) {
			plain = append(plain, name)
		}
	}
	found, err := registered(ctx, tx, plain, resources)
	if err != nil {
		return nil, err
	}
	good := map[string]bool{actor.All: true}
	for _, name := range found {
		resource, _, _ := strings.Cut(name, ":")
		good[name], good[resource+":*"] = true, true
	}
	var unknown []fault.Field
	for i, name := range names {
		if !good[name] {
			unknown = append(unknown, fault.Field{
				Pointer: pointer + "/" + strconv.Itoa(i), Code: "unknown_permission",
				Detail: "This is no registered permission, no wildcard of a resource that has one, and not *.",
			})
		}
	}
	return unknown, nil
}

// find returns the ids of the roles of these names, locked against deletion, and a fault for each name that is none.
func find(ctx context.Context, tx postgres.Tx, pointer string, names []string) ([]id.ID, []fault.Field, error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	ids, err := IDsOf(ctx, tx, names)
	if err != nil {
		return nil, nil, err
	}
	var roles []id.ID
	var unknown []fault.Field
	for i, name := range names {
		role, ok := ids[name]
		switch {
		case !ok:
			unknown = append(unknown, fault.Field{
				Pointer: pointer + "/" + strconv.Itoa(i), Code: "unknown_role", Detail: "There is no role of this name.",
			})
		case !slices.Contains(roles, role):
			roles = append(roles, role)
		}
	}
	return roles, unknown, nil
}

func invalid(fields []fault.Field) error {
	var v fault.Validation
	for _, f := range fields {
		v.Add(f.Pointer, f.Code, f.Detail)
	}
	return v.Err()
}

// GrantNames gives an account roles by name, for good, with everything that giving needs; see Grantable. The caller records
// the event and announces the change.
func (a Authorizer) GrantNames(
	ctx context.Context, tx postgres.Tx, by actor.Actor, user id.ID, pointer string, names []string,
) error {
	roles, err := a.Grantable(ctx, tx, by, pointer, names)
	if err != nil || len(roles) == 0 {
		return err
	}
	return assign(ctx, tx, user, roles, nil)
}

// Grantable returns the roles of these names, locked against deletion until tx ends, if the caller may give them for good: in
// a session, with roles:assign, and contents within his own. Unknown names are a validation fault at pointer/N, code
// unknown_role; role `user` may be named and is not among them, since everyone has it.
func (a Authorizer) Grantable(ctx context.Context, tx postgres.Tx, by actor.Actor, pointer string, names []string) ([]id.ID, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if by.Kind == actor.APIKey {
		return nil, actor.ErrSessionRequired
	}
	if !by.May(AssignPermission) {
		return nil, actor.Denied(AssignPermission)
	}
	roles, unknown, err := find(ctx, tx, pointer, names)
	if err != nil {
		return nil, err
	}
	if err := invalid(unknown); err != nil {
		return nil, err
	}
	roles = slices.DeleteFunc(roles, func(role id.ID) bool { return role == UserID })
	if len(roles) == 0 {
		return nil, nil
	}
	content, err := contentOf(ctx, tx, roles)
	if err != nil {
		return nil, err
	}
	return roles, a.CheckGrant(ctx, tx, by, content, nil)
}

// GrantNew gives roles that are Grantable to accounts that tx has made: each pair is one. One statement.
func (Authorizer) GrantNew(ctx context.Context, tx postgres.Tx, users, roles []id.ID) error {
	if len(users) == 0 {
		return nil
	}
	return assignNew(ctx, tx, users, roles)
}

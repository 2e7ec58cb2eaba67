// Package upkeep is what an operator's commands ask and change across nouns: what follows a restore, and whether the
// master key opens what is stored.
package upkeep

import (
	"context"
	"fmt"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// Restored is what FinishRestore did.
type Restored struct {
	Accounts       int64 // whose epoch was raised
	Sessions       int64 // ended, and with them their refresh and access tokens
	OneTimeTokens  int64 // of mailed links and codes
	PendingSignIns int64 // that waited for a second factor
	Challenges     int64 // of passkeys
	Answers        int64 // kept for repeats of a request
	Mails          int64 // that waited to be sent
	KeysRevoked    int64 // API keys, when that was wanted
	KeysAlive      int64 // API keys that can be used
	Key            signing.Rotation
}

// FinishRestore ends everything that a database out of a backup would let live again: what was revoked, used or replaced
// after the backup was made is in it as if nothing had happened. It raises every account's epoch, ends all sessions,
// voids mailed links and codes, started sign-ins, kept answers and waiting mails, and replaces the signing keys at once.
// So every token that was issued before is refused, whether the backup knows it or not. It also gives the service's
// database role the settings that a dump does not carry.
//
// API keys are known by nobody but the programs that use them, so they live on unless revokeKeys: those that were revoked
// after the backup are alive again.
//
// All of it is one transaction with its audit event: after an interruption nothing has happened, and once more does no
// harm but that people sign in once more. While it runs nobody can sign in.
func FinishRestore(ctx context.Context, db *postgres.Pool, keys *signing.Service, changes actor.Changes, by actor.Actor, revokeKeys bool) (Restored, error) {
	var r Restored
	err := db.InTx(ctx, func(ctx context.Context, tx postgres.Tx) (err error) {
		r = Restored{}
		if err := takeAll(ctx, tx); err != nil {
			return err
		}
		for _, step := range r.steps(revokeKeys) {
			if *step.count, err = void(ctx, tx, step.sql); err != nil {
				return fmt.Errorf("%s: %w", step.what, err)
			}
		}
		if r.KeysAlive, err = liveKeys(ctx, tx); err != nil {
			return err
		}
		if r.Key, err = keys.ReplaceIn(ctx, tx, by, "after a restore"); err != nil {
			return err
		}
		if err := postgres.SetRoleSettings(ctx, tx); err != nil {
			return err
		}
		if err := changes.OfEveryone(ctx, tx); err != nil {
			return err
		}
		return audit.Record(ctx, tx, by, audit.Event{
			Action: "restore.finish", Outcome: audit.Success, Target: audit.Target{Type: "database"}, Changes: r.told(),
		})
	})
	if err != nil {
		return Restored{}, fmt.Errorf("finish restore: %w", err)
	}
	return r, nil
}

// told is what the audit log keeps of it.
func (r *Restored) told() map[string]audit.Change {
	changes := map[string]audit.Change{}
	for _, step := range r.steps(true) {
		changes[step.what] = audit.Change{From: *step.count, To: 0}
	}
	return changes
}

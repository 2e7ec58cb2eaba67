// Package transfer takes accounts out of a service and brings them into another: whole, with what signs them in. It is for
// the operator, on the server; what clients may do is package bulk's and user's.
package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// exportBatch is how many accounts an export reads at once: memory does not grow with their number.
const exportBatch = 500

// Deps is what the service stands on.
type Deps struct {
	DB        *postgres.Pool
	Factors   *mfa.Service
	Profiles  *profile.Service
	Roles     *role.Service
	Clock     clock.Clock
	PasskeyRP string // the relying party id of passkeys; empty: none are offered
}

// Service does it.
type Service struct{ Deps }

// NewService returns the service.
func NewService(d Deps) *Service { return &Service{d} }

// Exported is what a file holds.
type Exported struct {
	Users       int64 `json:"users"`
	Roles       int   `json:"roles"`
	Permissions int   `json:"permissions"`
	Secrets     bool  `json:"secrets"`
}

// Export writes every account, as of one moment: with what hangs on it, the application's permissions, and the roles. With
// secrets the file also holds password hashes, the secrets of second factors in the open, hashes of recovery codes, and
// passkeys. That anybody takes them is recorded before the first is read. For the service's command line alone. tell, if
// there is one, hears how many accounts are written.
func (s *Service) Export(ctx context.Context, by actor.Actor, secrets bool, w io.Writer, tell func(users int64)) (Exported, error) {
	if by.Kind != actor.System {
		return Exported{}, actor.Denied(user.ExportPermission)
	}
	event := audit.Event{Action: "user.bulk_export", Outcome: audit.Success, Target: audit.Target{Type: "user"}}
	if secrets {
		event.Reason = "with secrets"
	}
	if err := audit.Record(ctx, s.DB, by, event); err != nil {
		return Exported{}, err
	}
	out := bufio.NewWriterSize(w, 256<<10)
	x := exporter{s, secrets, out, Exported{Secrets: secrets}}
	err := s.DB.InSnapshot(ctx, func(ctx context.Context, db postgres.DB) error { return x.all(ctx, db, tell) })
	if err != nil {
		return Exported{}, err
	}
	if err := out.Flush(); err != nil {
		return Exported{}, fmt.Errorf("write export: %w", err)
	}
	return x.did, nil
}

type exporter struct {
	*Service
	secrets bool
	out     *bufio.Writer
	did     Exported
}

func (x *exporter) write(record any) error {
	err := json.MarshalWrite(x.out, record)
	if err == nil {
		err = x.out.WriteByte('\n')
	}
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

func (x *exporter) all(ctx context.Context, db postgres.DB, tell func(int64)) error {
	err := x.write(header{headerRecord, format, version, x.secrets, sensible(x.Clock.Now(), x.Clock.Now()), x.PasskeyRP})
	if err != nil {
		return err
	}
	if err := x.registry(ctx, db); err != nil {
		return err
	}
	for after := id.Nil; ; {
		batch, err := x.batch(ctx, db, after)
		if err != nil {
			return err
		}
		for _, c := range batch {
			if err := x.write(c.line(x.secrets)); err != nil {
				return err
			}
			after = c.account.ID
		}
		if x.did.Users += int64(len(batch)); tell != nil {
			tell(x.did.Users)
		}
		if len(batch) < exportBatch {
			return x.write(end{endRecord, x.did.Users})
		}
	}
}

// registry writes the application's permissions, and the roles but for admin, which is the same everywhere.
func (x *exporter) registry(ctx context.Context, db postgres.DB) error {
	permissions, roles, err := role.Registry(ctx, db)
	if err != nil {
		return err
	}
	for _, p := range permissions {
		if err := x.write(permissionLine{permissionRecord, p.Name, p.Description}); err != nil {
			return err
		}
		x.did.Permissions++
	}
	for _, r := range roles {
		if r.ID == role.AdminID {
			continue
		}
		if err := x.write(roleLine{roleRecord, r.Name, r.Description, r.Permissions, r.Inherits, r.RequireMFA, r.System}); err != nil {
			return err
		}
		x.did.Roles++
	}
	return nil
}

// batch reads the next accounts with what hangs on them, in one statement a noun.
func (x *exporter) batch(ctx context.Context, db postgres.DB, after id.ID) ([]*carried, error) {
	accounts, err := user.Carry(ctx, db, after, exportBatch)
	if err != nil || len(accounts) == 0 {
		return nil, err
	}
	ids, batch, at := make([]id.ID, len(accounts)), make([]*carried, len(accounts)), make(map[id.ID]*carried, len(accounts))
	for i, a := range accounts {
		ids[i], batch[i] = a.ID, &carried{account: a}
		at[a.ID] = batch[i]
	}
	held, err := role.HeldBy(ctx, db, ids)
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		at[h.UserID].roles = append(at[h.UserID].roles, h)
	}
	profiles, err := profile.Carry(ctx, db, ids)
	if err != nil {
		return nil, err
	}
	for owner, p := range profiles {
		at[owner].profile = p
	}
	if !x.secrets {
		return batch, nil
	}
	factors, codes, err := x.Factors.Carry(ctx, db, ids)
	if err != nil {
		return nil, err
	}
	for _, f := range factors {
		at[f.UserID].factors = append(at[f.UserID].factors, f)
	}
	for _, c := range codes {
		at[c.UserID].codes = append(at[c.UserID].codes, c)
	}
	keys, err := passkey.Carry(ctx, db, ids)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		at[k.UserID].passkeys = append(at[k.UserID].passkeys, k)
	}
	return batch, nil
}

func pointer(member string, i int) string { return "/" + member + "/" + strconv.Itoa(i) }

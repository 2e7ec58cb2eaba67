package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
)

// maxRecord is how long a line of a file may be, in bytes: an account with all that it may have stays below.
const maxRecord = 2 << 20

// A transaction brings in so many accounts, or so many bytes of them: memory does not grow with the file.
const (
	restoreBatch = 2000
	restoreBytes = 4 << 20
)

// The ends of a file that is none, or not all of one.
var (
	ErrFormat  = errors.New("the file does not begin as an export of this service: its first line is no header")
	ErrVersion = errors.New("the file was written by a later version of this service; import it with that one")
	ErrCutOff  = errors.New("the file ends before its last line: it was cut off when it was written or copied. " +
		"What it holds was imported; export again, and import that")
	errRecord = fault.New(fault.Malformed, "malformed_line", "The line is not one well-formed record of this format, in its place.")
	errLong   = fault.New(fault.TooLarge, "line_too_long", "The line is longer than any account.")
)

// IsExport says whether a file is one that Export wrote, by its beginning.
func IsExport(beginning []byte) bool {
	line, _, _ := bytes.Cut(beginning, []byte("\n"))
	var h struct {
		Format string `json:"format"`
	}
	return json.Unmarshal(line, &h) == nil && h.Format == format
}

// Restore brings the accounts of a file into this service as they were: under their ids, with what signs them in, sealed
// anew under this service's master key. Roles and permissions that are missing are made first. An account that is there, by
// id, address or external id, is left alone or updated, so that a file can be imported again after an end in the middle; one
// that was deleted here does not come back. A line that cannot be taken is told, and the others go on. The service may run
// meanwhile. For its command line alone.
func (s *Service) Restore(ctx context.Context, by actor.Actor, in io.Reader, o Options, l Listener) (Restored, error) {
	if by.Kind != actor.System {
		return Restored{}, actor.Denied("users:import")
	}
	r := &restorer{Service: s, by: by, o: o, tell: l, known: map[string]bool{}}
	r.did.RolesDiffer = []string{}
	err := r.all(ctx, bufio.NewReaderSize(in, 256<<10))
	return r.did, err
}

type restorer struct {
	*Service
	by   actor.Actor
	o    Options
	tell Listener
	did  Restored

	line   int64
	begun  bool
	ended  bool
	known  map[string]bool // names of roles in the file: a dry run has not made them
	roles  []role.Role     // those of this service, by the time of the first role of the file
	listed bool
	batch  []numbered
	size   int // of the lines of the batch, in bytes
}

// numbered is an account and the line that it stands in.
type numbered struct {
	line int64
	*carried
}

func (r *restorer) all(ctx context.Context, in *bufio.Reader) error {
	for {
		text, err := nextRecord(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read import: %w", err)
		}
		last := err != nil
		r.line++
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if err := r.record(ctx, text); err != nil {
				return err
			}
		}
		if len(r.batch) == restoreBatch || r.size >= restoreBytes || last {
			if err := r.flush(ctx); err != nil {
				return err
			}
		}
		if last {
			return r.whole()
		}
	}
}

func (r *restorer) whole() error {
	switch {
	case !r.begun:
		return ErrFormat
	case !r.ended:
		return ErrCutOff
	}
	return nil
}

// nextRecord reads a line; of one that is too long, its beginning.
func nextRecord(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line) <= maxRecord {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// record takes one line. What it returns ends the import; what is wrong with the line alone is told.
func (r *restorer) record(ctx context.Context, text []byte) error {
	var kind struct {
		Record string `json:"record"`
	}
	if len(text) <= maxRecord {
		if err := json.Unmarshal(text, &kind); err != nil {
			kind.Record = ""
		}
	}
	if !r.begun {
		return r.begin(ctx, kind.Record, text)
	}
	var err error
	switch {
	case r.ended:
		err = errRecord
	case len(text) > maxRecord:
		r.did.Read++
		err = errLong
	case kind.Record == permissionRecord:
		err = r.permission(ctx, text)
	case kind.Record == roleRecord:
		err = r.role(ctx, text)
	case kind.Record == userRecord:
		err = r.user(text)
	case kind.Record == endRecord:
		var e end
		if err = decode(text, &e); err == nil && e.Users != r.did.Read {
			return ErrCutOff
		}
		r.ended = true
	default:
		r.did.Read++ // what cannot be read counts as an account, so that the end fits
		err = errRecord
	}
	if f := fault.As(err); f != nil && f.Kind != fault.Unavailable {
		r.did.Failed++
		r.tell.reject(NewRejection(r.line, f))
		return nil
	}
	return err
}

func decode(text []byte, to any) error {
	err := json.Unmarshal(text, to, json.RejectUnknownMembers(true))
	var semantic *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, json.ErrUnknownName):
		return fault.InvalidField("", "unknown_field", "The line has a member that does not exist here.")
	case errors.As(err, &semantic) && semantic.JSONPointer != "":
		return fault.InvalidField(string(semantic.JSONPointer), "invalid_type", "This has another type.")
	}
	return errRecord
}

func (r *restorer) begin(ctx context.Context, kind string, text []byte) error {
	var h header
	if kind != headerRecord || json.Unmarshal(text, &h) != nil || h.Format != format {
		return ErrFormat
	}
	if h.Version != version {
		return ErrVersion
	}
	r.begun, r.did.Secrets = true, h.Secrets
	r.did.OtherSite = h.Secrets && h.PasskeyRP != "" && h.PasskeyRP != r.PasskeyRP
	e := audit.Event{Action: "user.import", Outcome: audit.Success, Target: audit.Target{Type: "import"}, Changes: map[string]audit.Change{
		"format": {To: format}, "secrets": {To: h.Secrets}, "dry_run": {To: r.o.DryRun}, "on_conflict": {To: r.o.OnConflict},
	}}
	return audit.Record(ctx, r.DB, r.by, e)
}

func (r *restorer) permission(ctx context.Context, text []byte) error {
	var l permissionLine
	if err := decode(text, &l); err != nil {
		return err
	}
	known, err := role.Registered(ctx, r.DB, l.Name)
	if err != nil || known {
		return err
	}
	r.did.Permissions++
	if r.o.DryRun {
		return nil
	}
	_, err = r.Roles.CreatePermission(ctx, r.by, role.NewPermission{Name: l.Name, Description: l.Description}, nil)
	if errors.Is(err, role.ErrPermissionExists) {
		r.did.Permissions-- // somebody has just made it
		return nil
	}
	return err
}

func (r *restorer) role(ctx context.Context, text []byte) error {
	var l roleLine
	if err := decode(text, &l); err != nil {
		return err
	}
	if !r.listed {
		_, roles, err := role.Registry(ctx, r.DB)
		if err != nil {
			return err
		}
		r.roles, r.listed = roles, true
	}
	r.known[l.Name] = true
	at := slices.IndexFunc(r.roles, func(there role.Role) bool { return there.Name == l.Name })
	switch {
	case at < 0:
		r.did.RolesCreated++
		if r.o.DryRun {
			return nil
		}
		_, err := r.Roles.Create(ctx, r.by, role.New{
			Name: l.Name, Description: l.Description, Permissions: l.Permissions, Inherits: l.Inherits, RequireMFA: l.RequireMFA,
		}, nil)
		if err != nil {
			r.did.RolesCreated--
		}
		return err
	case sameContent(r.roles[at], &l):
		return nil
	case r.o.OnConflict != Update:
		r.did.RolesDiffer = append(r.did.RolesDiffer, l.Name)
		return nil
	}
	r.did.RolesUpdated++
	if r.o.DryRun {
		return nil
	}
	p := role.Patch{Permissions: patch.To(l.Permissions), Inherits: patch.To(l.Inherits), RequireMFA: patch.To(l.RequireMFA)}
	p.Description = patch.Field[string]{Set: true, Null: l.Description == nil}
	if l.Description != nil {
		p.Description.Value = *l.Description
	}
	_, err := r.Roles.Update(ctx, r.by, r.roles[at].ID, p, nil)
	if err != nil {
		r.did.RolesUpdated--
	}
	return err
}

func (r *restorer) user(text []byte) error {
	r.did.Read++
	var l userLine
	if err := decode(text, &l); err != nil {
		return err
	}
	if !plain(text) {
		return fault.InvalidField("", "invalid_format", "No text may hold U+0000.")
	}
	c, err := r.read(&l)
	if err != nil {
		return err
	}
	r.batch = append(r.batch, numbered{r.line, c})
	r.size += len(text)
	return nil
}

// plain says that no text holds U+0000, which PostgreSQL stores nowhere.
func plain(text []byte) bool {
	if !bytes.Contains(text, []byte(`\u0000`)) {
		return true
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return true
		}
		if tok.Kind() == '"' && bytes.ContainsRune([]byte(tok.String()), 0) {
			return false
		}
	}
}

// adminChanges is what an update changes.
func (c *carried) adminChanges() user.AdminChanges {
	a := &c.account
	changes := user.AdminChanges{Changes: user.Changes{DisplayName: patch.Of(a.DisplayName), Locale: patch.Of(a.Locale), Timezone: patch.Of(a.Timezone)}}
	changes.ExternalID = patch.Of(a.ExternalID)
	if a.Metadata != nil {
		changes.Metadata = patch.To(a.Metadata)
	}
	if a.AppMetadata != nil {
		changes.AppMetadata = patch.To(a.AppMetadata)
	}
	return changes
}

// claims are what must be an account's alone.
func claims(batch []numbered) (ids []id.ID, addresses, externalIDs []string, credentials [][]byte) {
	for _, n := range batch {
		ids = append(ids, n.account.ID)
		if n.account.EmailNorm != nil {
			addresses = append(addresses, *n.account.EmailNorm)
		}
		if n.account.ExternalID != nil {
			externalIDs = append(externalIDs, *n.account.ExternalID)
		}
		for _, k := range n.passkeys {
			credentials = append(credentials, k.CredentialID)
		}
	}
	return ids, addresses, externalIDs, credentials
}

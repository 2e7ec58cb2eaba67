package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/transfer"
)

// What a report holds of lines that were not taken; --errors FILE has all of them.
const (
	shownErrors = 100
	keptErrors  = 1000
)

// importing is what the flags of ums import say.
type importing struct {
	from, onConflict, delimiter, errorsFile string
	columns                                 []string
	dryRun, asJSON                          bool
	mapping                                 transfer.Mapping
}

func (e *environment) importFile() *cobra.Command {
	var i importing
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Bring accounts in from a file of this service or of another program",
		Long: "Bring accounts in from FILE, or from standard input (-), also while the service runs. Nobody is mailed. Accounts that are there, by external id\n" +
			"or address, are left alone, so that the same file can be imported again after an interruption.\n\n" +
			"  --from ums            what ums export wrote, or lines as POST /users/import takes them\n" +
			"  --from fastapi-users  the table user of fastapi-users, as CSV or JSON\n" +
			"  --from supabase       Supabase's auth.users, as CSV or JSON\n" +
			"  --from csv            columns named as the members of an import line, such as email, password_hash, profile.given_name;\n" +
			"                        --column MEMBER=NAME for those that are called otherwise\n\n" +
			"Exit code 0: every line was taken, 1: some were not, or the import failed, 2: wrong call.",
		Example: "  ums import users.ndjson\n  ums import --from supabase --dry-run auth_users.csv\n" +
			"  ums import --from csv --column email=E-Mail --column profile.family_name=Surname --delimiter ';' people.csv\n" +
			"  age -d users.ndjson.age | ums import -",
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := i.complete(); err != nil {
				return usageError{fmt.Errorf("%w; see ums import --help", err)}
			}
			cfg, _, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			return e.bringIn(cmd, cfg, args[0], &i)
		},
	}
	f := cmd.Flags()
	f.StringVar(&i.from, "from", string(transfer.Native), "what the file is: ums, fastapi-users, supabase or csv")
	f.StringVar(&i.onConflict, "on-conflict", string(transfer.Skip), "for accounts that are there: skip, or update names, locale, metadata and profile")
	f.BoolVar(&i.dryRun, "dry-run", false, "say what would become of each line, and change nothing")
	f.BoolVar(&i.asJSON, "json", false, "print the report as JSON")
	f.StringVar(&i.errorsFile, "errors", "", "write every line that was not taken, and why, into this file (NDJSON)")
	f.StringArrayVar(&i.columns, "column", nil, "of a table: MEMBER=NAME, the column NAME is this member; may be repeated")
	f.StringVar(&i.delimiter, "delimiter", ",", "of a table: what stands between columns; \\t is a tab")
	f.BoolVar(&i.mapping.AssumeVerified, "assume-verified", false, "vouch for every address: accounts are active, and keep their passwords")
	f.BoolVar(&i.mapping.KeepOthers, "keep-others", false, "put columns that have no place here into app_metadata")
	f.StringVar(&i.mapping.SuperuserRole, "superuser-role", "", "of fastapi-users: the role that superusers get")
	return cmd
}

// complete checks the flags together.
func (i *importing) complete() error {
	m := &i.mapping
	m.From, m.Now = transfer.Format(i.from), time.Now()
	if !slices.Contains(transfer.Formats, m.From) {
		return fmt.Errorf("--from is %q; use ums, fastapi-users, supabase or csv", i.from)
	}
	if i.onConflict != string(transfer.Skip) && i.onConflict != string(transfer.Update) {
		return fmt.Errorf("--on-conflict is %q; use skip or update", i.onConflict)
	}
	if i.delimiter == `\t` {
		i.delimiter = "\t"
	}
	r, size := utf8.DecodeRuneInString(i.delimiter)
	if size == 0 || size != len(i.delimiter) || strings.ContainsRune("\"\r\n\uFEFF\uFFFD", r) {
		return errors.New("--delimiter must be one character, no quote and no line break")
	}
	m.Delimiter = r
	if len(i.columns) > 0 && m.From != transfer.CSV {
		return errors.New("--column is for --from csv")
	}
	if m.SuperuserRole != "" && m.From != transfer.FastAPIUsers {
		return errors.New("--superuser-role is for --from fastapi-users")
	}
	if (m.AssumeVerified || m.KeepOthers) && m.From == transfer.Native {
		return errors.New("--assume-verified and --keep-others are for files of other programs")
	}
	m.Columns = map[string]string{}
	for _, c := range i.columns {
		member, name, ok := strings.Cut(c, "=")
		if !ok || name == "" || !transfer.IsMember(member) {
			return fmt.Errorf("--column %q: give MEMBER=NAME, where MEMBER is one such as email or profile.phone", c)
		}
		if _, twice := m.Columns[name]; twice {
			return fmt.Errorf("--column names %q twice", name)
		}
		m.Columns[name] = member
	}
	return nil
}

// importReport is the report as JSON.
type importReport struct {
	File   string          `json:"file"`
	From   transfer.Format `json:"from"`
	DryRun bool            `json:"dry_run"`
	transfer.Report
	NotMapped []transfer.NotMapped `json:"not_mapped,omitzero"`
	Export    *transfer.Content    `json:"export,omitempty"`
	Errors    []transfer.Rejection `json:"errors"`
	LeftOut   int64                `json:"errors_left_out"`
}

func (e *environment) bringIn(cmd *cobra.Command, cfg *config.Config, name string, i *importing) (err error) {
	in, size, err := openInput(cmd, name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	told := rejections{kept: []transfer.Rejection{}}
	if !i.asJSON {
		told.say = cmd.ErrOrStderr()
	}
	if i.errorsFile != "" {
		f, err := createErrors(i.errorsFile, name)
		if err != nil {
			return err
		}
		told.all = f
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	bar := newProgress(cmd.ErrOrStderr())
	told.bar = bar
	from := &counted{in: in, tell: func(n int64) { bar.show(n, size, "bytes read") }}
	did, failed := app.Import(cmd.Context(), cfg, from, i.mapping,
		transfer.Options{OnConflict: transfer.OnConflict(i.onConflict), DryRun: i.dryRun}, transfer.Listener{
			Reject: told.add, Progress: func(done, total int64) { bar.show(done, total, "accounts") },
		})
	bar.end()
	if failed == nil || did.Read > 0 {
		r := importReport{
			File: name, From: i.mapping.From, DryRun: i.dryRun, Report: did.Report, NotMapped: did.NotMapped,
			Errors: told.kept, LeftOut: told.n - int64(len(told.kept)),
		}
		if x := did.Restored; x != nil {
			r.Export = &x.Content
		}
		if i.asJSON {
			err = e.printJSON(r)
		} else {
			err = r.print(e.stdout)
		}
	}
	if err = errors.Join(err, failed, told.err); err != nil {
		return err
	}
	switch {
	case told.n > 0:
		return fmt.Errorf("%d lines were not taken; mend and import them again, what is there already does no harm", told.n)
	case did.Read == 0:
		return fmt.Errorf("%s holds no account", name)
	}
	return nil
}

// openInput opens a file, or standard input, with its size; 0 is unknown.
func openInput(cmd *cobra.Command, name string) (io.ReadCloser, int64, error) {
	if name == stdio {
		return io.NopCloser(cmd.InOrStdin()), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// createErrors opens a file for the lines that are not taken, and empties it, unless it is the one that is imported.
func createErrors(name, input string) (*os.File, error) {
	in, err := os.Stat(input)
	there, thereErr := os.Stat(name)
	if input != stdio && err == nil && thereErr == nil && os.SameFile(in, there) {
		return nil, usageError{errors.New("--errors names the file that is imported; give another one")}
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

// counted says how much was read.
type counted struct {
	in   io.Reader
	n    int64
	tell func(int64)
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}

// rejections are the lines that were not taken: a file may have all of them, a person the first.
type rejections struct {
	n    int64
	kept []transfer.Rejection
	say  io.Writer // nil: nobody listens
	all  io.Writer // nil: no file
	bar  *progress
	err  error
}

func (r *rejections) add(one transfer.Rejection) {
	r.n++
	if len(r.kept) < keptErrors {
		r.kept = append(r.kept, one)
	}
	if r.all != nil && r.err == nil {
		if r.err = json.MarshalWrite(r.all, one); r.err == nil {
			_, r.err = r.all.Write([]byte("\n"))
		}
	}
	if r.say == nil || r.n > shownErrors {
		return
	}
	r.bar.end()
	for _, f := range one.Errors {
		fmt.Fprintf(r.say, "line %d: %s\n", one.Line, strings.TrimSpace(shown(f.Pointer)+" "+f.Code+": "+f.Detail))
	}
	if r.n == shownErrors {
		fmt.Fprintln(r.say, "further lines are counted only; --errors FILE has them all")
	}
}

// shown is a name out of a file as a terminal may have it: what is not printable is escaped, since a terminal would obey it.
func shown(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

func (r *importReport) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	if r.DryRun {
		fmt.Fprintln(w, "A dry run: nothing was changed. Otherwise:")
	}
	fmt.Fprintf(w, "read\t%d\ncreated\t%d\nupdated\t%d\nskipped\t%d\tthere already, or left out\nnot taken\t%d\n", r.Read, r.Created, r.Updated, r.Skipped, r.Failed)
	if x := r.Export; x != nil {
		fmt.Fprintf(w, "permissions\t%d\tcreated\nroles\t%d\tcreated\nroles\t%d\tupdated\n", x.Permissions, x.RolesCreated, x.RolesUpdated)
		if len(x.RolesDiffer) > 0 {
			fmt.Fprintf(w, "roles that differ\t%d\tleft as they are here: %s\n", len(x.RolesDiffer), strings.Join(x.RolesDiffer, ", "))
		}
		if !x.Secrets {
			fmt.Fprintln(w, "The file has no secrets: everybody who was created asks for a new password.")
		}
		if x.OtherSite {
			fmt.Fprintln(w, "The passkeys are another site's (UMS_PASSKEY_RP_ID): they do not work here.")
		}
	}
	for n, m := range r.NotMapped {
		if n == 0 {
			fmt.Fprintln(w, "not mapped")
		}
		fmt.Fprintf(w, "  %s\t%d\t%s\n", shown(m.Column), m.Rows, m.Why)
	}
	return w.Flush()
}

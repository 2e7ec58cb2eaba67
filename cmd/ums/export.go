package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/transfer"
)

// stdio is a FILE that stands for standard input or output.
const stdio = "-"

func (e *environment) export() *cobra.Command {
	var secrets, force, asJSON bool
	cmd := &cobra.Command{
		Use: "export FILE", Short: "Write every account into a file, as ums import reads it",
		Long: "Write every account into a file of mode 0600, as of one moment: roles, permissions, accounts and profiles. FILE may be - for standard output.\n" +
			"The file appears when it is whole; one that is there is not touched without --force. The audit log says that it was written.\n\n" +
			"With --with-secrets it also holds password hashes, hashes of recovery codes, passkeys, and the secrets of authenticator apps IN THE OPEN:\n" +
			"imported elsewhere, everybody can sign in there. Whoever has such a file has every second factor. Keep it encrypted.",
		Example: "  ums export users.ndjson\n  ums export --with-secrets users.ndjson\n  ums export --with-secrets - | age -r age1… > users.ndjson.age",
		Args:    oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && args[0] == stdio {
				return usageError{errors.New("--json and - both want standard output; see ums export --help")}
			}
			cfg, _, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			bar := newProgress(cmd.ErrOrStderr())
			var did transfer.Exported
			err = e.write(args[0], force, func(w io.Writer) (err error) {
				did, err = app.Export(cmd.Context(), cfg, secrets, w, func(users int64) { bar.show(users, 0, "accounts") })
				return err
			})
			bar.end()
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(struct {
					File string `json:"file"`
					transfer.Exported
				}{args[0], did})
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%d accounts, %d roles and %d permissions of the application are exported.\n", did.Users, did.Roles, did.Permissions)
			return err
		},
	}
	cmd.Flags().BoolVar(&secrets, "with-secrets", false, "also write what signs people in")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError{fmt.Errorf("give one file, or -; see %s --help", cmd.CommandPath())}
	}
	return nil
}

// write fills a file of mode 0600 under another name, and gives it its own when it is whole and on the disk. Without force
// a file of that name stays, also one that has come meanwhile.
func (e *environment) write(name string, force bool, fill func(io.Writer) error) (err error) {
	if name == stdio {
		return fill(e.stdout)
	}
	taken := fmt.Errorf("%s is there already; give another name, or --force to replace it", name)
	if _, err := os.Lstat(name); err == nil && !force {
		return taken
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // made with 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if !force {
		// Reserved first: a renaming would replace what has come meanwhile.
		reserved, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return taken
		}
		if err == nil {
			err = reserved.Close()
		}
		if err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return f.Close()
}

package main

import (
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// usageError is a call that names something which does not exist.
type usageError struct{ error }

// environment is what every command may look at.
type environment struct {
	vars   []string
	stdout io.Writer
}

func newRoot(vars []string, stdout io.Writer) *cobra.Command {
	e := &environment{vars: vars, stdout: stdout}
	root := &cobra.Command{
		Use:           "ums",
		Short:         "User Management Service: users, roles, API keys, audit",
		Long:          "User Management Service. Configuration comes from the environment: see .env.example.",
		Example:       "  ums serve\n  ums admin create --email ada@example.com",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		e.serve(), e.migrate(), e.admin(), e.keys(), e.openapi(), e.healthcheck(), e.version(), e.scan(), e.export(), e.importFile(),
		e.restoreFinish(), e.doctor(), e.completion(), e.seed(),
	)
	completeNoFiles(root)
	return root
}

// completeNoFiles keeps a shell from offering files where a command takes no argument: its use then is its name alone.
func completeNoFiles(cmd *cobra.Command) {
	if cmd.Use == cmd.Name() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		completeNoFiles(sub)
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

// printJSON is what --json prints: one document, for people and programs alike.
func (e *environment) printJSON(v any) error {
	if err := json.MarshalWrite(e.stdout, v, json.Deterministic(true), jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.stdout)
	return err
}

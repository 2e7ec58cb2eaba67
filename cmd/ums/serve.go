package main

import (
	"os"
	"runtime/debug"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
)

// gcPercent trades memory for time: the live heap is a few megabytes, and collecting it at each doubling costs a
// twentieth of the requests.
const gcPercent = 400

func (e *environment) serve() *cobra.Command {
	return &cobra.Command{
		Use:     "serve",
		Short:   "Run the service",
		Long:    "Run the service. Without UMS_DATABASE_URL it brings its own PostgreSQL, in development.",
		Example: "  ums serve\n  UMS_DATABASE_URL=postgres://ums@localhost/ums UMS_ENV=production UMS_MASTER_KEY_FILE=/run/secrets/ums ums serve",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, unknown, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			a, err := app.New(cmd.Context(), app.Options{
				Config: cfg, Version: version, Stdout: e.stdout, Terminal: isTerminal(e.stdout), UnknownVariables: unknown,
			})
			if err != nil {
				return err
			}
			return a.Run(cmd.Context())
		},
	}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

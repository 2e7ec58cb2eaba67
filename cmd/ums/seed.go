package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
)

// seed is for development and make seed; it is no part of the operator's commands.
func (e *environment) seed() *cobra.Command {
	var users int
	cmd := &cobra.Command{
		Use: "seed", Short: "Fill a development database with people", Hidden: true,
		Example: "  ums seed --users 1000", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if users < 1 || users > 10_000_000 {
				return usageError{fmt.Errorf("--users is %d; use 1 to 10000000", users)}
			}
			cfg, _, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			made, err := app.Seed(cmd.Context(), cfg, users)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.stdout, "made %d people\n", made)
			return err
		},
	}
	cmd.Flags().IntVar(&users, "users", 1000, "how many people there shall be")
	return cmd
}

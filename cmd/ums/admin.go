package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/platform/fault"
)

func (e *environment) admin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "admin", Short: "Make administrators", Example: "  ums admin create --email ada@example.com", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var email string
	var asJSON bool
	create := &cobra.Command{
		Use: "create", Short: "Invite an administrator and print the invitation's link",
		Long:    "Make a pending account with the role admin and print a link by which its owner sets the password. The link works once, for 7 days.",
		Example: "  ums admin create --email ada@example.com", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if email == "" {
				return usageError{errors.New("--email is required; see ums admin create --help")}
			}
			cfg, _, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			link, err := app.InviteAdmin(cmd.Context(), cfg, email)
			if errors.Is(err, fault.ErrValidation) {
				return fmt.Errorf("--email: %s", fault.As(err).Fields[0].Detail) // nothing else was given
			}
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(map[string]string{"email": email, "link": link})
			}
			_, err = fmt.Fprintf(e.stdout, "%s is invited as an administrator. The link works once, for 7 days:\n%s\n", email, link)
			return err
		},
	}
	create.Flags().StringVar(&email, "email", "", "the administrator's address")
	create.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(create)
	return cmd
}

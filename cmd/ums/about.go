package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/httpapi"
)

func (e *environment) version() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  ums version --json", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return e.printJSON(map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(e.stdout, version)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (e *environment) openapi() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "openapi", Short: "Print the HTTP contract (OpenAPI 3.1)", Example: "  ums openapi > openapi.yaml", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			doc, err := httpapi.Contract(asJSON)
			if err != nil {
				return err
			}
			_, err = e.stdout.Write(doc)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON instead of YAML")
	return cmd
}

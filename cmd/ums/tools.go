package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
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

func (e *environment) printJSON(v any) error {
	if err := json.MarshalWrite(e.stdout, v, json.Deterministic(true)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.stdout)
	return err
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

// healthcheck asks the local service, for containers without a shell.
func (e *environment) healthcheck() *cobra.Command {
	return &cobra.Command{
		Use: "healthcheck", Short: "Exit with 0 when the service on UMS_HTTP_ADDR is ready", Example: "  ums healthcheck", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			host, port, err := net.SplitHostPort(cfg.Service.HTTPAddr)
			if err != nil {
				return fmt.Errorf("UMS_HTTP_ADDR: %w", err)
			}
			if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
				host = "127.0.0.1"
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
			if err != nil {
				return err
			}
			client := http.Client{Timeout: 3 * time.Second}
			res, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("the service does not answer: %w", err)
			}
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("the service is not ready: GET /readyz answers %d", res.StatusCode)
			}
			return nil
		},
	}
}

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

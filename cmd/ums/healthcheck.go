package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/config"
)

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

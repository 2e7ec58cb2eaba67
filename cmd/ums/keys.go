package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app"
	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/domain/signing"
)

func (e *environment) keys() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Replace the key that signs access tokens", Example: "  ums keys rotate", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var atOnce, asJSON bool
	rotate := &cobra.Command{
		Use: "rotate", Short: "Make a new signing key, and retire the old one when its last token has ended",
		Long: "Make a new signing key. It is published at once, signs after ten minutes, when everybody has seen it, and the old one verifies for an hour\n" +
			"longer, so that no access token dies of it. With --now the old key ends at once, because it has leaked: access tokens of before are refused\n" +
			"and clients refresh; nobody has to sign in again. Running replicas hear of it by themselves. The service does the former by schedule:\n" +
			"see UMS_KEY_ROTATION.",
		Example: "  ums keys rotate\n  ums keys rotate --json\n  ums keys rotate --now", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := config.Load(e.vars)
			if err != nil {
				return err
			}
			r, err := app.RotateKeys(cmd.Context(), cfg, atOnce)
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(map[string]any{
					"kid": r.KID, "algorithm": r.Algorithm, "active_from": stamp(r.ActiveFrom), "replaced": append([]string{}, r.Replaced...), "retires_at": stamp(r.RetiresAt),
				})
			}
			return e.tellRotation(r, atOnce)
		},
	}
	rotate.Flags().BoolVar(&atOnce, "now", false, "end the old key at once, because it has leaked")
	rotate.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(rotate)
	return cmd
}

func (e *environment) tellRotation(r signing.Rotation, atOnce bool) error {
	var b strings.Builder
	if atOnce {
		fmt.Fprintf(&b, "%s (%s) signs from now on.\n", r.KID, r.Algorithm)
	} else {
		fmt.Fprintf(&b, "%s (%s) is published and signs from %s.\n", r.KID, r.Algorithm, stamp(r.ActiveFrom))
	}
	for _, old := range r.Replaced {
		if atOnce {
			fmt.Fprintf(&b, "%s has ended: access tokens that it signed are refused, clients refresh.\n", old)
		} else {
			fmt.Fprintf(&b, "%s verifies until %s.\n", old, stamp(r.RetiresAt))
		}
	}
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/app/doctor"
	"github.com/user-management-service/ums/internal/config"
)

func (e *environment) doctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look at what the service depends on, and say what to do; exit code 1 when something does not work",
		Long: "Look at what the service depends on, with the environment of a replica: the database, its roles, clock and connections, pending\n" +
			"migrations, the master key, the mail server, Redis, the public URL, which address the service sees through your proxies, CORS, passkeys and\n" +
			"the limit of open files. It changes nothing, sends no mail and prints no secret.\n" +
			"Exit code 0: nothing fails, 1: something does, 2: it could not look, because the configuration cannot be read or the call is wrong.",
		Example: "  ums doctor\n  ums doctor --json", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, unknown, err := config.Load(e.vars)
			if err != nil {
				return usageError{fmt.Errorf("the configuration cannot be read: %w", err)}
			}
			report := doctor.Run(cmd.Context(), cfg, doctor.Options{Unknown: unknown})
			if asJSON {
				err = e.printJSON(report)
			} else {
				err = e.tellReport(report)
			}
			if n := report.Failed(); err == nil && n > 0 {
				return fmt.Errorf("%d findings of %d fail", n, len(report.Findings))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printable is a text as a terminal may have it: a mail server, or whoever answers at the public URL, has had a say in it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func (e *environment) tellReport(r doctor.Report) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-4s  %-14s  %s\n", f.Status, f.Check, printable(f.Says))
		if f.Do != "" {
			fmt.Fprintf(&b, "%22s→ %s\n", "", printable(f.Do))
		}
	}
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/platform/postgres"
)

func (e *environment) migratePlan() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what up would do: the statements, the tables that they lock, and for how long; nothing is changed",
		Long: "Show the pending statements, the lock that each takes on which table, whom that keeps waiting, and what its time depends on: instant,\n" +
			"the rows that it touches, a scan of the table, an index over it, or a rewrite. Locks are held to the end of their migration. It is judged\n" +
			"by the text of the statements; nothing is run. See docs/operations/upgrade.md.",
		Example: "  ums migrate plan\n  ums migrate plan --json", Args: noArgs,
		RunE: e.withMigrator(func(ctx context.Context, m *postgres.Migrator) error {
			plan, err := m.Plan(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(map[string]any{"migrations": plan, "pending": len(plan)})
			}
			return e.tellPlan(plan)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (e *environment) tellPlan(plan postgres.Plan) error {
	var b strings.Builder
	for _, m := range plan {
		fmt.Fprintf(&b, "%s\n", m.Name)
		if !m.Transaction {
			b.WriteString("  without a transaction: each lock ends with its statement\n")
		}
		for _, s := range m.Statements {
			fmt.Fprintf(&b, "  %s\n", headline(s.SQL))
			for _, effect := range s.Effects {
				fmt.Fprintf(&b, "      %s\n", tellEffect(effect))
			}
		}
	}
	switch waits := plan.Waits(); {
	case len(plan) == 0:
		b.WriteString("nothing is pending\n")
	case waits == 0:
		fmt.Fprintf(&b, "%d migrations are pending; nobody waits for longer than an instant\n", len(plan))
	default:
		fmt.Fprintf(&b, "%d migrations are pending; in %d places somebody waits for longer than an instant (marked by !)\n", len(plan), waits)
	}
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}

func tellEffect(p postgres.PlannedEffect) string {
	table := p.Table
	switch {
	case p.Takes == postgres.Unknown:
		return "! not known: take it for ACCESS EXCLUSIVE on what it touches, and read it"
	case p.New:
		return table + ": new"
	}
	text := fmt.Sprintf("%s (%d rows, %s): %s, %s", table, p.Rows, size(p.Bytes), p.Lock, p.Takes)
	if p.Lock >= postgres.Share {
		text += "; " + p.Blocks + " wait"
		if p.Held > p.Takes {
			text += ", to the end of the migration: " + p.Held.String()
		}
	}
	if p.Matters() {
		return "! " + text
	}
	return text
}

// headline is the beginning of a statement on one line.
func headline(sql string) string {
	const longest = 120
	line := []rune(strings.Join(strings.Fields(sql), " "))
	if len(line) > longest {
		return string(line[:longest]) + " …"
	}
	return string(line)
}

func size(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for ; bytes >= 10240 && i < len(units)-1; i++ {
		bytes /= 1024
	}
	return fmt.Sprintf("%d %s", bytes, units[i])
}

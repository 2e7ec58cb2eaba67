package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/user-management-service/ums/internal/config"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/migrations"
)

func (e *environment) migrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "migrate",
		Short:   "Bring the database's schema to a version; serve does it by itself",
		Example: "  UMS_DATABASE_URL=postgres://owner@localhost/ums ums migrate up",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	up := &cobra.Command{
		Use: "up", Short: "Apply what is pending", Example: "  ums migrate up", Args: noArgs,
		RunE: e.withMigrator(func(ctx context.Context, m *postgres.Migrator) error {
			applied, err := m.Up(ctx)
			for _, name := range applied {
				fmt.Fprintln(e.stdout, "applied", name)
			}
			if err == nil && len(applied) == 0 {
				fmt.Fprintln(e.stdout, "nothing is pending")
			}
			return err
		}),
	}
	down := &cobra.Command{
		Use: "down", Short: "Take the newest migration back; what it added is lost", Example: "  ums migrate down", Args: noArgs,
		RunE: e.withMigrator(func(ctx context.Context, m *postgres.Migrator) error {
			name, err := m.Down(ctx)
			if err == nil && name == "" {
				name = "nothing"
			}
			if err == nil {
				fmt.Fprintln(e.stdout, "took back", name)
			}
			return err
		}),
	}
	var asJSON bool
	status := &cobra.Command{
		Use: "status", Short: "List the migrations; exit code 1 when one is pending", Example: "  ums migrate status --json", Args: noArgs,
		RunE: e.withMigrator(func(ctx context.Context, m *postgres.Migrator) error { return e.migrationStatus(ctx, m, asJSON) }),
	}
	status.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(up, down, status, e.migratePlan())
	return cmd
}

func (e *environment) withMigrator(do func(context.Context, *postgres.Migrator) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		cfg, _, err := config.Load(e.vars)
		if err != nil {
			return err
		}
		if cfg.Database.URL.Empty() {
			return errors.New("UMS_DATABASE_URL is empty: the embedded database is migrated by ums serve")
		}
		m, err := postgres.NewMigrator(cfg.Database.Direct(), migrations.FS, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		return do(cmd.Context(), m)
	}
}

func (e *environment) migrationStatus(ctx context.Context, m *postgres.Migrator, asJSON bool) error {
	all, err := m.Status(ctx)
	if err != nil {
		return err
	}
	pending := 0
	for _, one := range all {
		if one.AppliedAt == nil {
			pending++
		}
	}
	if asJSON {
		if err := e.printJSON(map[string]any{"migrations": all, "pending": pending}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
		for _, one := range all {
			applied := "pending"
			if one.AppliedAt != nil {
				applied = one.AppliedAt.UTC().Format("2006-01-02 15:04:05 UTC")
			}
			fmt.Fprintf(w, "%s\t%s\n", one.Name, applied)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if pending > 0 {
		return fmt.Errorf("%d migrations are pending; run ums migrate up", pending)
	}
	return nil
}

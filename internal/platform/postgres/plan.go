package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Plan is what Up would do, in order.
type Plan []Planned

// Waits counts the places in which somebody waits for longer than an instant.
func (p Plan) Waits() (n int) {
	for _, m := range p {
		for _, s := range m.Statements {
			for _, e := range s.Effects {
				if e.Matters() {
					n++
				}
			}
		}
	}
	return n
}

// Planned is a pending migration.
type Planned struct {
	Version     int64              `json:"version"`
	Name        string             `json:"name"`
	Transaction bool               `json:"transaction"` // its locks are held until its end
	Statements  []PlannedStatement `json:"statements"`
}

// PlannedStatement is one of its statements, with what that does to tables that are there.
type PlannedStatement struct {
	SQL     string          `json:"sql"`
	Effects []PlannedEffect `json:"effects"`
}

// PlannedEffect is an Effect on a table, with the size of what it meets. A table that the plan makes is nobody's yet.
type PlannedEffect struct {
	Table  string   `json:"table"`
	Lock   Lock     `json:"lock"`
	Blocks string   `json:"blocks"`
	Takes  Duration `json:"takes"`
	Held   Duration `json:"held"` // for the longest of what comes in the same transaction from here on
	New    bool     `json:"new"`
	Rows   int64    `json:"rows"` // as PostgreSQL estimates them
	Bytes  int64    `json:"bytes"`
}

// Matters says whether somebody waits for longer than an instant.
func (e PlannedEffect) Matters() bool { return !e.New && e.Lock >= Share && e.Held > Instant }

// Plan reads the pending migrations and looks their tables up. It takes no lock and changes nothing.
func (m *Migrator) Plan(ctx context.Context) (Plan, error) {
	done, err := m.applied(ctx)
	if err != nil {
		return nil, err
	}
	plan := Plan{}
	made := map[string]bool{}
	for _, s := range m.provider.ListSources() {
		if done[s.Version] {
			continue
		}
		text, err := fs.ReadFile(m.files, s.Path)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		one := Planned{Version: s.Version, Name: s.Path}
		var list []string
		list, one.Transaction = statements(string(text))
		for _, sql := range list {
			planned := PlannedStatement{SQL: sql, Effects: []PlannedEffect{}}
			for _, e := range Effects(sql) {
				all := []Effect{e}
				if e.Drops {
					if all, err = m.withReferenced(ctx, e); err != nil {
						return nil, err
					}
				}
				for _, e := range all {
					p, err := m.meet(ctx, e, made)
					if err != nil {
						return nil, err
					}
					planned.Effects = append(planned.Effects, p)
				}
			}
			one.Statements = append(one.Statements, planned)
		}
		one.hold()
		plan = append(plan, one)
	}
	return plan, nil
}

// Newest returns the newest version that was applied, be it one of a later release, and the newest that is known here.
func (m *Migrator) Newest(ctx context.Context) (applied, known int64, err error) {
	for _, s := range m.provider.ListSources() {
		known = max(known, s.Version)
	}
	versions, err := m.applied(ctx)
	for v := range versions {
		applied = max(applied, v)
	}
	return applied, known, err
}

// applied reads the history without making its table, as goose itself would.
func (m *Migrator) applied(ctx context.Context) (_ map[int64]bool, err error) {
	versions := map[int64]bool{}
	var there bool
	if err := m.db.QueryRowContext(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&there); err != nil || !there {
		return versions, wrap("look for the history of migrations", err)
	}
	rows, err := m.db.QueryContext(ctx, `SELECT version_id FROM goose_db_version WHERE is_applied`)
	if err != nil {
		return nil, wrap("read the history of migrations", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			return nil, wrap("read the history of migrations", err)
		}
		versions[v] = true
	}
	return versions, wrap("read the history of migrations", rows.Err())
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// withReferenced adds to the end of a table what its foreign keys point to.
func (m *Migrator) withReferenced(ctx context.Context, e Effect) ([]Effect, error) {
	var targets string
	err := m.db.QueryRowContext(ctx, `
		SELECT coalesce(string_agg(DISTINCT confrelid::regclass::text, ','), '') FROM pg_constraint
		WHERE conrelid = to_regclass($1) AND contype = 'f' AND confrelid <> conrelid`, e.Table).Scan(&targets)
	if err != nil {
		return nil, fmt.Errorf("look up the foreign keys of %s: %w", e.Table, err)
	}
	all := []Effect{e}
	for target := range strings.SplitSeq(targets, ",") {
		if target != "" {
			all = append(all, Effect{Table: target, Lock: AccessExclusive})
		}
	}
	return all, nil
}

// meet looks up the table of an effect.
func (m *Migrator) meet(ctx context.Context, e Effect, made map[string]bool) (PlannedEffect, error) {
	p := PlannedEffect{Table: e.Table, Lock: e.Lock, Blocks: e.Lock.Blocks(), Takes: e.Takes, Held: e.Takes}
	if e.Table == "" {
		return p, nil
	}
	// An index stands for its table; a partitioned table for its partitions.
	var found string
	err := m.db.QueryRowContext(ctx, `
		SELECT coalesce(t.oid::regclass::text, ''), coalesce(sum(greatest(c.reltuples, 0))::bigint, 0), coalesce(sum(pg_total_relation_size(c.oid))::bigint, 0)
		FROM (SELECT coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass($1)), to_regclass($1)) AS oid) t
		LEFT JOIN LATERAL (SELECT relid FROM pg_partition_tree(t.oid) UNION SELECT t.oid) tree ON true
		LEFT JOIN pg_class c ON c.oid = tree.relid
		GROUP BY t.oid`, e.Table).Scan(&found, &p.Rows, &p.Bytes)
	if err != nil {
		return p, fmt.Errorf("look up %s: %w", e.Table, err)
	}
	if found != "" {
		p.Table = found
	}
	if e.Makes && found == "" {
		made[e.Table] = true
	}
	p.New = made[p.Table] || found == ""
	if p.New {
		p.Blocks = NoLock.Blocks()
	}
	return p, nil
}

// hold sets how long each lock is held.
func (p *Planned) hold() {
	if !p.Transaction {
		return
	}
	longest := Instant
	for i := len(p.Statements) - 1; i >= 0; i-- {
		effects := p.Statements[i].Effects
		for _, e := range effects {
			if !e.New {
				longest = max(longest, e.Takes)
			}
		}
		for j := range effects {
			effects[j].Held = max(effects[j].Held, longest)
		}
	}
}

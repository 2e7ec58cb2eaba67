package migrations_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
)

var update = flag.Bool("update", false, "write the schema into docs/development/database.md")

const (
	page  = "../docs/development/database.md"
	begin = "<!-- schema: begin; make generate writes it from the migrated database -->\n"
	end   = "<!-- schema: end -->\n"
)

// groups are the tables by noun. What is in none of them stands under the last heading.
var groups = []struct {
	title  string
	tables []string
}{
	{"Accounts", []string{"users", "user_search", "registration_attempts", "one_time_tokens"}},
	{"Profiles", []string{"profiles", "avatar_pictures"}},
	{"Roles", []string{"roles", "permissions", "role_permissions", "role_inherits", "user_roles"}},
	{"Sessions", []string{"sessions", "sign_in_networks", "sign_in_agents", "signing_keys", "credential_limits"}},
	{"Second factors and passkeys", []string{"mfa_factors", "mfa_recovery_codes", "mfa_challenges", "passkeys", "webauthn_challenges"}},
	{"API keys", []string{"api_keys", "api_key_secrets", "api_key_usage"}},
	{"Audit log", []string{"audit_events", "audit_personal", "recent_erasures"}},
	{"Imports", []string{"imports", "import_lines", "import_errors"}},
	{"Machinery", []string{"mail_messages", "idempotency_keys"}},
}

type drawn struct {
	name, comment string
	columns       []column
	keys          []key
	indexes       [][2]string // definition, comment
}

type column struct {
	name, kind, comment string
	null, primary       bool
	foreign, unique     bool
}

// key is a reference to another table.
type key struct {
	column, to    string
	null, atMost1 bool
}

// TestThePageShowsTheSchema holds docs/development/database.md against the database that the migrations make.
func TestThePageShowsTheSchema(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	text := draw(read(t, conn))
	old, err := os.ReadFile(page)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(old), begin)
	require.True(t, ok)
	_, tail, ok := strings.Cut(rest, end)
	require.True(t, ok)
	fresh := head + begin + text + end + tail
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(fresh), 0o644))
		return
	}
	if fresh != string(old) {
		t.Fatalf("%s is not fresh: run make generate", page)
	}
}

// read returns the tables that the migrations of this service made, by name; the queue's are River's.
func read(t *testing.T, conn *pgx.Conn) map[string]*drawn {
	t.Helper()
	tables := map[string]*drawn{}
	const ours = `c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		AND c.relname NOT LIKE 'river%' AND c.relname NOT LIKE 'goose%'`
	each(t, conn, `
		SELECT c.relname, coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c WHERE `+ours, func(row func(...any)) {
		x := &drawn{}
		row(&x.name, &x.comment)
		tables[x.name] = x
	})
	each(t, conn, `
		SELECT c.relname, a.attname, replace(format_type(a.atttypid, a.atttypmod), 'timestamp(3) with time zone', 'timestamptz(3)'),
			coalesce(col_description(c.oid, a.attnum), ''), NOT a.attnotnull,
			EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)),
			EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND a.attnum = ANY (k.conkey)),
			EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'u' AND k.conkey = ARRAY[a.attnum])
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE `+ours+" ORDER BY c.relname, a.attnum", func(row func(...any)) {
		var name string
		var x column
		row(&name, &x.name, &x.kind, &x.comment, &x.null, &x.primary, &x.foreign, &x.unique)
		tables[name].columns = append(tables[name].columns, x)
	})
	each(t, conn, `
		SELECT c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum), r.relname, bool_or(NOT a.attnotnull),
			EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1
				AND i.indkey[0] = ANY (k.conkey))
		FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
		WHERE k.contype = 'f' AND k.conparentid = 0 AND `+ours+" GROUP BY c.oid, c.relname, k.oid, k.conname, k.conkey, r.relname ORDER BY c.relname, k.conname",
		func(row func(...any)) {
			var name string
			var x key
			row(&name, &x.column, &x.to, &x.null, &x.atMost1)
			tables[name].keys = append(tables[name].keys, x)
		})
	each(t, conn, `
		SELECT c.relname, i.indexrelid::regclass::text, i.indisunique, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', ''),
			coalesce(obj_description(i.indexrelid, 'pg_class'), '')
		FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
		WHERE NOT i.indisprimary AND `+ours+" ORDER BY c.relname, 2", func(row func(...any)) {
		var name, index, definition, comment string
		var unique bool
		row(&name, &index, &unique, &definition, &comment)
		definition = strings.ReplaceAll(strings.TrimPrefix(definition, "btree "), "::text", "")
		if unique {
			definition = "unique " + definition
		}
		tables[name].indexes = append(tables[name].indexes, [2]string{"`" + index + "`: `" + definition + "`", comment})
	})
	return tables
}

func each(t *testing.T, conn *pgx.Conn, sql string, do func(row func(...any))) {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		do(func(into ...any) { require.NoError(t, rows.Scan(into...)) })
	}
	require.NoError(t, rows.Err())
}

// draw writes the tables as Markdown: per group a diagram of keys, and of each table what is in it.
func draw(tables map[string]*drawn) string {
	var b strings.Builder
	left := map[string]bool{}
	for name := range tables {
		left[name] = true
	}
	section := func(title string, names []string) {
		fmt.Fprintf(&b, "\n### %s\n\n```mermaid\nerDiagram\n", title)
		for _, name := range names {
			delete(left, name)
			diagram(&b, tables[name])
		}
		b.WriteString("```\n")
		for _, name := range names {
			describe(&b, tables[name])
		}
	}
	for _, g := range groups {
		section(g.title, slices.DeleteFunc(slices.Clone(g.tables), func(name string) bool { return tables[name] == nil }))
	}
	if len(left) > 0 {
		var names []string
		for name := range left {
			names = append(names, name)
		}
		slices.Sort(names)
		section("Further tables", names)
	}
	b.WriteString("\n")
	return b.String()
}

func diagram(b *strings.Builder, t *drawn) {
	for _, k := range t.keys {
		one, many := "||", "o{"
		if k.null {
			one = "|o"
		}
		if k.atMost1 {
			many = "o|"
		}
		fmt.Fprintf(b, "    %s %s--%s %s : %q\n", k.to, one, many, t.name, k.column)
	}
	fmt.Fprintf(b, "    %s {\n", t.name)
	for _, c := range t.columns {
		var marks []string
		for mark, is := range map[string]bool{"PK": c.primary, "FK": c.foreign, "UK": c.unique} {
			if is {
				marks = append(marks, mark)
			}
		}
		slices.SortFunc(marks, func(x, y string) int { return strings.Compare(y, x) })
		if len(marks) > 0 {
			kind, _, _ := strings.Cut(c.kind, "(")
			fmt.Fprintf(b, "        %s %s %s\n", strings.ReplaceAll(kind, " ", "_"), c.name, strings.Join(marks, ","))
		}
	}
	b.WriteString("    }\n")
}

func describe(b *strings.Builder, t *drawn) {
	fmt.Fprintf(b, "\n#### %s\n\n%s\n\n| column | type | |\n|---|---|---|\n", t.name, t.comment)
	for _, c := range t.columns {
		kind := c.kind
		if c.null {
			kind += ", null"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", c.name, kind, strings.ReplaceAll(c.comment, "|", `\|`))
	}
	if len(t.indexes) > 0 {
		b.WriteString("\n")
	}
	for _, i := range t.indexes {
		fmt.Fprintf(b, "- %s", i[0])
		if i[1] != "" {
			fmt.Fprintf(b, ". %s", i[1])
		}
		b.WriteString("\n")
	}
}

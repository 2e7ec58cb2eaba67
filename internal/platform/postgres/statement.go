package postgres

import (
	"regexp"
	"strings"
)

// A Lock is how a statement holds a table, by PostgreSQL's names (its manual, section 13.3.1), the stronger the greater.
type Lock int

// The locks that statements of migrations take.
const (
	NoLock Lock = iota
	RowShare
	RowExclusive
	ShareUpdateExclusive
	Share
	ShareRowExclusive
	AccessExclusive
)

var lockNames = []string{"", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"}

// String returns PostgreSQL's name of the lock, "" for none.
func (l Lock) String() string { return lockNames[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Lock) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Blocks says whom the lock keeps waiting.
func (l Lock) Blocks() string {
	switch {
	case l == AccessExclusive:
		return "readers and writers"
	case l >= Share:
		return "writers"
	case l == ShareUpdateExclusive:
		return "other changes of the schema"
	}
	return "nobody"
}

// A Duration is what a statement's time depends on, the longer the greater.
type Duration int

// The durations.
const (
	Instant Duration = iota // the catalog alone is written
	Rows                    // as long as the rows that it touches take
	Scan                    // the table is read once
	Index                   // and an index is built
	Rewrite                 // the table and its indexes are written anew
	Unknown
)

var durationNames = []string{"instant", "rows", "scan", "index", "rewrite", "unknown"}

// String returns the duration's name.
func (d Duration) String() string { return durationNames[d] }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Effect is what one statement does to one table.
type Effect struct {
	Table string // "" when the statement names none; of DROP INDEX the index
	Lock  Lock
	Takes Duration
	Makes bool // the table is new by it
	Drops bool // the table is gone by it; what its foreign keys point to is locked alike
}

var (
	lineComment = regexp.MustCompile(`--[^\n]*`)
	blanks      = regexp.MustCompile(`\s+`)

	name        = `("[^"]+"|[\w.]+)`
	createTable = regexp.MustCompile(`(?i)^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?` + name)
	references  = regexp.MustCompile(`(?i)\bREFERENCES ` + name)
	createIndex = regexp.MustCompile(`(?i)^CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?.*? ?\bON (?:ONLY )?` + name)
	dropIndex   = regexp.MustCompile(`(?i)^DROP INDEX (CONCURRENTLY )?(?:IF EXISTS )?` + name)
	alterTable  = regexp.MustCompile(`(?i)^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?` + name + ` (.*)$`)
	alterIndex  = regexp.MustCompile(`(?i)^ALTER INDEX (?:IF EXISTS )?` + name)
	dropTable   = regexp.MustCompile(`(?i)^DROP TABLE (?:IF EXISTS )?` + name)
	makeTrigger = regexp.MustCompile(`(?i)^CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER \S+ .*?\bON ` + name)
	dropTrigger = regexp.MustCompile(`(?i)^DROP TRIGGER (?:IF EXISTS )?\S+ ON ` + name)
	writes      = regexp.MustCompile(`(?i)^(?:INSERT INTO|UPDATE|DELETE FROM) (?:ONLY )?` + name)
	commentOn   = regexp.MustCompile(`(?i)^COMMENT ON (?:TABLE ([\w.]+)|COLUMN ([\w.]+)\.\w+)`)
	lockTable   = regexp.MustCompile(`(?i)^LOCK (?:TABLE )?` + name)
	catalogOnly = regexp.MustCompile(`(?i)^(?:CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|TYPE|EXTENSION|ROLE|SCHEMA|VIEW|SEQUENCE|DOMAIN)|COMMENT ON (?:INDEX|FUNCTION|ROLE|TYPE|SCHEMA|DATABASE|EXTENSION)|` +
		`DROP (?:FUNCTION|PROCEDURE|TYPE|EXTENSION|ROLE|SEQUENCE|DOMAIN)|ALTER (?:TYPE|ROLE|FUNCTION|DEFAULT PRIVILEGES|SEQUENCE|DATABASE)|GRANT|REVOKE|SET|RESET)\b`)

	// What a block of code, or a string that it executes, has inside.
	inner = regexp.MustCompile(`(?i)\b(?:(?:CREATE|DROP) (?:UNIQUE )?(?:INDEX|TABLE|TRIGGER)|ALTER TABLE|INSERT INTO|DELETE FROM|UPDATE \w+ SET|LOCK TABLE)\b[^;']*`)

	volatile = regexp.MustCompile(`(?i)\b(?:gen_random_uuid|uuid_generate_\w+|random|clock_timestamp|nextval|timeofday)\(|\bSERIAL\b|\bBIGSERIAL\b|\bGENERATED (?:ALWAYS|BY DEFAULT)\b`)
)

// Effects says which tables a statement locks and how long it holds them, judged by its text. What is not known is Unknown, and
// has the strongest lock. For statements of this project's migrations a test holds it against what PostgreSQL does.
func Effects(sql string) []Effect {
	flat := strings.TrimSuffix(strings.TrimSpace(blanks.ReplaceAllString(lineComment.ReplaceAllString(sql, ""), " ")), ";")
	if block := strings.ToUpper(flat); strings.HasPrefix(block, "DO ") {
		var all []Effect
		for _, part := range inner.FindAllString(strings.ReplaceAll(flat, "''", `"`), -1) {
			all = append(all, one(strings.TrimSpace(part))...)
		}
		return all
	}
	return one(flat)
}

func one(flat string) []Effect {
	if m := createTable.FindStringSubmatch(flat); m != nil {
		return append([]Effect{{Table: m[1], Lock: AccessExclusive, Makes: true}}, referenced(flat, Instant)...)
	}
	if m := createIndex.FindStringSubmatch(flat); m != nil {
		if m[1] != "" {
			return []Effect{{Table: m[2], Lock: ShareUpdateExclusive, Takes: Index}}
		}
		return []Effect{{Table: m[2], Lock: Share, Takes: Index}}
	}
	if m := dropIndex.FindStringSubmatch(flat); m != nil {
		if m[1] != "" {
			return []Effect{{Table: m[2], Lock: ShareUpdateExclusive}}
		}
		return []Effect{{Table: m[2], Lock: AccessExclusive}}
	}
	if m := alterTable.FindStringSubmatch(flat); m != nil {
		var all []Effect
		for _, action := range actions(m[2]) {
			all = append(all, altered(m[1], action)...)
		}
		return all
	}
	if m := commentOn.FindStringSubmatch(flat); m != nil {
		return []Effect{{Table: m[1] + m[2], Lock: ShareUpdateExclusive}}
	}
	if m := dropTable.FindStringSubmatch(flat); m != nil {
		return []Effect{{Table: m[1], Lock: AccessExclusive, Drops: true}}
	}
	for _, known := range []struct {
		pattern *regexp.Regexp
		lock    Lock
		takes   Duration
	}{
		{alterIndex, ShareUpdateExclusive, Instant},
		{makeTrigger, ShareRowExclusive, Instant},
		{dropTrigger, AccessExclusive, Instant},
		{writes, RowExclusive, Rows},
		{lockTable, AccessExclusive, Instant},
	} {
		if m := known.pattern.FindStringSubmatch(flat); m != nil {
			return []Effect{{Table: m[1], Lock: known.lock, Takes: known.takes}}
		}
	}
	if catalogOnly.MatchString(flat) {
		return nil
	}
	return []Effect{{Lock: AccessExclusive, Takes: Unknown}}
}

// referenced are the tables that foreign keys of a statement point to: their triggers are made there.
func referenced(flat string, takes Duration) (all []Effect) {
	for _, m := range references.FindAllStringSubmatch(flat, -1) {
		all = append(all, Effect{Table: m[1], Lock: ShareRowExclusive, Takes: takes})
	}
	return all
}

// actions splits those of an ALTER TABLE at the commas between them.
func actions(text string) (list []string) {
	depth, begin, quoted := 0, 0, false
	for i, c := range text {
		switch {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			list = append(list, strings.TrimSpace(text[begin:i]))
			begin = i + 1
		}
	}
	return append(list, strings.TrimSpace(text[begin:]))
}

var alterations = []struct {
	pattern *regexp.Regexp
	lock    Lock
	takes   Duration
}{
	{regexp.MustCompile(`(?i)^VALIDATE CONSTRAINT `), ShareUpdateExclusive, Scan},
	{regexp.MustCompile(`(?i)^ADD (?:CONSTRAINT \S+ )?(?:CHECK|FOREIGN KEY|NOT NULL)\b.* NOT VALID$`), AccessExclusive, Instant},
	{regexp.MustCompile(`(?i)^ADD (?:CONSTRAINT \S+ )?(?:UNIQUE|PRIMARY KEY) USING INDEX `), AccessExclusive, Instant},
	{regexp.MustCompile(`(?i)^ADD (?:CONSTRAINT \S+ )?(?:UNIQUE|PRIMARY KEY|EXCLUDE)\b`), AccessExclusive, Index},
	{regexp.MustCompile(`(?i)^ADD (?:CONSTRAINT \S+ )?CHECK\b`), AccessExclusive, Scan},
	{regexp.MustCompile(`(?i)^ADD (?:COLUMN )?.*\b(?:UNIQUE|PRIMARY KEY)\b`), AccessExclusive, Index},
	{regexp.MustCompile(`(?i)^ADD (?:COLUMN )?.*\bCHECK\b`), AccessExclusive, Scan},
	{regexp.MustCompile(`(?i)^ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE `), AccessExclusive, Rewrite},
	{regexp.MustCompile(`(?i)^ALTER (?:COLUMN )?\S+ SET NOT NULL`), AccessExclusive, Scan},
	{regexp.MustCompile(`(?i)^ALTER (?:COLUMN )?\S+ SET STATISTICS`), ShareUpdateExclusive, Instant},
	{regexp.MustCompile(`(?i)^(?:RE)?SET \(`), ShareUpdateExclusive, Instant},
	{regexp.MustCompile(`(?i)^(?:ENABLE|DISABLE) TRIGGER `), ShareRowExclusive, Instant},
	{regexp.MustCompile(`(?i)^SET (?:LOGGED|UNLOGGED|TABLESPACE|ACCESS METHOD)\b`), AccessExclusive, Rewrite},
	{regexp.MustCompile(`(?i)^(?:ADD|DROP|ALTER|RENAME|OWNER|ENABLE|DISABLE|FORCE|NO FORCE|REPLICA|INHERIT|NO INHERIT)\b`), AccessExclusive, Instant},
}

func altered(table, action string) []Effect {
	upper := strings.ToUpper(action)
	if strings.HasPrefix(upper, "ADD ") && strings.Contains(upper, "FOREIGN KEY") {
		takes := Scan
		if strings.HasSuffix(upper, " NOT VALID") {
			takes = Instant
		}
		return append([]Effect{{Table: table, Lock: ShareRowExclusive, Takes: takes}}, referenced(action, takes)...)
	}
	column := strings.HasPrefix(upper, "ADD ") && !strings.HasPrefix(upper, "ADD CONSTRAINT")
	if column && volatile.MatchString(action) {
		return append([]Effect{{Table: table, Lock: AccessExclusive, Takes: Rewrite}}, referenced(action, Scan)...)
	}
	for _, known := range alterations {
		if known.pattern.MatchString(action) {
			return append([]Effect{{Table: table, Lock: known.lock, Takes: known.takes}}, referenced(action, known.takes)...)
		}
	}
	return []Effect{{Table: table, Lock: AccessExclusive, Takes: Unknown}}
}

// statements splits the way up of a migration as goose does: a statement ends with the line that ends with a semicolon, or is all between
// StatementBegin and StatementEnd. transaction says whether they run in one.
func statements(text string) (list []string, transaction bool) {
	transaction = true
	var current strings.Builder
	up, block := false, false
	flush := func() {
		if s := strings.TrimSpace(current.String()); s != "" && strings.TrimSpace(lineComment.ReplaceAllString(s, "")) != "" {
			list = append(list, s)
		}
		current.Reset()
	}
	for line := range strings.Lines(text) {
		bare := strings.TrimSpace(line)
		if directive, ok := strings.CutPrefix(bare, "-- +goose "); ok {
			switch strings.TrimSpace(directive) {
			case "Up":
				up = true
			case "Down":
				flush()
				return list, transaction
			case "NO TRANSACTION":
				transaction = false
			case "StatementBegin":
				block = true
			case "StatementEnd":
				block = false
				flush()
			}
			continue
		}
		if !up || !block && strings.HasPrefix(bare, "--") {
			continue
		}
		current.WriteString(line)
		if !block && strings.HasSuffix(strings.TrimSpace(lineComment.ReplaceAllString(line, "")), ";") {
			flush()
		}
	}
	flush()
	return list, transaction
}

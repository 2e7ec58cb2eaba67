package profile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const (
	nearby = 1000 // profiles that are looked at before the indexes of terms and attributes are asked
	few    = 5000 // hits of these that are worth sorting
)

// lister builds the statement of one page.
type lister struct {
	f    Filter
	all  bool // private ones too, and without a term or attribute those that nobody filled in
	args []any
}

func (l *lister) arg(v any) string {
	l.args = append(l.args, v)
	return "$" + strconv.Itoa(len(l.args))
}

// list reads a page, newest account first, in one statement.
func list(ctx context.Context, db postgres.DB, f Filter, all bool) ([]*row, error) {
	l := &lister{f: f, all: all}
	var sql string
	short := f.Search != "" && !user.Searchable(f.Search) && len(f.Attributes) == 0
	switch {
	case all && !f.narrow():
		sql = "SELECT " + columns + " FROM users u LEFT JOIN profiles p ON p.user_id = u.id WHERE u.status <> 'deleting'" +
			l.behind(" AND ", "u.created_at", "u.id") + " ORDER BY u.created_at DESC, u.id DESC LIMIT " + strconv.Itoa(f.Limit)
	default:
		var from string
		switch {
		case short:
			from = "SELECT p.user_id FROM (" + l.walk(user.Looked) + ") p WHERE " + l.match() + " LIMIT " + strconv.Itoa(f.Limit)
		case f.narrow():
			from = l.find()
		default:
			from = l.walk(f.Limit)
		}
		sql = "SELECT " + columns + " FROM (" + from + ") x JOIN users u ON u.id = x.user_id JOIN profiles p ON p.user_id = x.user_id" +
			" ORDER BY u.created_at DESC, u.id DESC"
	}
	rows, err := db.Query(ctx, sql, l.args...)
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	if short && len(found) < f.Limit {
		return found, looked(ctx, db, f, all)
	}
	return found, nil
}

// looked returns user.ErrShortSearch when the list goes on behind what a short term was compared with.
func looked(ctx context.Context, db postgres.DB, f Filter, all bool) error {
	l := &lister{f: f, all: all}
	var more bool
	sql := "SELECT EXISTS (SELECT FROM (" + l.walk(user.Looked+1) + ") p OFFSET " + strconv.Itoa(user.Looked) + ")"
	if err := db.QueryRow(ctx, sql, l.args...).Scan(&more); err != nil {
		return fmt.Errorf("look behind a short search: %w", err)
	}
	if more {
		return user.ErrShortSearch
	}
	return nil
}

// walk is the first profiles of the list.
func (l *lister) walk(limit int, conditions ...string) string {
	visible := "u.status <> 'deleting'"
	if !l.all {
		visible = "p.visibility = 'public' AND u.status = 'active'"
	}
	return "SELECT p.* FROM profiles p JOIN users u ON u.id = p.user_id WHERE " + strings.Join(append(conditions, visible), " AND ") +
		l.behind(" AND ", "p.user_created_at", "p.user_id") + " ORDER BY p.user_created_at DESC, p.user_id DESC LIMIT " + strconv.Itoa(limit)
}

// find is the first profiles of the list that have the term and the attributes. As with accounts, no one plan serves what
// is rare and what is frequent, and the planner guesses which it is: so what is near is looked at first, then the indexes
// are asked, and what they find too often to be sorted is met soon on the way through the list.
func (l *lister) find() string {
	match := l.match()
	limit := " LIMIT " + strconv.Itoa(l.f.Limit)
	full := "(SELECT count(*) = " + strconv.Itoa(l.f.Limit) + " FROM near)"
	many := "(SELECT count(*) > " + strconv.Itoa(few) + " FROM hits)"
	public, status := "", "<> 'deleting'"
	if !l.all {
		public, status = " AND p.visibility = 'public'", "= 'active'"
	}
	return `WITH near AS MATERIALIZED (
			SELECT p.user_id FROM (` + l.walk(nearby) + ") p WHERE " + match + limit + `
		), hits AS MATERIALIZED (
			SELECT p.user_id, p.user_created_at FROM profiles p
			WHERE NOT ` + full + " AND " + match + public + l.behind(" AND ", "p.user_created_at", "p.user_id") + " LIMIT " + strconv.Itoa(few+1) + `
		)
		SELECT user_id FROM near WHERE ` + full + `
		UNION ALL (SELECT h.user_id FROM (SELECT * FROM hits ORDER BY user_created_at DESC, user_id DESC) h
			CROSS JOIN LATERAL (SELECT FROM users u WHERE u.id = h.user_id AND u.status ` + status + ` OFFSET 0) u
			WHERE NOT ` + full + " AND NOT " + many + " ORDER BY h.user_created_at DESC, h.user_id DESC" + limit + `)
		UNION ALL (SELECT p.user_id FROM (` + l.walk(l.f.Limit, match, "NOT "+full, many) + ") p)"
}

// match is the condition on a profile p.
func (l *lister) match() string {
	var where []string
	if l.f.Search != "" {
		where = append(where, "profile_names(p.given_name, p.family_name, p.nickname) LIKE lower("+
			l.arg("%"+postgres.EscapeLike(l.f.Search)+"%")+`) ESCAPE '\'`)
	}
	for _, name := range slices.Sorted(maps.Keys(l.f.Attributes)) {
		var either []string
		for _, doc := range equals(name, l.f.Attributes[name]) {
			either = append(either, "p.attributes @> "+l.arg(doc)+"::text::jsonb")
		}
		where = append(where, "("+strings.Join(either, " OR ")+")")
	}
	return strings.Join(where, " AND ")
}

// behind is the condition that a row stands behind the last one of the page before, or nothing.
func (l *lister) behind(prefix, created, key string) string {
	if l.f.After == nil {
		return ""
	}
	return prefix + fmt.Sprintf("(%s, %s) < (%s, %s)", created, key, l.arg(l.f.After.Time), l.arg(l.f.After.ID))
}

// equals are the objects that have the value under the name: as text, and where it reads as one, as the number, true or false.
func equals(name, value string) []string {
	var docs []string
	add := func(v any) {
		if doc, err := json.Marshal(map[string]any{name: v}); err == nil { // valid UTF-8: checked
			docs = append(docs, string(doc))
		}
	}
	add(value)
	if value == "true" || value == "false" {
		add(value == "true")
	} else if plainNumber.MatchString(value) {
		add(jsontext.Value(value))
	}
	return docs
}

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
	nearby = 7_500 // profiles whose names are compared in the order of the list before the trigrams are asked
	nearer = 1_000 // profiles whose attributes are looked at, each in its own row, before their index is asked
	few    = 5_000 // hits of these indexes that are worth sorting
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
			l.behind("u.created_at", "u.id") + " ORDER BY u.created_at DESC, u.id DESC LIMIT " + strconv.Itoa(f.Limit)
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
		l.behind("p.user_created_at", "p.user_id") + " ORDER BY p.user_created_at DESC, p.user_id DESC LIMIT " + strconv.Itoa(limit)
}

// find is the first profiles of the list that have the term and the attributes. As with accounts, no one plan serves what
// is rare and what is frequent, and the planner guesses which it is: so what is near is looked at first, then the indexes
// are asked, and what they find too often to be sorted is met soon on the way through the list.
func (l *lister) find() string {
	match := l.match()
	indexed := append(l.attributes(), l.public()...)
	if l.f.Search != "" {
		// What the coding finds is compared with the names.
		indexed = append(indexed, "p.coded LIKE lower("+l.arg("%"+postgres.EscapeLike(user.Coded(l.f.Search))+"%")+`) ESCAPE '\'`, match)
	}
	const order = " ORDER BY p.user_created_at DESC, p.user_id DESC"
	limit := " LIMIT " + strconv.Itoa(l.f.Limit)
	full := "(SELECT count(*) = " + strconv.Itoa(l.f.Limit) + " FROM near)"
	many := "(SELECT count(*) > " + strconv.Itoa(few) + " FROM hits)"
	var near, whole string
	if len(l.f.Attributes) > 0 {
		near = "SELECT p.user_id FROM (" + l.walk(nearer) + ") p WHERE " + match + limit
		whole = "SELECT p.user_id FROM (" + l.walk(l.f.Limit, match, "NOT "+full, many) + ") p"
	} else { // the index in the order of the list holds the names
		texts := "SELECT p.user_id, p.user_created_at, p.names FROM profiles p WHERE " + strings.Join(append(l.public(), "true"), " AND ") +
			l.behind("p.user_created_at", "p.user_id") + order
		near = "SELECT p.user_id FROM (" + texts + " LIMIT " + strconv.Itoa(nearby) + ") p" + l.listed() + " WHERE " + match + order + limit
		whole = "SELECT p.user_id FROM (" + texts + ") p" + l.listed() + " WHERE " + match + " AND NOT " + full + " AND " + many + order + limit
	}
	return `WITH near AS MATERIALIZED (` + near + `
		), hits AS MATERIALIZED (
			SELECT p.user_id, p.user_created_at FROM profiles p
			WHERE NOT ` + full + " AND " + strings.Join(indexed, " AND ") + l.behind("p.user_created_at", "p.user_id") +
		" LIMIT " + strconv.Itoa(few+1) + `
		)
		SELECT user_id FROM near WHERE ` + full + `
		UNION ALL (SELECT p.user_id FROM (SELECT * FROM hits p` + order + ") p" + l.listed() + `
			WHERE NOT ` + full + " AND NOT " + many + order + limit + `)
		UNION ALL (` + whole + ")"
}

// public are the conditions on a profile p alone that the caller may see it.
func (l *lister) public() []string {
	if l.all {
		return nil
	}
	return []string{"p.visibility = 'public'"}
}

// listed joins the account of a profile p, if it is in the list. It is looked up for each row, and so in their order.
func (l *lister) listed() string {
	status := "<> 'deleting'"
	if !l.all {
		status = "= 'active'"
	}
	return " CROSS JOIN LATERAL (SELECT FROM users u WHERE u.id = p.user_id AND u.status " + status + " OFFSET 0) u"
}

// match is the condition on a profile p.
func (l *lister) match() string {
	where := l.attributes()
	if l.f.Search != "" {
		where = append(where, "p.names LIKE lower("+l.arg("%"+postgres.EscapeLike(l.f.Search)+"%")+`) ESCAPE '\'`)
	}
	return strings.Join(where, " AND ")
}

// attributes are the conditions on the attributes of a profile p.
func (l *lister) attributes() []string {
	var where []string
	for _, name := range slices.Sorted(maps.Keys(l.f.Attributes)) {
		var either []string
		for _, doc := range equals(name, l.f.Attributes[name]) {
			either = append(either, "p.attributes @> "+l.arg(doc)+"::text::jsonb")
		}
		where = append(where, "("+strings.Join(either, " OR ")+")")
	}
	return where
}

// behind is the condition that a row stands behind the last one of the page before, or nothing.
func (l *lister) behind(created, key string) string {
	if l.f.After == nil {
		return ""
	}
	return fmt.Sprintf(" AND (%s, %s) < (%s, %s)", created, key, l.arg(l.f.After.Time), l.arg(l.f.After.ID))
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

package user

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

// sorted names the columns that lists go by. Those that can be null put such accounts last, in both directions.
var sorted = map[string]struct {
	column   string
	nullable bool
}{
	"created_at":    {"created_at", false},
	"email":         {"email_norm", true},
	"last_login_at": {"last_login_at", true},
}

// query is a statement as it grows.
type query struct {
	where []string
	args  []any
}

func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	return "$" + strconv.Itoa(len(q.args))
}

func (q *query) add(format string, v any) {
	q.where = append(q.where, strings.ReplaceAll(format, "?", q.arg(v)))
}

// list reads one page in one statement. The page is cut before roles are looked up. Kinds and statuses stand in the text,
// from fixed words, so that the planner sees which partial index serves them.
func list(ctx context.Context, db postgres.DB, f Filter) ([]*User, error) {
	q := &query{where: f.fixed()}
	if f.emailNorm != "" {
		q.add("u.email_norm = ?", f.emailNorm)
	}
	if !f.CreatedAfter.IsZero() {
		q.add("u.created_at > ?", f.CreatedAfter)
	}
	if !f.CreatedBefore.IsZero() {
		q.add("u.created_at < ?", f.CreatedBefore)
	}
	if f.Role != "" && f.Role != role.UserName {
		q.add(`EXISTS (SELECT FROM user_roles h JOIN roles hr ON hr.id = h.role_id
			WHERE h.user_id = u.id AND hr.name = ? AND (h.expires_at IS NULL OR h.expires_at > now()))`, f.Role)
	}
	if f.Search != "" {
		q.add(`(u.email_norm LIKE lower(?) ESCAPE '\' OR lower(u.display_name) LIKE lower(?) ESCAPE '\')`,
			"%"+postgres.EscapeLike(f.Search)+"%")
	}
	by := sorted[f.Sort.Field]
	direction, behind := "ASC", ">"
	if f.Sort.Descending {
		direction, behind = "DESC", "<"
	}
	column := "u." + by.column
	// In the text, as kinds and statuses are: with a parameter the planner makes a new plan at each call.
	limit := strconv.Itoa(f.Limit)
	part := func(order string, conditions ...string) string {
		sql := "(SELECT u.* FROM users u"
		if all := append(conditions, q.where...); len(all) > 0 {
			sql += " WHERE " + strings.Join(all, " AND ")
		}
		return sql + " ORDER BY " + order + " LIMIT " + limit + ")"
	}

	// Accounts that have the value, then those that lack it: each part walks an index.
	var parts []string
	if f.after == nil || f.after.present {
		var conditions []string
		if by.nullable {
			conditions = append(conditions, column+" IS NOT NULL")
		}
		if f.after != nil {
			conditions = append(conditions, fmt.Sprintf("(%s, u.id) %s (%s, %s)", column, behind, q.arg(f.after.value), q.arg(f.after.id)))
		}
		parts = append(parts, part(fmt.Sprintf("%s %s, u.id %s", column, direction, direction), conditions...))
	}
	if by.nullable {
		conditions := []string{column + " IS NULL"}
		if f.after != nil && !f.after.present {
			conditions = append(conditions, fmt.Sprintf("u.id %s %s", behind, q.arg(f.after.id)))
		}
		parts = append(parts, part("u.id "+direction, conditions...))
	}
	order := fmt.Sprintf("%s %s, u.id %s", column, direction, direction)
	if len(parts) > 1 {
		order = column + " IS NULL, " + order
	}
	from := parts[0]
	if len(parts) > 1 {
		from = "(SELECT u.* FROM (" + strings.Join(parts, " UNION ALL ") + ") u ORDER BY " + order + " LIMIT " + limit + ")"
	}
	sql := "SELECT " + columns + " FROM " + from + " u" + withRoles + " ORDER BY " + order

	rows, err := db.Query(ctx, sql, q.args...)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	found, err := collect(rows)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return found, nil
}

// fixed are the conditions that need no argument.
func (f Filter) fixed() []string {
	var where []string
	switch f.Status {
	case Active, Pending, Suspended, Deleting:
		where = append(where, "u.status = '"+string(f.Status)+"'")
	default:
		where = append(where, "u.status <> 'deleting'")
	}
	switch f.Kind {
	case Human, Program:
		where = append(where, "u.kind = '"+string(f.Kind)+"'")
	}
	if f.Role == role.UserName {
		where = append(where, "u.kind = 'human'", "u.status <> 'pending'")
	}
	return where
}

// position is a row's place in a sorted list.
type position struct {
	present bool // whether the row has the sorted value
	value   any
	id      id.ID
}

const absent = "-"

// SortKeys returns the account's place in a list of this order, as text for a cursor; Filter.After takes it.
func (u *User) SortKeys(sort page.Sort) []string {
	key := absent
	switch sort.Field {
	case "email":
		if u.Email != nil {
			key = strings.ToLower(*u.Email)
		}
	case "last_login_at":
		if u.LastLoginAt != nil {
			key = strconv.FormatInt(u.LastLoginAt.UnixMilli(), 10)
		}
	default:
		key = strconv.FormatInt(u.CreatedAt.UnixMilli(), 10)
	}
	return []string{key, u.ID.String()}
}

// parsePosition reads what SortKeys wrote.
func parsePosition(sort page.Sort, keys []string) (*position, bool) {
	if len(keys) != 2 {
		return nil, false
	}
	user, ok := id.Parse(keys[1])
	if !ok {
		return nil, false
	}
	p := &position{present: keys[0] != absent, id: user}
	switch {
	case !p.present:
		return p, sorted[sort.Field].nullable
	case sort.Field == "email":
		p.value = keys[0]
	default:
		ms, err := strconv.ParseInt(keys[0], 10, 64)
		if err != nil {
			return nil, false
		}
		p.value = time.UnixMilli(ms).UTC()
	}
	return p, true
}

package user

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

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

// query collects the arguments of a statement as it grows.
type query struct{ args []any }

func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	return "$" + strconv.Itoa(len(q.args))
}

// list reads one page in one statement. The page is cut before roles are looked up. Kinds and statuses stand in the text,
// from fixed words, so that the planner sees which partial index serves them.
func list(ctx context.Context, db postgres.DB, f Filter) ([]*User, error) {
	q := &query{}
	by := sorted[f.Sort.Field]
	var from string
	short := f.Search != "" && f.emailNorm == "" && !Searchable(f.Search)
	switch {
	case short || f.Search != "" && f.emailNorm != "": // that one account, if it is there
		from = q.near(f, q.match(f), Looked)
	case f.Search != "":
		from = q.search(f)
	case by.nullable:
		from = q.nullable(f)
	default:
		from = q.newest(f, f.Limit)
	}
	order := "u." + by.column + f.direction() + ", u.id" + f.direction()
	if by.nullable {
		order = "u." + by.column + " IS NULL, " + order
	}
	rows, err := db.Query(ctx, "SELECT "+columns+" FROM "+from+" u"+withRoles+" ORDER BY "+order, q.args...)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	found, err := collect(rows)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	if short && len(found) < f.Limit {
		return found, looked(ctx, db, f)
	}
	return found, nil
}

// estimate is how many rows the planner expects.
func estimate(ctx context.Context, db postgres.DB, f Filter) (int64, error) {
	q := &query{}
	from, where := "users u", append(q.account(f), q.created(f, "u.created_at")...)
	if f.stored() {
		from += " JOIN user_roles h ON h.user_id = u.id"
		where = append(where, q.holds(f))
	}
	if f.Search != "" {
		from += " JOIN user_search s ON s.user_id = u.id"
		where = append(where, "s.content "+q.match(f))
	}
	var plan []byte
	err := db.QueryRow(ctx, "EXPLAIN (FORMAT JSON) SELECT FROM "+from+" WHERE "+strings.Join(where, " AND "), q.args...).Scan(&plan)
	if err != nil {
		return 0, fmt.Errorf("estimate users: %w", err)
	}
	var top []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		} `json:"Plan"`
	}
	if err := json.Unmarshal(plan, &top); err != nil || len(top) != 1 {
		return 0, fmt.Errorf("read plan of users: %w", err)
	}
	return int64(top[0].Plan.Rows), nil
}

// newest is the first accounts of the list by creation, as a subquery. Who holds a role is walked in the order of the
// accounts, which stands beside each assignment.
func (q *query) newest(f Filter, limit int, conditions ...string) string {
	from, created, key := "users u", "u.created_at", "u.id"
	if f.stored() {
		from = "user_roles h JOIN users u ON u.id = h.user_id AND " + q.holds(f)
		created, key = "h.user_created_at", "h.user_id"
	}
	where := slices.Concat(conditions, q.account(f), q.created(f, created), q.after(f, created, key))
	return "(SELECT u.* FROM " + from + " WHERE " + strings.Join(where, " AND ") + f.order(created, key) + " LIMIT " + strconv.Itoa(limit) + ")"
}

// nullable is the first accounts of a list by a column that may be null, as a subquery: accounts that have the value, then
// those that lack it. Each part walks an index.
func (q *query) nullable(f Filter) string {
	column := "u." + sorted[f.Sort.Field].column
	where := q.account(f)
	order := column + f.direction() + ", u.id" + f.direction()
	limit := " LIMIT " + strconv.Itoa(f.Limit)
	part := func(order string, conditions ...string) string {
		return "(SELECT u.* FROM users u WHERE " + strings.Join(append(conditions, where...), " AND ") + " ORDER BY " + order + limit + ")"
	}
	var parts []string
	if f.after == nil || f.after.present {
		conditions := []string{column + " IS NOT NULL"}
		if f.after != nil {
			conditions = append(conditions, fmt.Sprintf("(%s, u.id) %s (%s, %s)", column, f.behind(), q.arg(f.after.value), q.arg(f.after.id)))
		}
		parts = append(parts, part(order, conditions...))
	}
	conditions := []string{column + " IS NULL"}
	if f.after != nil && !f.after.present {
		conditions = append(conditions, fmt.Sprintf("u.id %s %s", f.behind(), q.arg(f.after.id)))
	}
	parts = append(parts, part("u.id"+f.direction(), conditions...))
	if len(parts) == 1 {
		return parts[0]
	}
	return "(SELECT u.* FROM (" + strings.Join(parts, " UNION ALL ") + ") u ORDER BY " + column + " IS NULL, " + order + limit + ")"
}

// account are the conditions on the account's own row, but for its creation.
func (q *query) account(f Filter) []string {
	where := f.fixed()
	if f.emailNorm != "" {
		where = append(where, "u.email_norm = "+q.arg(f.emailNorm))
	}
	return where
}

// created are the conditions on the time of the account's creation, which stands in this column.
func (q *query) created(f Filter, column string) []string {
	var where []string
	if !f.CreatedAfter.IsZero() {
		where = append(where, column+" > "+q.arg(f.CreatedAfter))
	}
	if !f.CreatedBefore.IsZero() {
		where = append(where, column+" < "+q.arg(f.CreatedBefore))
	}
	return where
}

// after is the condition that a row stands behind the last one of the page before, by these columns; none on the first page.
func (q *query) after(f Filter, created, key string) []string {
	if f.after == nil {
		return nil
	}
	return []string{fmt.Sprintf("(%s, %s) %s (%s, %s)", created, key, f.behind(), q.arg(f.after.value), q.arg(f.after.id))}
}

// holds is the condition that assignment h gives the role of the filter at this moment.
func (q *query) holds(f Filter) string {
	return "h.role_id = (SELECT id FROM roles WHERE name = " + q.arg(f.Role) + ") AND (h.expires_at IS NULL OR h.expires_at > now())"
}

// stored says whether the filter names a role whose holders have rows.
func (f Filter) stored() bool { return f.Role != "" && f.Role != role.UserName }

func (f Filter) order(created, key string) string {
	return " ORDER BY " + created + f.direction() + ", " + key + f.direction()
}

func (f Filter) direction() string {
	if f.Sort.Descending {
		return " DESC"
	}
	return " ASC"
}

func (f Filter) behind() string {
	if f.Sort.Descending {
		return "<"
	}
	return ">"
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

package user

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

const (
	nearby = 7_500 // accounts that a search compares in the order of the list before it asks the trigrams
	nearer = 1_000 // the same where each has to be read from its own row
	few    = 5_000 // hits of the trigrams that are worth sorting
)

// search is newest narrowed to a term. No one plan serves it: in the order of the list a frequent term is found at once and
// a rare one after everybody; by trigrams a rare one is found at once, and a frequent one is fetched and sorted in full.
// What the planner takes a term for is a guess from samples. So the first accounts of the list are looked at; when these
// do not fill the page, the trigrams; and when these find many, the whole list is walked, on which many are found soon.
// Each part begins only when the counts of those before have called for it.
func (q *query) search(f Filter) string {
	match := q.match(f)
	limit := " LIMIT " + strconv.Itoa(f.Limit)
	full := "(SELECT count(*) = " + strconv.Itoa(f.Limit) + " FROM near)"
	many := "(SELECT count(*) > " + strconv.Itoa(few) + " FROM hits)"
	order := f.order("s.created_at", "s.user_id")
	var near string
	if f.walked() {
		near = q.nearTexts(f, match, nearby)
	} else {
		near = q.near(f, match, nearer)
	}
	// What the coding finds is compared with the text, in a form that has the planner leave the index to the coding.
	hits := append(q.created(f, "s.created_at"), "s.coded LIKE lower("+q.arg("%"+postgres.EscapeLike(Coded(f.Search))+"%")+`) ESCAPE '\'`, "s.content || '' "+match)
	hits = append(hits, q.after(f, "s.created_at", "s.user_id")...)
	return "(WITH near AS MATERIALIZED (" + near + `
		), hits AS MATERIALIZED (
			SELECT s.user_id, s.created_at FROM user_search s
			WHERE NOT ` + full + " AND " + strings.Join(hits, " AND ") + " LIMIT " + strconv.Itoa(few+1) + `
		)
		SELECT * FROM near WHERE ` + full + `
		UNION ALL (SELECT u.* FROM (SELECT * FROM hits s` + order + ") s" + q.of(f) + `
			WHERE NOT ` + full + " AND NOT " + many + order + limit + `)
		UNION ALL ` + q.whole(f, match, "NOT "+full, many) + ")"
}

// near is those of the first accounts of the list that match, as a subquery.
func (q *query) near(f Filter, match string, looked int) string {
	return "(SELECT u.* FROM " + q.newest(f, looked) + " u WHERE " + named(match) + " LIMIT " + strconv.Itoa(f.Limit) + ")"
}

// nearTexts is near for a list that is walked by the texts; of those who are looked at some may not be in the list.
func (q *query) nearTexts(f Filter, match string, looked int) string {
	where := append(q.created(f, "s.created_at"), q.after(f, "s.created_at", "s.user_id")...)
	order := f.order("s.created_at", "s.user_id")
	return "(SELECT u.* FROM (SELECT s.user_id, s.created_at, s.content FROM user_search s" + clause(where) + order +
		" LIMIT " + strconv.Itoa(looked) + ") s" + q.of(f) + " WHERE s.content " + match + order + " LIMIT " + strconv.Itoa(f.Limit) + ")"
}

// whole is the first accounts of the list that match, under further conditions, as a subquery that walks until it has them.
func (q *query) whole(f Filter, match string, conditions ...string) string {
	if !f.walked() {
		return "(SELECT u.* FROM " + q.newest(f, f.Limit, append(conditions, named(match))...) + " u)"
	}
	where := append(conditions, "s.content "+match)
	where = append(append(where, q.created(f, "s.created_at")...), q.after(f, "s.created_at", "s.user_id")...)
	return "(SELECT u.* FROM user_search s" + q.of(f) + clause(where) +
		f.order("s.created_at", "s.user_id") + " LIMIT " + strconv.Itoa(f.Limit) + ")"
}

// of joins the one account u of a row s, if it is in the list. It is looked up for each row, and so in their order.
func (q *query) of(f Filter) string {
	where := q.account(f)
	if f.stored() {
		where = append(where, "EXISTS (SELECT FROM user_roles h WHERE h.user_id = u.id AND "+q.holds(f)+")")
	}
	return " CROSS JOIN LATERAL (SELECT u.* FROM users u WHERE u.id = s.user_id AND " + strings.Join(where, " AND ") + " OFFSET 0) u"
}

// walked says whether most accounts are in the list, so that it can be walked by the texts alone, without the accounts.
// The others have indexes of their own, which do not hold the texts.
func (f Filter) walked() bool {
	return (f.Status == "" || f.Status == Active) && f.Kind != Program && (f.Role == "" || f.Role == role.UserName) && f.emailNorm == ""
}

// match compares with the term of the filter.
func (q *query) match(f Filter) string {
	return "LIKE lower(" + q.arg("%"+postgres.EscapeLike(f.Search)+"%") + `) ESCAPE '\'`
}

// named is the comparison with the name and address of an account u.
func named(match string) string {
	return "(u.email_norm " + match + " OR lower(u.display_name) " + match + ")"
}

func clause(where []string) string {
	if len(where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(where, " AND ")
}

// looked returns ErrShortSearch when the list goes on behind what a short term was compared with.
func looked(ctx context.Context, db postgres.DB, f Filter) error {
	q := &query{}
	var more bool
	err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+q.newest(f, Looked+1)+" u OFFSET "+strconv.Itoa(Looked)+")", q.args...).Scan(&more)
	if err != nil {
		return fmt.Errorf("look behind a short search: %w", err)
	}
	if more {
		return ErrShortSearch
	}
	return nil
}

package user_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/page"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// last remembers the statement that was asked last.
type last struct {
	mu   sync.Mutex
	sql  string
	args []any
}

func (l *last) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sql, l.args = q.SQL, q.Args
	return ctx
}
func (l *last) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// node is a part of a plan that has been run.
type node struct {
	Type      string  `json:"Node Type"`
	Relation  string  `json:"Relation Name"`
	Alias     string  `json:"Alias"`
	Rows      float64 `json:"Actual Rows"`
	Loops     float64 `json:"Actual Loops"`
	Filtered  float64 `json:"Rows Removed by Filter"`
	Rechecked float64 `json:"Rows Removed by Index Recheck"`
	Plans     []node  `json:"Plans"`
}

// touched is how many rows of tables the plan looked at, but for the assignments (g) of those on the page: while they are
// few in all, reading all of them is the best there is.
func (n node) touched() float64 {
	sum := 0.0
	if n.Relation != "" && n.Alias != "g" {
		sum = (n.Rows + n.Filtered + n.Rechecked) * n.Loops
	}
	for _, p := range n.Plans {
		sum += p.touched()
	}
	return sum
}

// Figures: what a page looks at does not grow with the number of accounts, whatever the order, the filter and the term.
// HTTP-09: no term makes the database read everybody. Among so many everything that walks past everybody is seen.
func TestPlansLookAtFewRows(t *testing.T) {
	t.Parallel()
	seen := &last{}
	dsn := pgtest.URL(t)
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(dsn), ExecMode: "cache_statement", MaxConns: 2, Tracer: seen}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = user.Seed(t.Context(), pool, 40_000)
	require.NoError(t, err)
	owner, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	_, err = owner.Exec(t.Context(), `
		WITH r AS (INSERT INTO roles (name) VALUES ('rare'), ('frequent') RETURNING id, name)
		INSERT INTO user_roles (user_id, role_id)
		SELECT u.id, r.id FROM r, LATERAL (SELECT id FROM users ORDER BY created_at LIMIT CASE r.name WHEN 'rare' THEN 3 ELSE 9000 END) u`)
	require.NoError(t, err)
	_, err = owner.Exec(t.Context(), `UPDATE users SET kind = 'service', email = NULL, email_norm = NULL WHERE id = (SELECT id FROM users ORDER BY created_at LIMIT 1)`)
	require.NoError(t, err)
	_, err = owner.Exec(t.Context(), "VACUUM ANALYZE")
	require.NoError(t, err)
	// Reading all rows in a row costs about as much as finding the few in an index. With dear rows it does not.
	_, err = owner.Exec(t.Context(), "SET cpu_tuple_cost = 1")
	require.NoError(t, err)

	s := user.NewService(pool)
	email, login := page.Sort{Field: "email"}, page.Sort{Field: "last_login_at", Descending: true}
	old := time.Now().AddDate(-9, 0, 0)
	for name, c := range map[string]struct {
		f    user.Filter
		rows int
	}{
		"everybody":                 {user.Filter{}, 51},
		"a later page":              {user.Filter{After: []string{"1600000000000", "00000000-0000-7000-8000-000000000001"}}, 51},
		"by address":                {user.Filter{Sort: email}, 51},
		"by sign-in":                {user.Filter{Sort: login}, 51},
		"pending":                   {user.Filter{Status: user.Pending}, 51},
		"pending by address":        {user.Filter{Status: user.Pending, Sort: email}, 51},
		"pending by sign-in":        {user.Filter{Status: user.Pending, Sort: login}, 51},
		"deleting, of whom is none": {user.Filter{Status: user.Deleting, Sort: login}, 0},
		"active":                    {user.Filter{Status: user.Active, Sort: email}, 51},
		"service":                   {user.Filter{Kind: user.Program}, 1},
		"service by address":        {user.Filter{Kind: user.Program, Sort: email}, 1},
		"service by sign-in":        {user.Filter{Kind: user.Program, Sort: login}, 1},
		"an address":                {user.Filter{Email: "nobody@example.com", Sort: login}, 0},
		"the oldest":                {user.Filter{CreatedBefore: old}, 51},
		"a rare role":               {user.Filter{Role: "rare"}, 3},
		"a frequent role":           {user.Filter{Role: "frequent"}, 51},
		"a role of nobody":          {user.Filter{Role: "nobody"}, 0},
		"one hit":                   {user.Filter{Search: ".11111@"}, 1},
		"no hit":                    {user.Filter{Search: "zzzz"}, 0},
		"many hits":                 {user.Filter{Search: "example"}, 51},
		"some hits":                 {user.Filter{Search: "turing"}, 51},
		"a hit of another status":   {user.Filter{Search: ".11111@", Status: user.Pending}, 0},
		"one hit in a role":         {user.Filter{Search: ".11111@", Role: "rare"}, 0},
		"many hits in a role":       {user.Filter{Search: "example", Role: "rare"}, 2},
		"one hit of an old time":    {user.Filter{Search: ".11111@", CreatedBefore: old}, 0},
		"words of everybody":        {user.Filter{Search: "com.exa"}, 0},
		"marks of everybody":        {user.Filter{Search: "@example.com@"}, 0},
		"two names":                 {user.Filter{Search: "ada allen"}, 14},
		"another mark":              {user.Filter{Search: "example com"}, 0},
		"an end of everybody":       {user.Filter{Search: ".example.com"}, 0},
		"a term of one letter each": {user.Filter{Search: "a t"}, 51},
		"a short term":              {user.Filter{Search: "a"}, 51},
	} {
		t.Run(name, func(t *testing.T) {
			if c.f.Sort.Field == "" {
				c.f.Sort = user.DefaultSort
			}
			c.f.Limit = 51
			got, err := s.List(t.Context(), operator, c.f)
			require.NoError(t, err)
			require.Len(t, got, c.rows)
			var text []byte
			require.NoError(t, owner.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+seen.sql, seen.args...).Scan(&text))
			var plan []struct{ Plan node }
			require.NoError(t, json.Unmarshal(text, &plan))
			most := 6500.0
			if c.f.Search != "" {
				most = 14_000 // texts in their order, and hits of the trigrams
			}
			require.LessOrEqual(t, plan[0].Plan.touched(), most, "%s\n%s", seen.sql, text)
		})
	}

	// A term that nothing finds is compared with so many, and then refused: an answer is complete or none.
	_, err = s.List(t.Context(), operator, user.Filter{Search: "%", Sort: user.DefaultSort, Limit: 51})
	require.ErrorIs(t, err, user.ErrShortSearch)
	_, err = s.List(t.Context(), operator, user.Filter{Search: "%", Role: "frequent", Sort: user.DefaultSort, Limit: 51})
	require.NoError(t, err, "fewer than that hold the role")

	total, err := s.Total(t.Context(), operator, user.Filter{Sort: user.DefaultSort})
	require.NoError(t, err)
	require.InDelta(t, 40_000, total, 4000)
}

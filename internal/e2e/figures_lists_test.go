//go:build figures

package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFiguresOfLists compares single requests among ten thousand people and among a million: the median may grow to 1.5
// times, or stay under 8 ms; no term may take 200 ms (HTTP-09).
func TestFiguresOfLists(t *testing.T) {
	t.Run("10 thousand", func(t *testing.T) { figuresOfLists(t, 10_000) })
	t.Run("1 million", func(t *testing.T) { figuresOfLists(t, 1_000_000) })
}

func figuresOfLists(t *testing.T, n int) {
	p := start(t)
	began := time.Now()
	seed := exec.CommandContext(t.Context(), binary, "seed", "--users", fmt.Sprint(n))
	seed.Env = p.env
	out, err := seed.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("seeded %d people in %s", n, time.Since(began).Round(time.Second))
	// Three tenths are public; everybody works somewhere, and has a number.
	p.execute(t, `
		INSERT INTO profiles (user_id, given_name, family_name, nickname, visibility, attributes)
		SELECT id, split_part(display_name, ' ', 1), split_part(display_name, ' ', 2), 'nick' || row_number() OVER (),
			CASE WHEN hashtext(email) % 10 IN (0, 1, 2) THEN 'public' ELSE 'private' END,
			jsonb_build_object('team', 'team' || abs(hashtext(email)) % 20, 'floor', abs(hashtext(email)) % 500, 'number', row_number() OVER ())
		FROM users WHERE email LIKE '%@example.com' ON CONFLICT DO NOTHING`)
	_, err = p.db(t).Exec(t.Context(), "VACUUM ANALYZE")
	require.NoError(t, err)
	admin := p.admin(t)
	_, reader := p.person(t, admin, "reader@example.org")

	figure(t, admin, "/users", "page 1", "", -1)
	cursor, pages := "", min(10_000, n/100)
	for range pages - 1 {
		cursor = admin.GET(t, "/users?limit=50&cursor="+url.QueryEscape(cursor)).Want(t, http.StatusOK).String(t, "next_cursor")
	}
	figure(t, admin, "/users", fmt.Sprintf("page %d by cursor", pages), "cursor="+url.QueryEscape(cursor), -1)
	figure(t, admin, "/users", "pending, by sign-in", "status=pending&sort=-last_login_at", -1)
	for _, term := range []string{
		fmt.Sprintf(".%d@", n/1000*271+828), "5@ex", "00@", "000@", "77@", "anna", "turing", "ada allen", "a t", "an", "example", "com.exa", "@example.com@", "zzzz", "sonson", "anana", "100%",
	} {
		hits := p.count(t, "SELECT count(*) FROM user_search WHERE content LIKE '%' || $1 || '%'", term)
		figure(t, admin, "/users", "search "+term, "search="+url.QueryEscape(term), hits)
		figure(t, admin, "/users", "search "+term+", pending", "status=pending&search="+url.QueryEscape(term), -1)
	}
	for _, term := range []string{fmt.Sprintf("nick%d", n/1000*271+828), "nick", "turing", "anna", "ada allen", "a t", "son son", "zzzz"} {
		hits := p.count(t, "SELECT count(*) FROM profiles WHERE names LIKE '%' || $1 || '%'", term)
		figure(t, admin, "/profiles", "search "+term, "search="+url.QueryEscape(term), hits)
		figure(t, reader, "/profiles", "search "+term+", public ones", "search="+url.QueryEscape(term), -1)
	}
	for _, filter := range []string{
		fmt.Sprintf("attributes.number=%d", n/1000*271+828), "attributes.floor=13", "attributes.team=team3", "attributes.team=none", "attributes.team=team3&attributes.floor=3",
		"attributes.team=team3&search=anna",
	} {
		figure(t, admin, "/profiles", filter, filter, -1)
	}
}

// figure prints what the request takes, as median and longest of thirty, one after the other.
func figure(t *testing.T, as *signedIn, path, name, query string, hits int) {
	t.Helper()
	var took []time.Duration
	var status int
	for i := range 33 {
		began := time.Now()
		a, _, err := as.Try(http.MethodGet, path+"?"+query, nil)
		if i >= 3 { // the first ones make plans
			took = append(took, time.Since(began))
		}
		require.NoError(t, err)
		status = a.Status
	}
	longest := took[0]
	for _, d := range took {
		longest = max(longest, d)
	}
	of := ""
	if hits >= 0 {
		of = fmt.Sprintf(" (%d hits)", hits)
	}
	t.Logf("%s %s%s: %d, median %.1f ms, longest %.1f ms", path, name, of, status, ms(median(took)), ms(longest))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

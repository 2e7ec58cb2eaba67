package user_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/postgres"
)

func TestSearchable(t *testing.T) {
	t.Parallel()
	for term, want := range map[string]bool{
		"ada": true, "a b": true, "@ex": true, "...": true, "ünl": true, "12-": true, "e\u0301a": true, "%o'n": true,
		"": false, "ad": false, "%_%": false, "ü–l": false, "a\u00a0bc": false, "ab–cd": false, "a/b": false,
	} {
		require.Equal(t, want, user.Searchable(term), "%q", term)
	}
}

// The database and the service code alike, or what is there would not be found.
func TestHTTP09_TermsAreCodedAsTheDatabaseDoes(t *testing.T) {
	t.Parallel()
	pool, _ := open(t)
	var every []rune
	for r := rune(1); r < 0x250; r++ {
		every = append(every, r)
	}
	var coded string
	var trigrams []string
	err := pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		return tx.QueryRow(ctx, "SELECT search_code($1), show_trgm(search_code('com.exa'))", string(every)).Scan(&coded, &trigrams)
	})
	require.NoError(t, err)
	require.Equal(t, coded, user.Coded(string(every)))
	require.Len(t, trigrams, len("com.exa")+1, "one word")
}

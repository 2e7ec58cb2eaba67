package notify

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each event has words of its own in each language, with and without a factor's name.
func TestSecondFactorEvents(t *testing.T) {
	t.Parallel()
	all, err := parse()
	require.NoError(t, err)
	for _, l := range languages {
		seen := map[string]FactorEvent{}
		for _, event := range []FactorEvent{FactorAdded, FactorRemoved, FactorsReset, RecoveryMade} {
			for _, factor := range []string{"", "telephone"} {
				r, err := all.render("second_factor", l, "UMS", SecondFactor{Event: event, Factor: factor, At: at}.values(Links{}, l))
				require.NoError(t, err)
				require.Contains(t, r.subject, "UMS")
				require.Equal(t, factor != "", containsBoth(r, "telephone"))
				if other, ok := seen[r.subject]; ok {
					require.Equal(t, event, other, r.subject)
				}
				seen[r.subject] = event
			}
		}
		require.Len(t, seen, 4)
	}
}

func containsBoth(r rendered, word string) bool {
	return strings.Contains(r.text, word) && strings.Contains(r.html, word)
}

package role

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What can be asked for is what the expressions of names say, and the wildcards.
func TestAskableIsWhatTheNamesSay(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(
		rapid.StringMatching(`[a-z*][a-zA-Z0-9_*-]{0,2}(:[a-z0-9*]?[a-z0-9_-]{0,2}){0,2}\n?`),
		rapid.StringMatching(`[a-z]{1,64}:[a-z]{1,64}`), rapid.SampledFrom([]string{"", "*", ":", "a:", ":a", "*:*", "a:*", "*:a"}), rapid.String(),
	)
	rapid.Check(t, func(t *rapid.T) {
		p := text.Draw(t, "p")
		want := p == "*" || permissionName.MatchString(p)
		if n := len(p) - 2; n > 0 && p[n:] == ":*" {
			want = resourceName.MatchString(p[:n])
		}
		require.Equal(t, want, Askable(p), "%q", p)
	})
}

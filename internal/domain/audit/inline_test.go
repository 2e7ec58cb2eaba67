package audit

import (
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// An event that a statement records by itself is the one that Record would have made, its commitment included.
func TestInline(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	user, target := id.New(), id.New()
	const label = "o'neil!#$%&*+-/=?^_`{|}~.x@xn--bcher-kva.example"
	for name, origin := range map[string]actor.Origin{
		"all":     {IP: netip.MustParseAddr("2001:db8::1"), UserAgent: "a \"quote\" \\ <b> \u2028 é \x1b[31m", RequestID: "request-1"},
		"nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			by := actor.Nobody(origin)
			args, err := InlineArgs(by, "session.refresh", "session")
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), `WITH done AS (SELECT $1::uuid AS user_id, $2::text AS email, $3::uuid AS id), `+Inline("done", 4)+` SELECT 1`,
				append([]any{user, label, target}, args...)...)
			require.NoError(t, err)

			event, err := get(t.Context(), pool, args[0].(id.ID)) //nolint:forcetypeassert // the event's id
			require.NoError(t, err)
			want, err := newRow(by.As(user, label), Event{Action: "session.refresh", Outcome: Success, Target: Target{Type: "session", ID: target}})
			require.NoError(t, err)
			require.Equal(t, want.actor.Label, event.Label)
			require.Equal(t, want.actor.IP, event.IP)
			require.Equal(t, want.actor.UserAgent, event.UserAgent)
			require.Equal(t, want.requestID, event.RequestID)
			require.Equal(t, want.actorID, event.ActorID)
			require.Equal(t, want.targetID, event.TargetID)
			require.Equal(t, actor.User, event.ActorType)

			var salt, commitment []byte
			require.NoError(t, pool.QueryRow(t.Context(), `
				SELECT p.salt, e.actor_commitment FROM audit_events e JOIN audit_personal p ON p.event_id = e.id WHERE e.id = $1`, args[0]).
				Scan(&salt, &commitment))
			canonical, err := want.actor.canonical()
			require.NoError(t, err)
			sum := sha256.Sum256(append(salt, canonical...))
			require.Equal(t, sum[:], commitment)
		})
	}
}

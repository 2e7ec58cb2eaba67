package idempotency_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/keyring"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/postgres/pgtest"
	"github.com/user-management-service/ums/internal/platform/secret"
)

func newStore(t *testing.T) (*idempotency.Store, *postgres.Pool) {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgres.Config{
		URL: secret.New(pgtest.URL(t)), ExecMode: "cache_statement", MaxConns: 8,
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	ring, err := keyring.Parse(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789ABCDEF")))
	require.NoError(t, err)
	return idempotency.New(pool, ring), pool
}

func request(key, body string) idempotency.Request {
	return idempotency.Request{Caller: "user:1", Route: "POST /things", Key: key, Body: []byte(body)}
}

// finish keeps an answer as a creating service would, and counts the effect.
func finish(ctx context.Context, pool *postgres.Pool, slot *idempotency.Slot, content string) error {
	return pool.InTx(ctx, func(ctx context.Context, tx postgres.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO permissions (name) VALUES (gen_random_uuid()::text)`); err != nil {
			return err
		}
		keep := idempotency.Keep[string](func(ctx context.Context, tx postgres.Tx, result string) error {
			return slot.Keep(ctx, tx, idempotency.Answer{Status: 201, Content: []byte(result)})
		})
		return keep.Do(ctx, tx, content)
	})
}

func effects(t *testing.T, pool *postgres.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM permissions WHERE NOT system`).Scan(&n))
	return n
}

// HTTP-10: fifty parallel repeats have one effect, and every one that is answered is answered alike.
func TestHTTP10ParallelRepeatsHaveOneEffect(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	var did, replayed, busy atomic.Int32
	var start, done sync.WaitGroup
	start.Add(1)
	for i := range 50 {
		done.Go(func() {
			start.Wait()
			slot, answer, err := store.Begin(t.Context(), request("k", `{"a":1}`))
			switch {
			case errors.Is(err, idempotency.ErrInProgress):
				busy.Add(1)
			case err != nil:
				t.Error(err)
			case answer != nil:
				replayed.Add(1)
			default:
				did.Add(1)
				if err := finish(t.Context(), pool, slot, "first "+strconv.Itoa(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	start.Done()
	done.Wait()
	require.EqualValues(t, 1, did.Load())
	require.EqualValues(t, 49, replayed.Load()+busy.Load())
	require.Equal(t, 1, effects(t, pool))

	_, first, err := store.Begin(t.Context(), request("k", `{"a":1}`))
	require.NoError(t, err)
	_, second, err := store.Begin(t.Context(), request("k", `{"a":1}`))
	require.NoError(t, err)
	require.Equal(t, 201, first.Status)
	require.Equal(t, first, second)
}

func TestHTTP10OtherBodyCallerRouteAndKey(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	slot, _, err := store.Begin(t.Context(), request("k", "body"))
	require.NoError(t, err)

	_, _, err = store.Begin(t.Context(), request("k", "body"))
	require.ErrorIs(t, err, idempotency.ErrInProgress)
	_, _, err = store.Begin(t.Context(), request("k", "other"))
	require.ErrorIs(t, err, idempotency.ErrReused, "another body is refused while the first is in flight")
	require.NoError(t, finish(t.Context(), pool, slot, "answer"))
	_, _, err = store.Begin(t.Context(), request("k", "other"))
	require.ErrorIs(t, err, idempotency.ErrReused)

	for name, change := range map[string]func(*idempotency.Request){
		"caller": func(r *idempotency.Request) { r.Caller = "user:2" },
		"route":  func(r *idempotency.Request) { r.Route = "POST /others" },
		"key":    func(r *idempotency.Request) { r.Key = "K" },
		// The parts are bound apart: moving a character from one to the next is another request.
		"border": func(r *idempotency.Request) { r.Caller, r.Route = "user:1P", "OST /things" },
	} {
		r := request("k", "body")
		change(&r)
		slot, answer, err := store.Begin(t.Context(), r)
		require.NoError(t, err, name)
		require.NotNil(t, slot, name)
		require.Nil(t, answer, name)
	}
}

// A request that had no effect leaves no trace; one whose outcome is unknown to its caller keeps what it committed.
func TestRelease(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	slot, _, err := store.Begin(ctx, request("k", "refused"))
	require.NoError(t, err)
	cancel() // the client is gone
	require.NoError(t, slot.Release(ctx))

	slot, _, err = store.Begin(t.Context(), request("k", "corrected"))
	require.NoError(t, err, "only answers that were kept bind the key to a body")
	require.NoError(t, finish(t.Context(), pool, slot, "done"))
	require.NoError(t, slot.Release(t.Context()))
	_, answer, err := store.Begin(t.Context(), request("k", "corrected"))
	require.NoError(t, err)
	require.Equal(t, "done", string(answer.Content))
}

// HTTP-10, crash: the lease of a dead process ends, and if the process was only slow its transaction fails.
func TestHTTP10LeaseOfTheDeadIsTakenOver(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	slow, _, err := store.Begin(t.Context(), request("k", "body"))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `UPDATE idempotency_keys SET leased_until = now() - interval '1 ms'`)
	require.NoError(t, err)

	heir, _, err := store.Begin(t.Context(), request("k", "body"))
	require.NoError(t, err)
	require.NotNil(t, heir)
	require.ErrorIs(t, finish(t.Context(), pool, slow, "late"), idempotency.ErrInProgress)
	require.Zero(t, effects(t, pool), "the late effect was rolled back")
	require.NoError(t, slow.Release(t.Context()))
	_, _, err = store.Begin(t.Context(), request("k", "body"))
	require.ErrorIs(t, err, idempotency.ErrInProgress, "the late one cannot release the heir's lease")

	require.NoError(t, finish(t.Context(), pool, heir, "once"))
	require.Equal(t, 1, effects(t, pool))

	unclaimed, _, err := store.Begin(t.Context(), request("k2", "body"))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `UPDATE idempotency_keys SET leased_until = now() - interval '1 ms' WHERE answer IS NULL`)
	require.NoError(t, err)
	require.NoError(t, finish(t.Context(), pool, unclaimed, "slow"), "an ended lease that nobody took is still good")
}

// A repeat must not wait for the transaction in which the first one keeps its answer.
func TestRepeatDuringCommitIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	slot, _, err := store.Begin(t.Context(), request("k", "body"))
	require.NoError(t, err)
	err = pool.InTx(t.Context(), func(ctx context.Context, tx postgres.Tx) error {
		require.NoError(t, slot.Keep(ctx, tx, idempotency.Answer{Status: 201}))
		_, _, err := store.Begin(ctx, request("k", "body")) // would end in a lock timeout
		require.ErrorIs(t, err, idempotency.ErrInProgress)
		return nil
	})
	require.NoError(t, err)
}

func TestAnswersExpireAndAreSwept(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	slot, _, err := store.Begin(t.Context(), request("k", "body"))
	require.NoError(t, err)
	require.NoError(t, finish(t.Context(), pool, slot, "answer"))
	n, err := store.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)

	var hours float64
	require.NoError(t, pool.QueryRow(t.Context(),
		`SELECT extract(epoch FROM expires_at - now()) / 3600 FROM idempotency_keys`).Scan(&hours))
	require.InDelta(t, 24, hours, 0.1)
	_, err = pool.Exec(t.Context(), `UPDATE idempotency_keys SET expires_at = now() - interval '1 ms'`)
	require.NoError(t, err)
	slot, answer, err := store.Begin(t.Context(), request("k", "other body"))
	require.NoError(t, err, "an expired key is a new one")
	require.Nil(t, answer)
	require.NoError(t, slot.Release(t.Context()))

	_, err = pool.Exec(t.Context(), `
		INSERT INTO idempotency_keys (key, fingerprint, holder, leased_until, expires_at)
		SELECT decode(lpad(i::text, 8, '0'), 'hex'), '', gen_random_uuid(), now(), now() - interval '1 s' FROM generate_series(1, 1001) i`)
	require.NoError(t, err)
	n, err = store.Sweep(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1001, n)
}

// HTTP-10: secrets are not stored in clear, and a row means nothing in another's place.
func TestHTTP10NothingReadableInTheTable(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	for _, caller := range []string{"user:a", "user:b"} {
		slot, _, err := store.Begin(t.Context(), idempotency.Request{
			Caller: caller, Route: "POST /things", Key: "client-key", Body: []byte("hunter2 body"),
		})
		require.NoError(t, err)
		require.NoError(t, finish(t.Context(), pool, slot, "ums_live_secret"))
	}
	var dump []byte
	require.NoError(t, pool.QueryRow(t.Context(),
		`SELECT string_agg(key || fingerprint || answer, ''::bytea) FROM idempotency_keys`).Scan(&dump))
	for _, clear := range []string{"ums_live_secret", "hunter2", "client-key", "user:a"} {
		require.False(t, bytes.Contains(dump, []byte(clear)), clear)
	}
	var fingerprints int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(DISTINCT fingerprint) FROM idempotency_keys`).Scan(&fingerprints))
	require.Equal(t, 2, fingerprints, "equal bodies of two callers are not seen to be equal")

	_, err := pool.Exec(t.Context(), `UPDATE idempotency_keys a SET answer = b.answer FROM idempotency_keys b WHERE a.key <> b.key`)
	require.NoError(t, err)
	_, _, err = store.Begin(t.Context(), idempotency.Request{
		Caller: "user:a", Route: "POST /things", Key: "client-key", Body: []byte("hunter2 body"),
	})
	require.ErrorIs(t, err, keyring.ErrOpen)
}

func TestKeepNilKeepsNothing(t *testing.T) {
	t.Parallel()
	var none idempotency.Keep[int]
	require.NoError(t, none.Do(t.Context(), postgres.Tx{}, 1))
}

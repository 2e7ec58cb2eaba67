package password

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// cheap makes tests quick; its strings differ from production's in their figures alone.
var cheap = Config{Argon2MemoryKiB: 64, Argon2Iterations: 1, Argon2Parallelism: 1, MinLength: 12}

func newTestHasher(t require.TestingT, cfg Config) *Hasher {
	h, err := NewHasher(cfg)
	require.NoError(t, err)
	return h
}

func TestVerify_knownAnswersOfTheReferenceProgram(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	for stored, password := range map[string]string{ // argon2 -id -e, version 20171227
		"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$K13EBUiG7JV+9ZxztmHFTdb7J0WQsnj2V8bZaqyPptE": "password",
		"$argon2id$v=19$m=256,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$GjC2nc33eJx648gUUtda5eijJSggQbbaIU/BqQQYIsg":   "pässwörd 🔑",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$RV/wL4VdAuoGbwr3+U9msg":                                    "x",
	} {
		ok, rehash, err := h.Verify(t.Context(), secret.New(password), stored)
		require.NoError(t, err)
		require.True(t, ok, stored)
		require.True(t, rehash, "all differ from what this hasher makes")
		ok, rehash, err = h.Verify(t.Context(), secret.New(password+"x"), stored)
		require.NoError(t, err)
		require.False(t, ok)
		require.False(t, rehash, "a wrong password renews nothing")
	}
}

func TestHash_roundTrips(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.String().Draw(t, "password")
		other := rapid.String().Filter(func(s string) bool { return s != password }).Draw(t, "other")
		stored, err := h.Hash(context.Background(), secret.New(password))
		require.NoError(t, err)
		require.Regexp(t, `^\$argon2id\$v=19\$m=64,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, stored)
		ok, rehash, err := h.Verify(context.Background(), secret.New(password), stored)
		require.NoError(t, err)
		require.True(t, ok)
		require.False(t, rehash)
		ok, _, err = h.Verify(context.Background(), secret.New(other), stored)
		require.NoError(t, err)
		require.False(t, ok)
	})
}

func TestPWD01_noPrefixOfALongPasswordPasses(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	long := strings.Repeat("0123456789", 10)
	stored, err := h.Hash(t.Context(), secret.New(long))
	require.NoError(t, err)
	for _, other := range []string{long[:72], long[:64], long[:99], long + "x", long + "\x00"} {
		ok, _, err := h.Verify(t.Context(), secret.New(other), stored)
		require.NoError(t, err)
		require.False(t, ok)
	}
}

func TestHash_normalisesToNFC(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	stored, err := h.Hash(t.Context(), secret.New("u\u0308ber\u212bngstro\u0308m")) // decomposed, and an Ångström sign
	require.NoError(t, err)
	ok, _, err := h.Verify(t.Context(), secret.New("\u00fcber\u00c5ngstr\u00f6m"), stored)
	require.NoError(t, err)
	require.True(t, ok)
	ok, _, err = h.Verify(t.Context(), secret.New("\u00dcber\u00c5ngstr\u00f6m"), stored)
	require.NoError(t, err)
	require.False(t, ok, "case is kept")
}

func TestVerify_asksForARehash(t *testing.T) {
	t.Parallel()
	stored, err := newTestHasher(t, cheap).Hash(t.Context(), secret.New("p"))
	require.NoError(t, err)
	for name, change := range map[string]func(*Config){
		"memory":      func(c *Config) { c.Argon2MemoryKiB++ },
		"iterations":  func(c *Config) { c.Argon2Iterations++ },
		"parallelism": func(c *Config) { c.Argon2Parallelism++ },
	} {
		cfg := cheap
		change(&cfg)
		ok, rehash, err := newTestHasher(t, cfg).Verify(t.Context(), secret.New("p"), stored)
		require.NoError(t, err)
		require.True(t, ok, name)
		require.True(t, rehash, name)
	}
}

func TestVerify_costsOneVerificationAlsoForNobody(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	type call struct {
		iterations, memory uint32
		parallelism        uint8
		salt, size         int
	}
	var calls []call
	derive := h.derive
	h.derive = func(password, salt []byte, iterations, memory uint32, parallelism uint8, size uint32) []byte {
		calls = append(calls, call{iterations, memory, parallelism, len(salt), int(size)})
		return derive(password, salt, iterations, memory, parallelism, size)
	}
	stored, err := h.Hash(t.Context(), secret.New("p"))
	require.NoError(t, err)
	_, _, err = h.Verify(t.Context(), secret.New("p"), stored)
	require.NoError(t, err)
	require.NoError(t, h.VerifyDummy(t.Context(), secret.New("p")))
	require.Len(t, calls, 3)
	require.Equal(t, calls[1], calls[2], "the dummy works as hard as a real one")
	require.Equal(t, Stats{Slots: cap(h.slots), Hashes: 1, Verifications: 2}, h.Stats())

	_, _, err = h.Verify(t.Context(), secret.New("p"), "$1$abc$def")
	require.ErrorIs(t, err, ErrUnsupported)
	require.Len(t, calls, 3)
}

func TestPWD09_theQueueIsBoundedAndAnswersAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newTestHasher(t, cheap)
		h.slots, h.limit = make(chan struct{}, 2), 3
		open := make(chan struct{})
		h.derive = func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte {
			<-open
			return make([]byte, size)
		}
		var wg sync.WaitGroup
		var cancels []context.CancelFunc
		results := make(chan error, 5)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			wg.Go(func() { results <- h.VerifyDummy(ctx, secret.New("p")) })
			synctest.Wait()
		}
		require.Equal(t, Stats{Slots: 2, InFlight: 2, Queued: 3, Verifications: 2}, h.Stats())

		_, err := h.Hash(t.Context(), secret.New("p"))
		require.ErrorIs(t, err, ErrOverloaded)
		f := fault.As(err)
		require.Equal(t, fault.Unavailable, f.Kind)
		require.Positive(t, f.RetryAfter)
		require.ErrorIs(t, h.Admit(), ErrOverloaded)
		require.Equal(t, uint64(2), h.Stats().Rejected)

		cancels[4]() // the last in the queue gives up and makes room
		synctest.Wait()
		require.ErrorIs(t, <-results, context.Canceled)
		require.NoError(t, h.Admit())
		require.Equal(t, 2, h.Stats().Queued)

		close(open)
		wg.Wait()
		for range 4 {
			require.NoError(t, <-results)
		}
		require.Equal(t, Stats{Slots: 2, Verifications: 4, Rejected: 2}, h.Stats())
		for _, cancel := range cancels {
			cancel()
		}
	})
}

func TestHasher_givesItsSlotBackOnAPanic(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte { panic("argon2") }
	require.Panics(t, func() { _ = h.VerifyDummy(t.Context(), secret.New("p")) })
	require.Zero(t, h.Stats().InFlight)
}

func TestHasher_doesNothingForACallerWhoHasGone(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, h.VerifyDummy(ctx, secret.New("p")), context.Canceled)
	_, err := h.Hash(ctx, secret.New("p"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, Stats{Slots: cap(h.slots)}, h.Stats())
}

func TestNewHasher_leavesAProcessorFree(t *testing.T) {
	t.Parallel()
	h := newTestHasher(t, cheap)
	require.Equal(t, max(1, runtime.GOMAXPROCS(0)-1), cap(h.slots))
	_, err := NewHasher(Config{})
	require.Error(t, err)
}

func TestConfig_Validate(t *testing.T) {
	t.Parallel()
	standard := Config{Argon2MemoryKiB: 19456, Argon2Iterations: 2, Argon2Parallelism: 1, MinLength: 12}
	require.NoError(t, standard.Validate())
	require.False(t, standard.Weak())
	require.True(t, cheap.Weak())
	require.True(t, Config{Argon2MemoryKiB: 19, Argon2Iterations: 2}.Weak(), "MiB taken for KiB")
	err := Config{MinLength: 7}.Validate()
	require.ErrorContains(t, err, "UMS_ARGON2_MEMORY_KIB")
	require.ErrorContains(t, err, "UMS_PASSWORD_MIN_LENGTH is 7")
}

func BenchmarkVerify(b *testing.B) {
	h := newTestHasher(b, Config{Argon2MemoryKiB: 19456, Argon2Iterations: 2, Argon2Parallelism: 1})
	b.ReportAllocs()
	for b.Loop() {
		if err := h.VerifyDummy(b.Context(), secret.New("correct horse battery staple")); err != nil {
			b.Fatal(err)
		}
	}
}

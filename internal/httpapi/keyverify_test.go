package httpapi

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/user-management-service/ums/internal/platform/id"
)

// What is written by hand is what the type says, whatever the values.
func TestVerdictsAreWrittenAsTyped(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := timestamp(time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "at")))
		key, user := id.New(), id.New()
		v := KeyVerdict{
			Valid: rapid.Bool().Draw(t, "valid"), Code: rapid.String().Draw(t, "code"), Scopes: rapid.SliceOf(rapid.String()).Draw(t, "scopes"),
			Environment: rapid.Ptr(rapid.String(), true).Draw(t, "environment"), ExpiresAt: rapid.Ptr(rapid.Just(at), true).Draw(t, "expiry"),
			RateLimit: rapid.Ptr(rapid.Just(keyRateState{Limit: 10, Remaining: 9, ResetSeconds: 8}), true).Draw(t, "rate"),
		}
		if rapid.Bool().Draw(t, "known") {
			v.KeyID, v.UserID = &key, &user
		}
		var reflected bytes.Buffer
		require.NoError(t, marshalJSON(&reflected, v))
		require.JSONEq(t, reflected.String(), string(v.append(nil)))
	})
}

// Questions that are read without huma are those that huma takes, and they are read alike; everything else is left to it.
func TestQuestionsAreReadAlike(t *testing.T) {
	t.Parallel()
	for body, ordinary := range map[string]bool{
		`{"key":"k"}`: true, `{"key":""}`: true, `{"key":"k","environment":"live","permissions":["a:b"],"ip":"::1"}`: true,
		`{"key":"k","environment":null,"permissions":null,"ip":null}`: true, `{"key":"k","ip":"","permissions":[]}`: true,
		`{}`: false, `{"key":null}`: false, `{"key":1}`: false, `{"key":"k","environment":""}`: false, `{"key":"k","environment":"prod"}`: false,
		`{"key":"k","Key":"k"}`: false, `{"KEY":"k"}`: false, `{"key":"k","more":1}`: false, `{"key":"k","permissions":"a:b"}`: false, `[]`: false, ``: false,
	} {
		var q KeyQuestion
		require.Equal(t, ordinary, q.read([]byte(body)), body)
		if ordinary {
			var typed KeyQuestion
			require.NoError(t, unmarshalJSON([]byte(body), &typed))
			require.Equal(t, typed, q, body)
		}
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// house is a service with one session: it knows the current access and refresh token by their number.
type house struct {
	mu        sync.Mutex
	current   int
	refreshes int
	refuse    func() (*http.Response, error) // a refresh; nil = it is done
}

func (h *house) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/auth/refresh") {
		time.Sleep(time.Second) //nolint:forbidigo // in a bubble: the service's own time
		h.mu.Lock()
		defer h.mu.Unlock()
		h.refreshes++
		if h.refuse != nil {
			return h.refuse()
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Authorization") != "" {
			return nil, errors.Join(err, errors.New("a refresh carries no credential"))
		}
		if want := fmt.Sprintf(`{"refresh_token":"refresh-%d"}`, h.current); string(body) != want {
			return refusal(401, "invalid_refresh_token", "")(r)
		}
		h.current++
		return success(200, fmt.Sprintf(`{"access_token":"access-%d","refresh_token":"refresh-%d","expires_in":300}`, h.current, h.current))(r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Header.Get("Authorization") != fmt.Sprintf("Bearer access-%d", h.current) {
		return refusal(401, "invalid_access_token", "")(r)
	}
	return success(200, aUser)(r)
}

// inside signs in at a house, in a bubble of time.
func inside(t *testing.T, test func(t *testing.T, h *house, ums *ClientWithResponses, kept *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, kept := &house{}, &[]string{}
		first := "refresh-0"
		s := NewSession(Tokens{AccessToken: "access-0", RefreshToken: &first, ExpiresIn: 300}, func(t Tokens) { *kept = append(*kept, *t.RefreshToken) })
		ums, err := New(Config{URL: "https://ums.example.com", Session: s, HTTP: &http.Client{Transport: h}})
		require.NoError(t, err)
		test(t, h, ums, kept)
	})
}

// A session is renewed before its token ends, once for all who wait.
func TestASessionIsRenewedOnceForAll(t *testing.T) {
	t.Parallel()
	inside(t, func(t *testing.T, h *house, ums *ClientWithResponses, kept *[]string) {
		for round := range 3 {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					_, err := ums.GetMeWithResponse(t.Context(), nil)
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			require.Equal(t, round, h.refreshes)
			time.Sleep(271 * time.Second) //nolint:forbidigo // in a bubble
		}
		require.Equal(t, []string{"refresh-1", "refresh-2"}, *kept)
	})
}

// A token that is refused before its time is renewed, and the request is sent again; twice in a row it is an answer.
func TestARefusedTokenIsRenewed(t *testing.T) {
	t.Parallel()
	inside(t, func(t *testing.T, h *house, ums *ClientWithResponses, kept *[]string) {
		s := ums.ClientInterface.(*Client).Client.(*caller).cfg.Session
		s.access = "access-of-another-time"
		name := "Ada"
		_, err := ums.UpdateMeWithResponse(t.Context(), nil, MePatch{DisplayName: &name})
		require.NoError(t, err)
		require.Equal(t, []string{"refresh-1"}, *kept)

		h.current = 7 // whatever is renewed, it is refused
		s.refresh = "refresh-7"
		h.refuse = func() (*http.Response, error) {
			return success(200, `{"access_token":"access-0","refresh_token":"refresh-7","expires_in":300}`)(nil)
		}
		var p *Problem
		_, err = ums.GetMeWithResponse(t.Context(), nil)
		require.ErrorAs(t, err, &p)
		require.Equal(t, "invalid_access_token", p.Code)
		require.Equal(t, 2, h.refreshes)
	})
}

// Who gives up leaves the renewal to the others: its answer is the only way to go on.
func TestARenewalOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	inside(t, func(t *testing.T, h *house, ums *ClientWithResponses, kept *[]string) {
		time.Sleep(271 * time.Second) //nolint:forbidigo // in a bubble
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := ums.GetMeWithResponse(ctx, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = ums.GetMeWithResponse(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, 1, h.refreshes)
		require.Equal(t, []string{"refresh-1"}, *kept)
	})
}

// A session that is over is not asked for again; one that could not be renewed is.
func TestTheEndOfASession(t *testing.T) {
	t.Parallel()
	inside(t, func(t *testing.T, h *house, ums *ClientWithResponses, kept *[]string) {
		time.Sleep(271 * time.Second) //nolint:forbidigo // in a bubble
		var p *Problem
		h.refuse = func() (*http.Response, error) { return refusal(503, "unavailable", "60")(nil) }
		_, err := ums.GetMeWithResponse(t.Context(), nil)
		require.ErrorAs(t, err, &p)
		require.Equal(t, "unavailable", p.Code)
		h.refuse = nil
		_, err = ums.GetMeWithResponse(t.Context(), nil)
		require.NoError(t, err)

		time.Sleep(271 * time.Second) //nolint:forbidigo // in a bubble
		h.refuse = func() (*http.Response, error) { return refusal(401, "invalid_refresh_token", "")(nil) }
		for range 3 {
			_, err = ums.GetMeWithResponse(t.Context(), nil)
			require.ErrorAs(t, err, &p)
			require.Equal(t, "invalid_refresh_token", p.Code)
		}
		require.Equal(t, 3, h.refreshes)
		require.Equal(t, []string{"refresh-1"}, *kept)
	})
}

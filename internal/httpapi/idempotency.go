package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/auth"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/httpapi/middleware"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/idempotency"
	"github.com/user-management-service/ums/internal/platform/postgres"
	"github.com/user-management-service/ums/internal/platform/ratelimit"
)

// slot is the exclusive right to answer an idempotent request, or the answer that its first copy got.
type slot struct {
	held   *idempotency.Slot
	replay *idempotency.Answer
}

// kept is how an answer is stored: what is in it that does not follow from the route.
type kept struct {
	Location string         `json:"location,omitzero"`
	ETag     string         `json:"etag,omitzero"`
	Body     jsontext.Value `json:"body"`
}

// takeSlot begins an idempotent request when the client asks for one.
func (s *Server) takeSlot(c *call, r *http.Request) error {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 || !visibleASCII(values[0]) {
		return fault.InvalidField("header/Idempotency-Key", "invalid_format", "Give one key of 1 to 255 visible ASCII characters.")
	}
	caller := "network " + ratelimit.Network(middleware.RecordFrom(r.Context()).ClientIP).String()
	if !c.route.Policy.anonymous() {
		caller = string(c.actor.Kind) + " " + c.actor.ID().String()
	}
	held, replay, err := s.Idempotency.Begin(r.Context(), idempotency.Request{
		Caller: caller, Person: c.actor.UserID, Route: c.route.Method + " " + strings.TrimPrefix(r.URL.Path, basePath), Key: values[0], Body: c.body,
	})
	if err != nil {
		return err
	}
	c.slot = &slot{held: held, replay: replay}
	return nil
}

func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 255
}

// serve replays the first answer, or lets the handler make it. A request that is not answered by a success gives its
// slot up, also when the handler panics.
func (sl *slot) serve(s *Server, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if sl.replay != nil {
		if err := sl.writeReplay(w); err != nil {
			s.problems.Write(w, r, err)
		}
		return
	}
	defer func() {
		if status := middleware.RecordFrom(r.Context()).Status(); status/100 != 2 {
			if err := sl.held.Release(r.Context()); err != nil {
				s.Log.WarnContext(r.Context(), "release idempotency key", "error", err)
			}
		}
	}()
	next(w, r)
}

func (sl *slot) writeReplay(w http.ResponseWriter) error {
	var k kept
	if err := json.Unmarshal(sl.replay.Content, &k); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Idempotency-Replayed", "true")
	h.Set("Content-Type", mediaJSON)
	if k.Location != "" {
		h.Set("Location", k.Location)
	}
	if k.ETag != "" {
		h.Set("ETag", k.ETag)
	}
	h.Set("Content-Length", strconv.Itoa(len(k.Body)))
	w.WriteHeader(sl.replay.Status)
	_, _ = w.Write(k.Body) // the client may be gone
	return nil
}

// keep returns what a creating service calls last in its transaction: it stores the answer that encode makes of the
// result. Nil when the client did not ask for it.
func keep[T, B any](ctx context.Context, encode func(T) *single[B]) idempotency.Keep[T] {
	c := callFrom(ctx)
	if c.slot == nil {
		return nil
	}
	return func(ctx context.Context, tx postgres.Tx, result T) error {
		out := encode(result)
		body, err := json.Marshal(out.Body, json.Deterministic(true))
		if err != nil {
			return err
		}
		content, err := json.Marshal(kept{Location: out.Location, ETag: out.ETag, Body: body})
		if err != nil {
			return err
		}
		status := out.Status
		if status == 0 {
			status = c.route.Status
		}
		return c.slot.held.Keep(ctx, tx, idempotency.Answer{Status: status, Content: content, Subject: subject(result)})
	}
}

// subject is the account that a result is about.
func subject(result any) id.ID {
	switch r := result.(type) {
	case *user.User:
		return r.ID
	case apikey.Created:
		return r.UserID
	case auth.Registered:
		if r.User != nil {
			return r.User.ID
		}
	}
	return id.Nil
}

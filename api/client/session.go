package client

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A token is renewed so long before it ends, or at three quarters of a shorter life.
const renewBefore = 30 * time.Second

// renewTime bounds one renewal, whoever waits for it.
const renewTime = 30 * time.Second

// Session is a signed-in person, kept signed in: it renews the access token in time. It is safe for concurrent use.
type Session struct {
	renewed func(Tokens)

	mu      sync.Mutex
	access  string
	until   time.Time // when access is to be renewed
	refresh string
	ended   error    // the session is over, and how that was said
	running *renewal // nil = none
}

// renewal is one that runs; done is closed at its end, and then token and err stand.
type renewal struct {
	done  chan struct{}
	token string
	err   error
}

// NewSession goes on with the tokens of a sign-in, or with a stored refresh token alone. Each refresh token is good for
// one use: renewed is told the new tokens before they are used, and is where a program stores them; it may be nil.
// One session must not be run twice: two programs with the same refresh token end it.
func NewSession(tokens Tokens, renewed func(Tokens)) *Session {
	s := &Session{renewed: renewed}
	s.take(tokens)
	return s
}

func (s *Session) take(t Tokens) {
	life := time.Duration(t.ExpiresIn) * time.Second
	s.access, s.until = t.AccessToken, time.Now().Add(life-min(renewBefore, life/4))
	if t.RefreshToken != nil {
		s.refresh = *t.RefreshToken
	}
}

// token returns an access token that is good for a while and is not stale, which was refused. One renewal runs at a time,
// and all wait for it; it goes on when those who wait give up, since its answer is the only way to go on.
func (s *Session) token(ctx context.Context, stale string, refresh func(context.Context, string) (*Tokens, error)) (string, error) {
	s.mu.Lock()
	if s.ended != nil || s.access != "" && s.access != stale && time.Now().Before(s.until) {
		defer s.mu.Unlock()
		return s.access, s.ended
	}
	if s.running == nil {
		s.running = &renewal{done: make(chan struct{})}
		go s.renew(context.WithoutCancel(ctx), s.running, refresh)
	}
	r := s.running
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-r.done:
		return r.token, r.err
	}
}

func (s *Session) renew(ctx context.Context, r *renewal, refresh func(context.Context, string) (*Tokens, error)) {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	tokens, err := refresh(ctx, s.refresh) // only a renewal writes it
	if err == nil && s.renewed != nil {
		s.renewed(*tokens)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(r.done)
	s.running = nil
	var p *Problem
	switch {
	case err == nil:
		s.take(*tokens)
		r.token = s.access
	case errors.As(err, &p) && p.Code == "invalid_refresh_token":
		s.ended, s.access = err, ""
		r.err = err
	default:
		r.err = err
	}
}

package httpapi

import (
	"context"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// ActiveSession is a sign-in on one device.
type ActiveSession struct {
	ID         id.ID     `json:"id" format:"uuid"`
	DeviceName *string   `json:"device_name" doc:"As it was given at the sign-in, else the program's name, as in \"Firefox on Linux\"."`
	UserAgent  *string   `json:"user_agent" doc:"The header, as it came."`
	IP         *string   `json:"ip" doc:"Of the last refresh."`
	CreatedAt  timestamp `json:"created_at"`
	LastUsedAt timestamp `json:"last_used_at" doc:"The last refresh."`
	ExpiresAt  timestamp `json:"expires_at" doc:"When it ends unless it is used."`
	Current    bool      `json:"current" doc:"The one that asks."`
}

func (s *Server) listSessions(ctx context.Context, by actor.Actor, in *ByCreation) (*listing[ActiveSession], error) {
	const route = "GET /auth/sessions"
	after, err := in.after(s, by, route, in.Sort)
	if err != nil {
		return nil, err
	}
	sessions, err := s.Sessions.List(ctx, by, session.Filter{Limit: in.Limit + 1, Ascending: in.ascending(), After: after})
	if err != nil {
		return nil, err
	}
	return sessionPage(ctx, s, by, in, route, []string{in.Sort}, sessions), nil
}

func sessionPage(
	ctx context.Context, s *Server, by actor.Actor, in *ByCreation, route string, binding []string, sessions []session.Session,
) *listing[ActiveSession] {
	return list(ctx, s, by, &in.Paging, route, binding, sessions,
		func(r session.Session) []string { return page.Position{Time: r.CreatedAt, ID: r.ID}.Keys() },
		func(r session.Session) ActiveSession { return encodeSession(r, by) })
}

func encodeSession(r session.Session, by actor.Actor) ActiveSession {
	out := ActiveSession{
		ID: r.ID, DeviceName: r.Device(), UserAgent: r.UserAgent, Current: r.ID == by.SessionID,
		CreatedAt: timestamp(r.CreatedAt), LastUsedAt: timestamp(r.LastUsedAt), ExpiresAt: timestamp(r.ExpiresAt),
	}
	if r.IP != nil {
		out.IP = new(r.IP.String())
	}
	return out
}

// sessionsOf asks for the sessions of a user.
type sessionsOf struct {
	Identified
	ByCreation
}

func (s *Server) listUserSessions(ctx context.Context, by actor.Actor, in *sessionsOf) (*listing[ActiveSession], error) {
	const route = "GET /users/{id}/sessions"
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	binding := []string{of.String(), in.Sort}
	after, err := in.after(s, by, route, binding...)
	if err != nil {
		return nil, err
	}
	sessions, err := s.Accounts.Sessions(ctx, by, of, session.Filter{Limit: in.Limit + 1, Ascending: in.ascending(), After: after})
	if err != nil {
		return nil, err
	}
	return sessionPage(ctx, s, by, &in.ByCreation, route, binding, sessions), nil
}

func (s *Server) endUserSessions(ctx context.Context, by actor.Actor, in *Identified) (*empty, error) {
	of, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Accounts.EndSessions(ctx, by, of)
}

func (s *Server) endSession(ctx context.Context, by actor.Actor, in *Identified) (*empty, error) {
	target, err := in.id()
	if err != nil {
		return nil, err
	}
	return &empty{}, s.Sessions.End(ctx, by, target)
}

func (s *Server) endOtherSessions(ctx context.Context, by actor.Actor, _ *struct{}) (*empty, error) {
	return &empty{}, s.Sessions.EndOthers(ctx, by)
}

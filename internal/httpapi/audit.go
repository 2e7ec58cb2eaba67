package httpapi

import (
	"context"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// AuditEvent is one event of the audit log.
type AuditEvent struct {
	ID        id.ID        `json:"id" format:"uuid"`
	Time      timestamp    `json:"time"`
	Action    string       `json:"action" doc:"noun.verb, as in user.suspend."`
	Outcome   string       `json:"outcome" enum:"success,denied,failure"`
	Actor     AuditActor   `json:"actor"`
	Target    *AuditTarget `json:"target" nullable:"true" doc:"null: the act had none."`
	Changes   auditChanges `json:"changes"`
	Reason    *string      `json:"reason" doc:"What was given as the reason; of a refusal, its code."`
	IP        *string      `json:"ip"`
	UserAgent *string      `json:"user_agent"`
	RequestID *string      `json:"request_id"`
}

// AuditActor is who did it.
type AuditActor struct {
	Type  string  `json:"type" enum:"user,api_key,system,anonymous"`
	ID    *id.ID  `json:"id" format:"uuid" nullable:"true"`
	Label *string `json:"label" doc:"An address or a name; null once the person has been erased."`
}

// AuditTarget is what it was done to.
type AuditTarget struct {
	Type  string  `json:"type"`
	ID    *id.ID  `json:"id"`
	Label *string `json:"label"`
}

// Schema implements huma.SchemaProvider: the schema stands where it is used, so that it can be null there.
func (AuditTarget) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"type", "id", "label"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"type":  {Type: huma.TypeString},
			"id":    {Type: huma.TypeString, Format: "uuid", Nullable: true},
			"label": {Type: huma.TypeString, Nullable: true, Description: "null once the person has been erased."},
		},
	}
}

// auditChanges is what changed: {field: {from, to}}.
type auditChanges object

// MarshalJSON writes {} for nothing.
func (c auditChanges) MarshalJSON() ([]byte, error) { return object(c).MarshalJSON() }

// Schema implements huma.SchemaProvider.
func (auditChanges) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, Description: "The fields that changed. Never a secret; empty once the person has been erased.",
		AdditionalProperties: &huma.Schema{
			Type: huma.TypeObject, Required: []string{"from", "to"},
			Properties: map[string]*huma.Schema{"from": anything("Before."), "to": anything("After.")},
		},
	}
}

// anything is the schema of any JSON value, with null named among the types: some readers take silence for a no.
func anything(doc string) *huma.Schema {
	return &huma.Schema{Description: doc, Extensions: map[string]any{
		"type": []string{huma.TypeString, huma.TypeNumber, huma.TypeBoolean, huma.TypeObject, huma.TypeArray, "null"},
	}}
}

func encodeEvent(e audit.Recorded) AuditEvent {
	b := AuditEvent{
		ID: e.ID, Time: timestamp(e.Time), Action: e.Action, Outcome: string(e.Outcome),
		Actor:   AuditActor{Type: string(e.ActorType), ID: e.ActorID, Label: e.Label},
		Changes: auditChanges(e.Changes), Reason: e.Reason, IP: e.IP, UserAgent: e.UserAgent, RequestID: e.RequestID,
	}
	if e.Target.Type != "" {
		b.Target = &AuditTarget{Type: e.Target.Type, ID: e.TargetID}
		if e.Target.Label != "" {
			b.Target.Label = &e.Target.Label
		}
	}
	return b
}

// EventFilter narrows a list of events, and orders it.
type EventFilter struct {
	ActorID    string    `query:"actor_id" format:"uuid"`
	TargetID   string    `query:"target_id" format:"uuid"`
	TargetType string    `query:"target_type" maxLength:"100"`
	Action     string    `query:"action" maxLength:"100" doc:"Exactly, as in user.suspend."`
	Outcome    string    `query:"outcome" enum:"success,denied,failure"`
	IP         string    `query:"ip" maxLength:"45" doc:"Exactly this address."`
	From       time.Time `query:"from" doc:"At this time or later."`
	To         time.Time `query:"to" doc:"Before this time."`
	Sort       string    `query:"sort" enum:"time,-time" default:"-time"`
}

type eventListInput struct {
	Paging
	EventFilter
}

// filter reads what huma cannot: all faults in one answer.
func (in *EventFilter) filter() (audit.Filter, error) {
	f := audit.Filter{
		TargetType: in.TargetType, Action: in.Action, Outcome: audit.Outcome(in.Outcome), From: in.From, To: in.To,
		Ascending: in.Sort == "time",
	}
	var v fault.Validation
	for _, q := range []struct {
		name, text string
		into       *id.ID
	}{{"actor_id", in.ActorID, &f.ActorID}, {"target_id", in.TargetID, &f.TargetID}} {
		var ok bool
		if *q.into, ok = id.Parse(q.text); !ok && q.text != "" {
			v.Add("query/"+q.name, "invalid_format", "Give an id, a UUID.")
		}
	}
	if in.IP != "" {
		var err error
		if f.IP, err = netip.ParseAddr(in.IP); err != nil || f.IP.Zone() != "" {
			v.Add("query/ip", "invalid_format", "Give one IPv4 or IPv6 address.")
		}
	}
	return f, v.Err()
}

func (s *Server) listEvents(ctx context.Context, by actor.Actor, in *eventListInput) (*listing[AuditEvent], error) {
	const route = "GET /audit-events"
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	binding := []string{
		in.Sort, f.ActorID.String(), f.TargetID.String(), in.TargetType, in.Action, in.Outcome, f.IP.Unmap().String(),
		in.From.UTC().Format(time.RFC3339Nano), in.To.UTC().Format(time.RFC3339Nano),
	}
	if f.After, err = in.after(s, by, route, binding...); err != nil {
		return nil, err
	}
	f.Limit = in.Limit + 1
	events, err := s.Audit.List(ctx, by, f)
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, binding, events,
		func(e audit.Recorded) []string { return page.Position{Time: e.Time, ID: e.ID}.Keys() }, encodeEvent), nil
}

type ownEventsInput struct {
	Paging
	From time.Time `query:"from" doc:"At this time or later."`
	To   time.Time `query:"to" doc:"Before this time."`
	Sort string    `query:"sort" enum:"time,-time" default:"-time"`
}

func (s *Server) listMyEvents(ctx context.Context, by actor.Actor, in *ownEventsInput) (*listing[AuditEvent], error) {
	const route = "GET /users/me/audit-events"
	f := audit.Filter{From: in.From, To: in.To, Ascending: in.Sort == "time", Limit: in.Limit + 1}
	binding := []string{in.Sort, in.From.UTC().Format(time.RFC3339Nano), in.To.UTC().Format(time.RFC3339Nano)}
	var err error
	if f.After, err = in.after(s, by, route, binding...); err != nil {
		return nil, err
	}
	events, err := s.Audit.Own(ctx, by, f)
	if err != nil {
		return nil, err
	}
	return list(ctx, s, by, &in.Paging, route, binding, events,
		func(e audit.Recorded) []string { return page.Position{Time: e.Time, ID: e.ID}.Keys() }, encodeEvent), nil
}

func (s *Server) getEvent(ctx context.Context, by actor.Actor, in *Identified) (*single[AuditEvent], error) {
	event, err := in.id()
	if err != nil {
		return nil, err
	}
	e, err := s.Audit.Get(ctx, by, event)
	if err != nil {
		return nil, err
	}
	return one(encodeEvent(e), e.Version), nil
}

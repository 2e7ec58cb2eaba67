package httpapi

import (
	"context"
	"io"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/audit"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/session"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/page"
)

// PersonalData is everything that is kept of one person, without secrets and without data of others.
type PersonalData struct {
	ExportedAt  timestamp             `json:"exported_at"`
	Account     User                  `json:"account"`
	Profile     Profile               `json:"profile"`
	Roles       []HeldRole            `json:"roles"`
	Permissions []EffectivePermission `json:"permissions"`
	Factors     Factors               `json:"factors"`
	Passkeys    []Passkey             `json:"passkeys"`
	Sessions    []ActiveSession       `json:"sessions"`
	SignIns     []SignInNetwork       `json:"sign_ins" doc:"From where and with what the account has signed in."`
	APIKeys     []APIKey              `json:"api_keys"`
	AuditEvents []AuditEvent          `json:"audit_events" doc:"What GET /users/me/audit-events lists."`
}

// SignInNetwork is a network that an account has signed in from.
type SignInNetwork struct {
	Network  string    `json:"network" doc:"An IPv4 address as /32, of IPv6 the /64."`
	Programs []string  `json:"programs" doc:"Without versions, as in \"Firefox on Linux\"."`
	FirstAt  timestamp `json:"first_at"`
	LastAt   timestamp `json:"last_at"`
}

func encodeFamiliar(f session.Familiar) SignInNetwork {
	return SignInNetwork{Network: f.Network.String(), Programs: f.Programs, FirstAt: timestamp(f.FirstAt), LastAt: timestamp(f.LastAt)}
}

// personalData is how the contract shows it.
func (s *Server) personalData() map[string]*huma.Schema {
	return map[string]*huma.Schema{
		mediaJSON: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[PersonalData](), true, "PersonalData"),
	}
}

// exportMe writes PersonalData as it is read: the lists in it may be long, the log above all.
func (s *Server) exportMe(ctx context.Context, by actor.Actor, _ *struct{}) (*streamed, error) {
	account, err := s.Accounts.Export(ctx, by)
	if err != nil {
		return nil, err
	}
	return s.streaming(mediaJSON, "personal-data.json", func(ctx context.Context, w io.Writer) error {
		d := document{enc: jsontext.NewEncoder(w)}
		d.token(jsontext.BeginObject)
		d.member("exported_at", timestamp(s.Clock.Now()), nil)
		d.member("account", encodeUser(account), nil)
		s.exportHoldings(ctx, by, &d)
		const batch = 200
		members(&d, "passkeys", func(after *page.Position) ([]passkey.Passkey, error) {
			return s.Passkeys.List(ctx, by, passkey.Filter{Limit: batch, After: after})
		}, func(p passkey.Passkey) (time.Time, id.ID) { return p.CreatedAt, p.ID }, encodePasskey)
		members(&d, "sessions", func(after *page.Position) ([]session.Session, error) {
			return s.Sessions.List(ctx, by, session.Filter{Limit: batch, After: after})
		}, func(r session.Session) (time.Time, id.ID) { return r.CreatedAt, r.ID },
			func(r session.Session) ActiveSession { return encodeSession(r, by) })
		members(&d, "api_keys", func(after *page.Position) ([]apikey.Key, error) {
			return s.Keys.List(ctx, by, apikey.Filter{Limit: batch, After: after})
		}, func(k apikey.Key) (time.Time, id.ID) { return k.CreatedAt, k.ID }, encodeKey)
		members(&d, "audit_events", func(after *page.Position) ([]audit.Recorded, error) {
			return s.Audit.Own(ctx, by, audit.Filter{Limit: audit.ExportBatch, After: after})
		}, func(e audit.Recorded) (time.Time, id.ID) { return e.Time, e.ID }, encodeEvent)
		d.token(jsontext.EndObject)
		return d.err
	}), nil
}

// exportHoldings writes what is one value each.
func (s *Server) exportHoldings(ctx context.Context, by actor.Actor, d *document) {
	profile, err := s.Profiles.Get(ctx, by, by.UserID)
	if err != nil {
		d.fail(err)
		return
	}
	d.member("profile", encodeProfile(profile), nil)
	held, err := s.Roles.MyRoles(ctx, by)
	d.member("roles", each(held, encodeHeldRole), err)
	sources, err := s.Roles.MyPermissions(ctx, by)
	d.member("permissions", each(sources, encodeSource), err)
	factors, err := s.listFactors(ctx, by, nil)
	if err != nil {
		d.fail(err)
		return
	}
	d.member("factors", factors.Body, nil)
	networks, err := s.Sessions.Familiar(ctx, by)
	d.member("sign_ins", each(networks, encodeFamiliar), err)
}

func each[A, B any](rows []A, encode func(A) B) []B {
	out := make([]B, len(rows))
	for i, r := range rows {
		out[i] = encode(r)
	}
	return out
}

// document is a JSON object on its way out. After an error it writes nothing more.
type document struct {
	enc *jsontext.Encoder
	err error
}

func (d *document) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *document) token(t jsontext.Token) {
	if d.err == nil {
		d.err = d.enc.WriteToken(t)
	}
}

func (d *document) value(v any) {
	if d.err == nil {
		d.err = json.MarshalEncode(d.enc, v, json.Deterministic(true))
	}
}

// member writes a member of the object, unless reading it has failed.
func (d *document) member(name string, v any, err error) {
	d.fail(err)
	d.token(jsontext.String(name))
	d.value(v)
}

// members writes a list, a batch at a time: after is nil for the first.
func members[R, B any](d *document, name string, read func(after *page.Position) ([]R, error),
	position func(R) (time.Time, id.ID), encode func(R) B,
) {
	d.token(jsontext.String(name))
	d.token(jsontext.BeginArray)
	var after *page.Position
	for d.err == nil {
		batch, err := read(after)
		d.fail(err)
		if len(batch) == 0 {
			break
		}
		for _, r := range batch {
			d.value(encode(r))
		}
		at, last := position(batch[len(batch)-1])
		after = &page.Position{Time: at, ID: last}
	}
	d.token(jsontext.EndArray)
}

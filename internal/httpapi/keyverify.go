package httpapi

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/user-management-service/ums/internal/domain/access"
	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/domain/apikey"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/token"
)

// KeyQuestion asks about a key that was presented to another program.
type KeyQuestion struct {
	Key         string   `json:"key" maxLength:"4096" doc:"The key as it was presented."`
	Environment string   `json:"environment,omitempty" enum:"live,test" doc:"The one that is expected; absent: either."`
	Permissions []string `json:"permissions,omitempty" maxItems:"100" doc:"What the key is to be used for: it must have them all."`
	IP          string   `json:"ip,omitempty" maxLength:"64" doc:"The address that presented the key. A key that is bound to networks is denied without."`
}

// KeyVerdict is the answer. Of a key that is unknown or dead it says nothing but that.
type KeyVerdict struct {
	Valid       bool          `json:"valid"`
	Code        string        `json:"code" enum:"valid,not_found,revoked,quarantined,expired,owner_suspended,wrong_environment,ip_denied,insufficient_scope,rate_limited" doc:"The first that holds, in the order not_found, revoked, quarantined, expired, owner_suspended, wrong_environment, ip_denied, insufficient_scope, rate_limited."`
	KeyID       *id.ID        `json:"key_id" nullable:"true" format:"uuid"`
	UserID      *id.ID        `json:"user_id" nullable:"true" format:"uuid" doc:"The owner, for whom the key acts."`
	Scopes      []string      `json:"scopes" doc:"What the key may do now: its scopes within its owner's permissions."`
	Environment *string       `json:"environment" nullable:"true"`
	ExpiresAt   *timestamp    `json:"expires_at" nullable:"true" doc:"Of the presented secret, or of the key if that is earlier; null: never."`
	RateLimit   *keyRateState `json:"rate_limit" nullable:"true" doc:"The key's own limit after this use; null: it has none."`
}

// keyRateState is what is left of a key's own limit. Its schema stands where it is used, so that it can be null there.
type keyRateState struct {
	Limit        int   `json:"limit"`
	Remaining    int   `json:"remaining"`
	ResetSeconds int64 `json:"reset_seconds"`
}

// Schema implements huma.SchemaProvider.
func (keyRateState) Schema(huma.Registry) *huma.Schema {
	integer := func(doc string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeInteger, Minimum: new(0.0), Description: doc}
	}
	return &huma.Schema{
		Type: huma.TypeObject, Required: []string{"limit", "remaining", "reset_seconds"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{
			"limit": integer("Requests in a window."), "remaining": integer("What could be used at once now."),
			"reset_seconds": integer("Until everything is there again."),
		},
	}
}

// question reads what is asked. Whether the key is one at all is no fault of the asker.
func (q *KeyQuestion) question() (question access.Question, key token.ParsedAPIKey, isKey bool, err error) {
	var v fault.Validation
	for i, p := range q.Permissions {
		if !role.Askable(p) {
			v.Add(fmt.Sprintf("/permissions/%d", i), "invalid_format", "Use a permission such as orders:read, resource:* or *.")
		}
	}
	var ip netip.Addr
	if q.IP != "" {
		if ip, err = netip.ParseAddr(q.IP); err != nil {
			v.Add("/ip", "invalid_format", "Give one IPv4 or IPv6 address.")
		}
	}
	if err := v.Err(); err != nil {
		return access.Question{}, token.ParsedAPIKey{}, false, err
	}
	key, isKey = token.ParseAPIKey(q.Key)
	return access.Question{
		Key:         access.Key{PublicID: key.PublicID, SecretHash: key.Hash, Environment: string(key.Environment)},
		Environment: q.Environment, Permissions: q.Permissions, IP: ip,
	}, key, isKey, nil
}

func (s *Server) verifyKey(ctx context.Context, _ actor.Actor, in *struct{ Body KeyQuestion }) (*unversioned[KeyVerdict], error) {
	verdict, err := s.judgeKey(ctx, &in.Body)
	return &unversioned[KeyVerdict]{Body: verdict}, err
}

// judgeKey answers from this replica's memory while it is warm, and counts the use.
func (s *Server) judgeKey(ctx context.Context, in *KeyQuestion) (KeyVerdict, error) {
	out := KeyVerdict{Code: string(access.NotFound)}
	q, key, isKey, err := in.question()
	if err != nil || !isKey {
		return out, err
	}
	v, err := s.Access.Verify(ctx, q)
	if err != nil {
		return out, err
	}
	use := apikey.Use{Key: v.KeyID, PublicID: key.PublicID, Outcome: apikey.Allowed, IP: q.IP}
	if p := v.Principal; p != nil {
		out.KeyID, out.UserID, out.Scopes = &p.KeyID, &p.UserID, p.Permissions
		out.Environment, out.ExpiresAt = &p.Environment, stamp(p.ExpiresAt)
		if v.Reason == "" && !p.Rate.Off() {
			if state, ok := s.limits.Count(ctx, p.KeyID.String(), p.Rate); ok {
				out.RateLimit = &keyRateState{state.Limit, state.Remaining, int64((state.Reset + time.Second - 1) / time.Second)}
				if !state.Allowed {
					v.Reason, use.Outcome = access.RateLimited, apikey.Limited
				}
			}
		}
	}
	// A key that somebody shows from a wrong place, or to a wrong program, is not thereby in use.
	use.Accepted = v.Reason == "" || v.Reason == access.InsufficientScope || v.Reason == access.RateLimited
	switch {
	case v.Reason == "":
		out.Valid, out.Code = true, "valid"
		s.KeyUsage.Record(use, q.Permissions...)
		return out, nil
	case use.Outcome == apikey.Allowed:
		use.Outcome = apikey.Denied
	}
	out.Code, use.Reason = string(v.Reason), string(v.Reason)
	if v.KeyID != id.Nil {
		s.KeyUsage.Record(use)
	}
	return out, nil
}

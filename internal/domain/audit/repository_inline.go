package audit

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/actor"
	"github.com/user-management-service/ums/internal/platform/id"
)

// Inline is Record for the one hot path where a second statement and a transaction around the two would cost more than
// the work itself: it returns common table expressions that append, in the statement of the effect, the success of
// every row of the expression named done, which has the columns user_id, email and id: the account that acts, its label
// and what it acts on. The rest comes from InlineArgs, as nine parameters from $first on. The target has no data of its own.
func Inline(done string, first int) string {
	p := func(n int) string { return fmt.Sprintf("$%d", first+n) }
	return `
		event AS (
			INSERT INTO audit_events (id, action, outcome, actor_type, actor_id, target_type, target_id, request_id, actor_commitment)
			SELECT ` + p(0) + `::uuid, ` + p(1) + `::text, 'success', 'user', user_id, ` + p(2) + `::text, id, ` + p(3) + `::text,
				sha256(` + p(4) + `::bytea || convert_to(` + p(5) + `::text || to_json(email)::text || ` + p(6) + `::text, 'UTF8'))
			FROM ` + done + `
		), personal AS (
			INSERT INTO audit_personal (event_id, subject_role, subject_id, salt, label, ip, user_agent)
			SELECT ` + p(0) + `::uuid, 'actor', user_id, ` + p(4) + `::bytea, email, ` + p(7) + `::text, ` + p(8) + `::text FROM ` + done + `
		)`
}

// InlineArgs are the parameters of Inline. What is committed to is the RFC 8785 form of the actor's data, which
// PostgreSQL completes with the label: for an address, which has no character to escape, both write the same text.
func InlineArgs(by actor.Actor, action, targetType string) ([]any, error) {
	data := personal{UserAgent: text(by.Origin.UserAgent)}
	if by.Origin.IP.IsValid() {
		data.IP = text(by.Origin.IP.String())
	}
	ip, err := canonical(data.IP)
	if err != nil {
		return nil, err
	}
	agent, err := canonical(data.UserAgent)
	if err != nil {
		return nil, err
	}
	return []any{
		id.New(), action, targetType, text(by.Origin.RequestID), salt(),
		`{"changes":null,"ip":` + ip + `,"label":`, `,"reason":null,"user_agent":` + agent + `}`, data.IP, data.UserAgent,
	}, nil
}

// canonical is a text as RFC 8785 writes it.
func canonical(s *string) (string, error) {
	doc, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode personal data: %w", err)
	}
	v := jsontext.Value(doc)
	if err := v.Canonicalize(); err != nil {
		return "", fmt.Errorf("canonicalize personal data: %w", err)
	}
	return string(v), nil
}

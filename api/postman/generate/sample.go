package main

import (
	"slices"
	"strings"
)

// known are the values that examples show, by the name of a field or parameter: what a person would write there.
var known = map[string]any{
	"email": "{{email}}", "new_email": "grace.hopper@example.com", "password": "{{password}}",
	"current_password": "{{password}}", "new_password": "quiet otters juggle ripe plums",
	"refresh_token": "{{refresh_token}}", "registration_id": "{{registration_id}}", "mfa_token": "{{mfa_token}}", "token": "{{mailed_token}}",
	"key": "{{api_key}}", "user_id": "{{user_id}}", "role_id": "{{role_id}}",
	"display_name": "Grace Hopper", "given_name": "Grace", "family_name": "Hopper", "nickname": "Amazing Grace",
	"bio": "Compilers.", "phone": "+12025550142", "website": "https://example.com", "birth_date": "1906-12-09",
	"locale": "en-US", "timezone": "America/New_York", "country": "US", "locality": "Arlington", "region": "Virginia",
	"postal_code": "22201", "street": "1 Example Street", "blog": "https://example.com/blog",
	"social_links": map[string]any{"blog": "https://example.com/blog"},
	"metadata":     map[string]any{"theme": "dark"}, "app_metadata": map[string]any{"plan": "pro"}, "attributes": map[string]any{},
	"device_name": "Postman", "external_id": "hr-1906", "reason": "Left the company.", "description": "Answers tickets.",
	"permissions": []any{"users:read"}, "scopes": []any{"users:read"}, "roles": []any{"user"}, "inherits": []any{},
	"allowed_ips": []any{"203.0.113.0/24"}, "ip": "203.0.113.7", "allowed": true, "code": "12345678",
	"expires_at": "2030-01-01T00:00:00.000Z", "limit": 50, "request_id": "01a2062f-e37b-7dba-9852-ac725a803f4c",
	"search": "grace", "user_agent": "PostmanRuntime/7.39.1", "next_cursor": nil, "token_type_hint": "refresh_token",
}

// bodies are the examples that their schemas do not tell: of alternatives, which to choose.
var bodies = map[string]map[string]any{
	"verifyEmail":      {"registration_id": "{{registration_id}}", "code": "{{code}}"},
	"reauthenticate":   {"password": "{{password}}"},
	"refresh":          {"refresh_token": "{{refresh_token}}"},
	"logout":           {"refresh_token": "{{refresh_token}}"},
	"createUser":       {"email": "ada@example.com", "display_name": "Ada Lovelace", "send_invite": true},
	"assignRole":       {},
	"rotateApiKey":     {"overlap_seconds": 86400},
	"createRole":       {"name": "support", "description": "Answers tickets.", "permissions": []any{"users:read"}},
	"createPermission": {"name": "reports:read", "description": "Reads reports."},
	"renamePasskey":    {"name": "Laptop"},
	"createApiKey":     {"name": "nightly", "scopes": []any{"me:read"}, "environment": "live"},
	// Not null for what may be left alone, so that what is sent changes something harmless.
	"updateApiKey": {"name": "nightly", "metadata": map[string]any{"team": "reports"}},
	"updateUser":   {"display_name": "Grace Hopper", "app_metadata": map[string]any{"plan": "pro"}},
}

// body is the example of a request: what must be there, or, where nothing must, everything that may.
func (c *contract) body(o *operation, s *schema) any {
	if b, ok := bodies[o.ID]; ok {
		return b
	}
	s = c.resolve(s)
	out := map[string]any{}
	for name, property := range s.Properties {
		if len(s.Required) == 0 && o.method != "post" || slices.Contains(s.Required, name) {
			out[name] = c.example(name, property, 0)
		}
	}
	return out
}

// example is a value that a schema allows, all fields of it. Nested ones end at some depth.
func (c *contract) example(name string, s *schema, depth int) any {
	s = c.resolve(s)
	if len(s.OneOf) > 0 {
		s = c.resolve(s.OneOf[0])
	}
	switch {
	case s == nil:
		return nil
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.is("object") && s.Properties == nil:
		if v, ok := known[name].(map[string]any); ok {
			return v
		}
		return map[string]any{}
	case s.is("object"):
		out := map[string]any{}
		for field, property := range s.Properties {
			if depth < 9 {
				out[field] = c.example(field, property, depth+1)
			}
		}
		return out
	case s.is("array"):
		if v, ok := known[name].([]any); ok && s.Items != nil && c.resolve(s.Items).is("string") {
			return v
		}
		if s.Items == nil || depth >= 9 {
			return []any{}
		}
		return slices.Repeat([]any{c.example(strings.TrimSuffix(name, "s"), s.Items, depth+1)}, max(1, s.MinItems))
	}
	return s.scalar(name)
}

func (s *schema) scalar(name string) any {
	if v, ok := known[name]; ok && (v == nil && s.is("null") || s.allows(v)) {
		return v
	}
	switch {
	case s.is("boolean"):
		return false
	case s.is("integer") || s.is("number"):
		if s.Minimum != nil {
			return *s.Minimum
		}
		return 1
	case s.Format == "uuid":
		return "01a2062d-e8da-7cf2-a66e-4072f15281fb"
	case s.Format == "date-time":
		return "2026-11-23T02:13:22.386Z"
	case s.Format == "date":
		return "2026-11-23"
	case s.Format == "ip":
		return "203.0.113.7"
	case s.Format == "uri":
		return "https://example.com"
	case strings.HasSuffix(name, "name"):
		return "support"
	}
	return "…"
}

func (s *schema) is(name string) bool { return slices.Contains(s.Type, name) }

// allows says whether a known value has a type of the schema.
func (s *schema) allows(v any) bool {
	switch v.(type) {
	case string:
		return s.is("string")
	case bool:
		return s.is("boolean")
	case int:
		return s.is("integer")
	}
	return false
}

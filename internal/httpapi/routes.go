package httpapi

import (
	"net/http"

	"github.com/user-management-service/ums/internal/domain/audit"
)

func get(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodGet, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK}
}

func post(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodPost, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK}
}

func put(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodPut, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK}
}

func patchTo(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodPatch, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusOK}
}

func del(path, name, summary string, p Policy) Route {
	return Route{Method: http.MethodDelete, Path: path, Name: name, Summary: summary, Policy: p, Status: http.StatusNoContent}
}

// as names what a refusal is in the audit log: noun.verb.
func (r Route) as(action string) Route { r.Action = action; return r }

// status is the status of success.
func (r Route) status(code int) Route { r.Status = code; return r }

// idempotent routes honour Idempotency-Key.
func (r Route) idempotent() Route { r.Idempotent = true; return r }

// cacheable answers hold nothing personal.
func (r Route) cacheable(control string) Route { r.Cacheable = control; return r }

// register is the whole surface below /api/v1: method, path, operation, who may call it at all, handler.
func (s *Server) register() {
	// Auth

	// Users

	// Profiles

	// Roles and permissions

	// API keys
	handle(s, post("/api-keys", "createApiKey", "Create an API key", Session().Fresh()).as("api_key.create").status(http.StatusCreated).idempotent(), s.createKey)
	handle(s, get("/api-keys", "listApiKeys", "List API keys", Session()).as("api_key.list"), s.listKeys)
	handle(s, get("/api-keys/current", "getCurrentApiKey", "Read the key that calls", Caller()).as("api_key.read"), s.currentKey)
	handle(s, get("/api-keys/{id}", "getApiKey", "Read an API key", Session()).as("api_key.read"), s.getKey)
	handle(s, patchTo("/api-keys/{id}", "updateApiKey", "Change an API key", Session()).as("api_key.update"), s.updateKey)
	handle(s, del("/api-keys/{id}", "revokeApiKey", "Revoke an API key", Session()).as("api_key.revoke"), s.revokeKey)

	// Audit
	handle(s, get("/audit-events", "listAuditEvents", "List audit events", Permission(audit.ReadPermission)).as("audit_event.list"), s.listEvents)
	handle(s, get("/audit-events/{id}", "getAuditEvent", "Read an audit event", Permission(audit.ReadPermission)).as("audit_event.read"), s.getEvent)
}

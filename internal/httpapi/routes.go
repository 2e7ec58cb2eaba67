package httpapi

import "net/http"

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

	// Audit
}

package httpapi

import (
	"net/http"

	"github.com/go-json-experiment/json"
)

// Check is one thing that readiness tells of, and depends on unless it is optional.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Note string `json:"note,omitzero"` // what is missing; nothing that an outsider may not know

	Optional bool `json:"-"` // it is told, and readiness does not depend on it
}

type health struct {
	Status string  `json:"status" enum:"ok,unavailable"`
	Checks []Check `json:"checks,omitzero"`
	Seen   *Seen   `json:"seen,omitzero"` // for a probe
}

// livez says that the process lives. It asks nothing of anything else. A probe is told which address it came from.
func (s *Server) livez(w http.ResponseWriter, r *http.Request) {
	h := health{Status: "ok"}
	if s.Probes.accepts(r) {
		h.Seen = seen(r)
	}
	writeHealth(w, http.StatusOK, h)
}

// readyz says whether this replica should get traffic, and names each check.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := s.Ready(r.Context())
	for _, c := range checks {
		if !c.OK && !c.Optional {
			w.Header().Set("Retry-After", "1")
			writeHealth(w, http.StatusServiceUnavailable, health{Status: "unavailable", Checks: checks})
			return
		}
	}
	writeHealth(w, http.StatusOK, health{Status: "ok", Checks: checks})
}

func writeHealth(w http.ResponseWriter, status int, h health) {
	body, err := json.Marshal(h)
	if err != nil {
		panic(err) // a struct of strings and booleans
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

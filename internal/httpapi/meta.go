package httpapi

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/user-management-service/ums/internal/domain/signing"
	"github.com/user-management-service/ums/internal/httpapi/pages"
	"github.com/user-management-service/ums/internal/httpapi/reference"
)

// ContractVersion is the version of the HTTP contract.
const ContractVersion = "1.0.0"

// pages adds what is not an operation: the contract and its page, the keys, the pages of problems and of mailed links.
func (s *Server) pages(r chi.Router) {
	r.Get("/openapi.yaml", s.contract("application/yaml", s.api.OpenAPI().YAML))
	r.Get("/openapi.json", s.contract(mediaJSON, s.api.OpenAPI().MarshalJSON))
	r.Get("/docs", reference.Page)
	r.Get("/docs/redoc.js", reference.Script)
	r.Get("/problems/{code}", s.problems.Reference().ServeHTTP)
	r.Get("/.well-known/jwks.json", s.jwks)
	r.Get("/avatars/{avatar}/{size}", s.avatar)
	if s.Config.OwnPages {
		pages.Mount(r)
	}
	if s.Config.Development {
		pages.MountPasskeys(r)
	}
	if s.Mailbox != nil {
		r.Get("/dev/mail", pages.DevMail(s.Mailbox, s.problems))
		r.Get("/dev/mail/*", pages.DevMail(s.Mailbox, s.problems))
	}
}

// contract serves the document as this installation's, encoded when it is first asked for.
func (s *Server) contract(media string, encode func() ([]byte, error)) http.HandlerFunc {
	document := sync.OnceValues(encode)
	return func(w http.ResponseWriter, r *http.Request) {
		doc, err := document()
		if err != nil {
			s.problems.Write(w, r, err)
			return
		}
		w.Header().Set("Content-Type", media)
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(doc) // the client may be gone
	}
}

// jwks serves the public signing keys: next, current and recently retired (RFC 7517).
func (s *Server) jwks(w http.ResponseWriter, r *http.Request) {
	if err := s.Up(); err != nil {
		s.problems.Write(w, r, err)
		return
	}
	doc, err := s.Signing.JWKS()
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(signing.CacheFor/time.Second)))
	_, _ = w.Write(doc) // the client may be gone
}

package transfer

import (
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/platform/fault"
)

// OnConflict says what becomes of an account, or a role, that is there already.
type OnConflict string

// Skip leaves it alone. Update gives an account the names, locale, time zone, external id and metadata of the file, never an
// address, status, role or anything that signs in; and a role its content.
const (
	Skip   OnConflict = "skip"
	Update OnConflict = "update"
)

// Options are what the operator decides.
type Options struct {
	OnConflict OnConflict
	DryRun     bool // everything is read, checked and compared, and nothing stays
}

// Rejection is a line that was not taken. It repeats nothing of the line.
type Rejection struct {
	Line   int64         `json:"line"`
	Code   string        `json:"code"`
	Errors []fault.Field `json:"errors"`
}

// NewRejection says of a line what its fault says.
func NewRejection(line int64, f *fault.Error) Rejection {
	r := Rejection{Line: line, Code: f.Code, Errors: f.Fields}
	if r.Errors == nil {
		r.Errors = []fault.Field{{Code: f.Code, Detail: f.Detail}}
	}
	return r
}

// Report is what became of the accounts of a file.
type Report struct {
	Read    int64 `json:"read"`
	Created int64 `json:"created"`
	Updated int64 `json:"updated"`
	Skipped int64 `json:"skipped"` // they were there already
	Failed  int64 `json:"failed"`
}

// Add adds what became of others.
func (r *Report) Add(o Report) {
	r.Read += o.Read
	r.Created += o.Created
	r.Updated += o.Updated
	r.Skipped += o.Skipped
	r.Failed += o.Failed
}

// Restored is what became of a file of this service.
type Restored struct {
	Report
	Content
}

// Content is what such a file holds beside accounts, and what became of it.
type Content struct {
	Secrets      bool     `json:"secrets"`
	Permissions  int      `json:"permissions_created"`
	RolesCreated int      `json:"roles_created"`
	RolesUpdated int      `json:"roles_updated"`
	RolesDiffer  []string `json:"roles_that_differ"`        // they are there with another content, and were left alone
	OtherSite    bool     `json:"passkeys_of_another_site"` // they do not work here
}

// Listener hears of an import while it goes on; each member may be nil.
type Listener struct {
	Reject   func(Rejection)
	Progress func(done, total int64) // lines
}

func (l Listener) reject(r Rejection) {
	if l.Reject != nil {
		l.Reject(r)
	}
}

// sameContent says whether a role is what a file says of it.
func sameContent(r role.Role, l *roleLine) bool {
	n := role.Role{Description: l.Description, Permissions: l.Permissions, Inherits: l.Inherits, RequireMFA: l.RequireMFA}
	return r.Same(n)
}

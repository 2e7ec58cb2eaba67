// Package bulk brings many accounts in at once. Their lines wait sealed in the database; jobs work them in batches, each
// line in the transaction that takes it away, so that a process that dies in between neither loses nor repeats one.
package bulk

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/account"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/patch"
)

const (
	// MaxLine is how long a line may be, in bytes without its end.
	MaxLine  = 64 << 10
	maxDepth = 32
	maxRoles = 50
)

var (
	errLine = fault.New(fault.Malformed, "malformed_line", "The line is not one well-formed JSON object in UTF-8.")
	errLong = fault.New(fault.TooLarge, "line_too_long", "The line is longer than "+strconv.Itoa(MaxLine)+" bytes.")
)

// line is one account as it is written: the fields of POST /users that a stranger's account can have, and what it had there.
type line struct {
	Kind          string         `json:"kind"`
	Email         string         `json:"email"`
	EmailVerified bool           `json:"email_verified"`
	PasswordHash  string         `json:"password_hash"`
	CreatedAt     *time.Time     `json:"created_at"`
	Roles         []string       `json:"roles"`
	DisplayName   *string        `json:"display_name"`
	Locale        *string        `json:"locale"`
	ExternalID    *string        `json:"external_id"`
	Metadata      jsontext.Value `json:"metadata"`
	AppMetadata   jsontext.Value `json:"app_metadata"`
	Profile       *filled        `json:"profile"`
	Suspended     bool           `json:"suspended"` // of the service's command line
}

// filled is a profile as PUT takes it.
type filled struct {
	GivenName   patch.Field[string]             `json:"given_name"`
	FamilyName  patch.Field[string]             `json:"family_name"`
	Nickname    patch.Field[string]             `json:"nickname"`
	Bio         patch.Field[string]             `json:"bio"`
	Phone       patch.Field[string]             `json:"phone"`
	Website     patch.Field[string]             `json:"website"`
	BirthDate   patch.Field[string]             `json:"birth_date"`
	Address     patch.Field[address]            `json:"address"`
	SocialLinks patch.Field[map[string]*string] `json:"social_links"`
	Visibility  patch.Field[profile.Visibility] `json:"visibility"`
	Attributes  patch.Field[jsontext.Value]     `json:"attributes"`
}

type address struct {
	Street     patch.Field[string] `json:"street"`
	Locality   patch.Field[string] `json:"locality"`
	Region     patch.Field[string] `json:"region"`
	PostalCode patch.Field[string] `json:"postal_code"`
	Country    patch.Field[string] `json:"country"`
}

func (f *filled) changes() *profile.Changes {
	if f == nil {
		return nil
	}
	c := &profile.Changes{
		GivenName: f.GivenName, FamilyName: f.FamilyName, Nickname: f.Nickname, Bio: f.Bio, Phone: f.Phone, Website: f.Website,
		BirthDate: f.BirthDate, SocialLinks: f.SocialLinks, Visibility: f.Visibility, Attributes: f.Attributes,
	}
	c.Address = patch.Field[profile.AddressChanges]{Set: f.Address.Set, Null: f.Address.Null, Value: profile.AddressChanges(f.Address.Value)}
	return c
}

// parse reads one line. Members that it does not have are refused: who sends an id, a status or a second factor believes
// that it counts. No error repeats anything of the line.
func parse(text []byte) (account.Imported, error) {
	if len(text) > MaxLine {
		return account.Imported{}, errLong
	}
	if err := check(text); err != nil {
		return account.Imported{}, err
	}
	var l line
	if err := json.Unmarshal(text, &l, json.RejectUnknownMembers(true)); err != nil {
		return account.Imported{}, lineFault(err)
	}
	if jsontext.Value(text).Kind() != '{' { // null fills no member
		return account.Imported{}, errLine
	}
	if len(l.Roles) > maxRoles {
		return account.Imported{}, fault.InvalidField("/roles", "too_many", "Give at most 50.")
	}
	return account.Imported{
		New: account.New{
			Kind: user.Kind(l.Kind), Email: l.Email, EmailVerified: l.EmailVerified, Roles: l.Roles,
			DisplayName: l.DisplayName, Locale: l.Locale, ExternalID: l.ExternalID, Metadata: l.Metadata, AppMetadata: l.AppMetadata,
		},
		PasswordHash: l.PasswordHash, CreatedAt: l.CreatedAt, Profile: l.Profile.changes(), Suspended: l.Suspended,
	}, nil
}

// lineFault says which member was refused, of those that exist.
func lineFault(err error) error {
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return fault.InvalidField("", "unknown_field", "The line has a member that does not exist here, or may not be set.")
	case errors.As(err, &semantic) && semantic.JSONPointer != "":
		for name := range semantic.JSONPointer.Tokens() {
			return fault.InvalidField("/"+name, "invalid_type", "This has another type.") // a member of ours: others were refused above
		}
	}
	return errLine
}

// check refuses what is JSON and no line all the same: nested deeper than any body of the API may be, or with U+0000, which
// PostgreSQL stores nowhere. What is no JSON is found later.
func check(text []byte) error {
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= maxDepth && !bytes.Contains(text, []byte(`\u0000`)) {
		return nil // as almost every line: it cannot be so deep, and writes no U+0000
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		tok, err := dec.ReadToken()
		switch {
		case err != nil:
			return nil //nolint:nilerr // its end, or what the decoder refuses next
		case dec.StackDepth() > maxDepth:
			return errLine.WithDetail("The line is nested deeper than 32 levels.")
		case tok.Kind() == '"' && strings.ContainsRune(tok.String(), 0):
			return fault.InvalidField("", "invalid_format", "No text may hold U+0000.")
		}
	}
}

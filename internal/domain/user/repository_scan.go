package user

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/role"
)

// columns of an account u, in the order of scan. The names of its roles come as one text, "?" for an expired grant: that
// is cheaper to read than an array, and no name has a blank. They are looked up one by one: most accounts have no
// grant, and for them this is a single probe of an index (a join makes the planner read the whole of user_roles for a
// page of fifty).
const columns = `u.id, u.kind, u.email, u.email_verified, u.display_name, u.locale, u.timezone, u.status,
	u.metadata, u.app_metadata, u.external_id, u.mfa_enabled, u.last_login_at, u.created_at, u.updated_at, u.version,
	array_to_string(ARRAY(
		SELECT CASE WHEN g.expires_at <= now() THEN '?' ELSE (SELECT r.name FROM roles r WHERE r.id = g.role_id) END
		FROM user_roles g WHERE g.user_id = u.id), ' ')`

const expired = "?"

// scan reads one account. Each expired grant raises the version, since the expiry changed the body without a write;
// so whatever renews or removes such a grant raises it by two.
func scan(rows pgx.CollectableRow) (*User, error) {
	u := &User{}
	var roles string
	err := rows.Scan(&u.ID, &u.Kind, nullable{&u.Email}, &u.EmailVerified, nullable{&u.DisplayName}, nullable{&u.Locale},
		nullable{&u.Timezone}, &u.Status, document{&u.Metadata}, document{&u.AppMetadata}, nullable{&u.ExternalID},
		&u.MFAEnabled, &u.LastLoginAt, &u.CreatedAt, &u.UpdatedAt, &u.Version, &roles)
	if err != nil {
		return nil, err
	}
	u.Roles = make([]string, 0, 2)
	if u.Kind == Human && u.Status != Pending {
		u.Roles = append(u.Roles, role.UserName)
	}
	for name := range strings.FieldsSeq(roles) {
		if name == expired {
			u.Version++
			continue
		}
		u.Roles = append(u.Roles, name)
	}
	slices.Sort(u.Roles)
	u.CreatedAt, u.UpdatedAt = u.CreatedAt.UTC(), u.UpdatedAt.UTC()
	if u.LastLoginAt != nil {
		*u.LastLoginAt = u.LastLoginAt.UTC()
	}
	return u, nil
}

// The scanners below take what the driver holds, without the reflection and the copies of its general way: pages of
// accounts are read often, and this halves what one costs.

// nullable is a text that may be null.
type nullable struct{ to **string }

// ScanBytes implements pgtype.BytesScanner.
func (n nullable) ScanBytes(b []byte) error {
	if *n.to = nil; b != nil {
		s := string(b)
		*n.to = &s
	}
	return nil
}

// document is a JSON object; most are empty.
type document struct{ to *jsontext.Value }

var emptyObject = jsontext.Value("{}") // nobody changes it: accounts are immutable

// ScanBytes implements pgtype.BytesScanner.
func (d document) ScanBytes(b []byte) error {
	if *d.to = emptyObject; string(b) != "{}" {
		*d.to = slices.Clone(b)
	}
	return nil
}

// ScanBytes implements pgtype.BytesScanner.
func (k *Kind) ScanBytes(b []byte) error {
	if *k = Human; string(b) != string(Human) {
		*k = Kind(b)
	}
	return nil
}

// ScanBytes implements pgtype.BytesScanner.
func (s *Status) ScanBytes(b []byte) error {
	if *s = Active; string(b) != string(Active) {
		*s = Status(b)
	}
	return nil
}

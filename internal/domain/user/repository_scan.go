package user

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/user-management-service/ums/internal/domain/role"
)

// columns of an account u joined withRoles, in the order of scan: a row for each role that it holds, one for an account
// that holds none. collect makes one account of them.
const (
	columns = `u.id, u.kind, u.email, u.email_verified, u.display_name, u.locale, u.timezone, u.status,
	u.metadata, u.app_metadata, u.external_id, u.mfa_enabled, u.last_login_at, u.created_at, u.updated_at, u.version,
	r.name, coalesce(g.expires_at <= now(), false)`
	withRoles = ` LEFT JOIN user_roles g ON g.user_id = u.id LEFT JOIN roles r ON r.id = g.role_id`
)

// collect reads accounts whose rows stand together, in the order of the rows.
func collect(rows pgx.Rows) ([]*User, error) {
	defer rows.Close()
	var found []*User
	for rows.Next() {
		u := &User{}
		var held *string
		var expired bool
		err := rows.Scan(&u.ID, &u.Kind, nullable{&u.Email}, &u.EmailVerified, nullable{&u.DisplayName}, nullable{&u.Locale},
			nullable{&u.Timezone}, &u.Status, document{&u.Metadata}, document{&u.AppMetadata}, nullable{&u.ExternalID},
			&u.MFAEnabled, &u.LastLoginAt, &u.CreatedAt, &u.UpdatedAt, &u.Version, nullable{&held}, &expired)
		if err != nil {
			return nil, err
		}
		if n := len(found); n > 0 && found[n-1].ID == u.ID {
			found[n-1].hold(held, expired)
			continue
		}
		u.CreatedAt, u.UpdatedAt = u.CreatedAt.UTC(), u.UpdatedAt.UTC()
		if u.LastLoginAt != nil {
			*u.LastLoginAt = u.LastLoginAt.UTC()
		}
		u.Roles = make([]string, 0, 2)
		if u.Kind == Human && u.Status != Pending {
			u.Roles = append(u.Roles, role.UserName)
		}
		u.hold(held, expired)
		found = append(found, u)
	}
	return found, rows.Err()
}

// hold adds a role in its place. An expired grant raises the version instead, since the expiry changed the body without a
// write; so whatever renews or removes such a grant raises it by two.
func (u *User) hold(name *string, expired bool) {
	switch {
	case name == nil:
	case expired:
		u.Version++
	default:
		at, _ := slices.BinarySearch(u.Roles, *name)
		u.Roles = slices.Insert(u.Roles, at, *name)
	}
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

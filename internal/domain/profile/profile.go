// Package profile is what a person tells about himself. A profile exists with its account: until somebody fills it in
// it is empty, private, and has no row.
package profile

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/language"

	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/text"
)

// The permissions of this noun.
const (
	ReadPermission  = "profiles:read"
	WritePermission = "profiles:write"
)

// Visibility says who sees the public part of a profile.
type Visibility string

// The visibilities.
const (
	Private Visibility = "private"
	Public  Visibility = "public"
)

// The bounds of the fields, in code points or entries.
const (
	MaxName       = 100
	maxBio        = 2000
	MaxURL        = 500
	MaxLine       = 200 // a line of an address
	maxLinks      = 20
	MaxPostalCode = 20
)

// Address is where somebody lives; each part may be missing.
type Address struct {
	Street     *string `json:"street"`
	Locality   *string `json:"locality"`
	Region     *string `json:"region"`
	PostalCode *string `json:"postal_code"`
	Country    *string `json:"country"` // ISO 3166-1 alpha-2
}

// Profile is a profile as its owner sees it.
type Profile struct {
	UserID      id.ID
	GivenName   *string
	FamilyName  *string
	Nickname    *string
	Bio         *string
	Phone       *string // E.164
	Website     *string // https
	BirthDate   *string // RFC 3339 full-date
	Address     *Address
	SocialLinks map[string]string // name → https URL; nil: none
	Visibility  Visibility
	Attributes  jsontext.Value
	Avatar      *string // the name of its pictures; nil: none
	UpdatedAt   time.Time
	Version     int64 // 1 without a row

	Whole bool // false: this reader sees the public part alone, and the rest is empty
}

// publicPart is what others may see.
func (p *Profile) publicPart() *Profile {
	return &Profile{
		UserID: p.UserID, GivenName: p.GivenName, FamilyName: p.FamilyName, Nickname: p.Nickname, Bio: p.Bio,
		Website: p.Website, SocialLinks: p.SocialLinks, Avatar: p.Avatar, Version: p.Version,
	}
}

// AddressChanges is a merge patch of an address.
type AddressChanges struct {
	Street, Locality, Region, PostalCode, Country patch.Field[string]
}

// Changes is a merge patch of a profile. Address, SocialLinks and Attributes merge; a nil link removes that link.
type Changes struct {
	GivenName   patch.Field[string]
	FamilyName  patch.Field[string]
	Nickname    patch.Field[string]
	Bio         patch.Field[string]
	Phone       patch.Field[string]
	Website     patch.Field[string]
	BirthDate   patch.Field[string]
	Address     patch.Field[AddressChanges]
	SocialLinks patch.Field[map[string]*string]
	Visibility  patch.Field[Visibility]
	Attributes  patch.Field[jsontext.Value]
}

// apply merges c into p and returns what is wrong with the result of it, all of it.
func (p *Profile) apply(c Changes, today time.Time, before jsontext.Value, schema *Schema) error {
	var v fault.Validation
	set := func(pointer string, current **string, f patch.Field[string], check func(v *fault.Validation, pointer, s string)) {
		if f.Apply(current) && *current != nil {
			check(&v, pointer, **current)
		}
	}
	set("/given_name", &p.GivenName, c.GivenName, line(MaxName))
	set("/family_name", &p.FamilyName, c.FamilyName, line(MaxName))
	set("/nickname", &p.Nickname, c.Nickname, line(MaxName))
	set("/bio", &p.Bio, c.Bio, func(v *fault.Validation, pointer, s string) { text.Block(v, pointer, s, maxBio) })
	set("/phone", &p.Phone, c.Phone, checkPhone)
	set("/website", &p.Website, c.Website, checkURL)
	set("/birth_date", &p.BirthDate, c.BirthDate, func(v *fault.Validation, pointer, s string) { checkBirthDate(v, pointer, s, today) })
	if c.Address.Set {
		p.Address = p.Address.merge(c.Address, set)
	}
	if c.SocialLinks.Set {
		p.SocialLinks = mergeLinks(&v, p.SocialLinks, c.SocialLinks)
	}
	if c.Visibility.Set {
		p.Visibility = Private
		if !c.Visibility.Null {
			p.Visibility = c.Visibility.Value
		}
		if p.Visibility != Private && p.Visibility != Public {
			v.Add("/visibility", "not_allowed", "Give private or public.")
		}
	}
	if c.Attributes.Set {
		p.Attributes = user.MergeObject(&v, "/attributes", p.Attributes, c.Attributes)
	}
	if !user.SameJSON(before, p.Attributes) { // a schema that has come later does not hinder other changes
		if err := schema.check(&v, p.Attributes); err != nil {
			return err
		}
	}
	return v.Err()
}

func line(most int) func(v *fault.Validation, pointer, s string) {
	return func(v *fault.Validation, pointer, s string) { text.Line(v, pointer, s, most) }
}

// merge returns a new address: the old one may be shared.
func (a *Address) merge(
	f patch.Field[AddressChanges],
	set func(pointer string, current **string, f patch.Field[string], check func(v *fault.Validation, pointer, s string)),
) *Address {
	if f.Null {
		return nil
	}
	var merged Address
	if a != nil {
		merged = *a
	}
	set("/address/street", &merged.Street, f.Value.Street, line(MaxLine))
	set("/address/locality", &merged.Locality, f.Value.Locality, line(MaxLine))
	set("/address/region", &merged.Region, f.Value.Region, line(MaxLine))
	set("/address/postal_code", &merged.PostalCode, f.Value.PostalCode, line(MaxPostalCode))
	set("/address/country", &merged.Country, f.Value.Country, checkCountry)
	if merged == (Address{}) {
		return nil
	}
	return &merged
}

var linkName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

func mergeLinks(v *fault.Validation, current map[string]string, f patch.Field[map[string]*string]) map[string]string {
	if f.Null {
		return nil
	}
	merged := maps.Clone(current)
	if merged == nil {
		merged = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Value)) {
		link := f.Value[name]
		switch {
		case link == nil:
			delete(merged, name)
			continue
		case !linkName.MatchString(name):
			// The name may hold anything: it is not repeated in the pointer.
			v.Add("/social_links", "invalid_name", "Name links by lower-case letters, digits, - and _, 32 at most, a letter first.")
			continue
		}
		checkURL(v, "/social_links/"+name, *link)
		merged[name] = *link
	}
	if len(merged) > maxLinks {
		v.Add("/social_links", "too_many", "Give at most 20 links.")
	}
	if len(merged) == 0 {
		return nil
	}
	return merged
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func checkPhone(v *fault.Validation, pointer, s string) {
	if !e164.MatchString(s) {
		v.Add(pointer, "invalid_phone", "Give an international number (E.164): + and 7 to 15 digits, no blanks.")
	}
}

func checkURL(v *fault.Validation, pointer, s string) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" || utf8.RuneCountInString(s) > MaxURL ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '<' || r == '>' || text.Forbidden(r, false) }) {
		v.Add(pointer, "invalid_url", "Give an https:// URL of at most 500 characters, without a user name.")
	}
}

func checkBirthDate(v *fault.Validation, pointer, s string, today time.Time) {
	day, err := time.Parse(time.DateOnly, s)
	if err != nil || len(s) != len(time.DateOnly) || day.Year() < 1900 || day.After(today) {
		v.Add(pointer, "invalid_date", "Give a date of the past as YYYY-MM-DD.")
	}
}

func checkCountry(v *fault.Validation, pointer, s string) {
	r, err := language.ParseRegion(s)
	if err != nil || len(s) != 2 || !r.IsCountry() || r.Canonicalize().String() != s {
		v.Add(pointer, "invalid_country", "Give an ISO 3166-1 alpha-2 code in capitals, such as AT.")
	}
}

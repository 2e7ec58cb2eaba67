package transfer

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// fastAPIUser maps a row of fastapi-users' table: SQLAlchemyBaseUserTable, or a document of Beanie.
func (x *Mapper) fastAPIUser(r *row, a draft) bool {
	a.set("external_id", r.text("id", "_id"))
	x.person(r, a, r.truth("is_verified", false), "hashed_password")
	if !r.truth("is_active", true) {
		a["suspended"] = true
	}
	if r.truth("is_superuser", false) {
		if x.m.SuperuserRole == "" {
			x.note("is_superuser", "gives no role by itself; --superuser-role NAME does")
		} else {
			a["roles"] = []string{x.m.SuperuserRole}
		}
	}
	x.names(r, a)
	x.creation(r, a)
	return false
}

// names maps the columns that most programs add.
func (x *Mapper) names(r *row, a draft) {
	display, first, last := r.text("display_name", "full_name", "name"), r.text("given_name", "first_name"), r.text("family_name", "last_name")
	if display == "" {
		display = strings.TrimSpace(first + " " + last)
	}
	a.set("display_name", display)
	a.set("profile.given_name", first)
	a.set("profile.family_name", last)
}

func (x *Mapper) creation(r *row, a draft) {
	if t := r.moment("created_at"); t != nil {
		a["created_at"] = t.UTC().Format(time.RFC3339Nano)
	}
}

// supabaseIdle are columns of auth.users that say nothing elsewhere: what was under way there, tokens among it, and figures.
var supabaseIdle = []string{
	"instance_id", "aud", "role", "invited_at", "confirmed_at", "confirmation_token", "confirmation_sent_at", "recovery_token", "recovery_sent_at",
	"email_change", "email_change_token_new", "email_change_token_current", "email_change_confirm_status", "email_change_sent_at", "new_email",
	"phone_change", "phone_change_token", "phone_change_sent_at", "new_phone", "phone_confirmed_at", "reauthentication_token",
	"reauthentication_sent_at", "last_sign_in_at", "updated_at", "is_sso_user", "is_anonymous", "action_link", "identity_data",
}

// supabaseUser maps a row of Supabase's auth.users, or a user as its admin API gives it, which has no password.
func (x *Mapper) supabaseUser(r *row, a draft) bool {
	if r.moment("deleted_at") != nil {
		x.note("deleted_at", "was deleted there and is left out")
		return true
	}
	a.set("external_id", r.text("id"))
	x.person(r, a, r.moment("email_confirmed_at") != nil, "encrypted_password")
	if until := r.text("banned_until"); until == "infinity" {
		a["suspended"] = true
	} else if until != "" {
		r.values["banned_until"] = value{text: until}
		if t := r.moment("banned_until"); t != nil && t.After(x.m.Now) {
			a["suspended"] = true
			x.note("banned_until", "is suspended here, without an end")
		}
	}
	if phone := r.text("phone"); phone != "" {
		if phone = "+" + strings.TrimPrefix(phone, "+"); !international.MatchString(phone) {
			x.note("phone", "is no international number")
		} else {
			a.set("profile.phone", phone)
		}
	}
	x.supabaseMetadata(r, a)
	if r.truth("is_super_admin", false) {
		x.note("is_super_admin", "gives no role; give one here")
	}
	if v, ok := r.values["identities"]; ok {
		r.drop("identities")
		if providers(v.text) {
			x.note("identities", "signs in with another provider there; here with a password, a passkey or a mailed link")
		}
	}
	if v, ok := r.values["factors"]; ok {
		r.drop("factors")
		if v.text != "[]" {
			x.note("factors", "has a second factor there, whose secret is not in this file; it is enrolled anew")
		}
	}
	x.creation(r, a)
	r.drop(supabaseIdle...)
	return false
}

// providers says whether somebody signs in by other means than address or telephone.
func providers(identities string) bool {
	var all []struct {
		Provider string `json:"provider"`
	}
	if json.Unmarshal([]byte(identities), &all) != nil {
		return true
	}
	for _, one := range all {
		if one.Provider != "email" && one.Provider != "phone" {
			return true
		}
	}
	return false
}

var international = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func (x *Mapper) supabaseMetadata(r *row, a draft) {
	if own := r.object("raw_user_meta_data", "user_metadata"); len(own) > 0 {
		a["metadata"] = own
		name := func(names ...string) string {
			for _, n := range names {
				if s, ok := own[n].(string); ok && strings.TrimSpace(s) != "" {
					return strings.TrimSpace(s)
				}
			}
			return ""
		}
		a.set("display_name", name("full_name", "name", "display_name"))
		a.set("profile.given_name", name("given_name", "first_name"))
		a.set("profile.family_name", name("family_name", "last_name"))
	}
	app := r.object("raw_app_meta_data", "app_metadata")
	delete(app, "provider")
	delete(app, "providers")
	if len(app) > 0 {
		kept := draft{}
		maps.Copy(kept, app)
		a["app_metadata"] = kept
	}
}

// The members of a line that a column can be, and the objects whose members columns can be.
var (
	texts = []string{
		"display_name", "locale", "external_id", "profile.given_name", "profile.family_name", "profile.nickname", "profile.bio",
		"profile.phone", "profile.website", "profile.birth_date", "profile.visibility", "profile.address.street", "profile.address.locality",
		"profile.address.region", "profile.address.postal_code", "profile.address.country",
	}
	otherMembers = []string{"kind", "email", "email_verified", "password_hash", "created_at", "roles", "suspended", "metadata", "app_metadata"}
	openObjects  = []string{"metadata.", "app_metadata.", "profile.attributes.", "profile.social_links."}
)

// IsMember says whether a column of a table can be of this name, which is a member of an account.
func IsMember(name string) bool {
	return slices.Contains(texts, name) || slices.Contains(otherMembers, name) ||
		slices.ContainsFunc(openObjects, func(o string) bool { return strings.HasPrefix(name, o) && name != o })
}

// columns maps a row of a table whose columns are called as the members here.
func (x *Mapper) columns(r *row, a draft) bool {
	kind := r.text("kind")
	if a.set("kind", kind); kind != "service" {
		x.person(r, a, r.truth("email_verified", false), "password_hash")
	}
	if r.truth("suspended", false) {
		a["suspended"] = true
	}
	x.creation(r, a)
	if roles := strings.FieldsFunc(r.text("roles"), func(c rune) bool { return c == ',' || c == ';' || c == '|' || c == ' ' }); len(roles) > 0 {
		a["roles"] = roles
	}
	for _, name := range []string{"metadata", "app_metadata"} {
		if members := r.object(name); len(members) > 0 {
			maps.Copy(a.member(name), members)
		}
	}
	for _, name := range texts {
		a.set(name, r.text(name))
	}
	for _, name := range r.rest() {
		for _, o := range openObjects {
			if key, ok := strings.CutPrefix(name, o); ok && key != "" {
				outer, inner, nested := strings.Cut(strings.TrimSuffix(o, "."), ".")
				m := a.member(outer)
				if nested {
					m = m.member(inner)
				}
				m[key] = r.text(name)
				break
			}
		}
	}
	return false
}

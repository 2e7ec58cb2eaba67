package transfer

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/user-management-service/ums/internal/domain/mfa"
	"github.com/user-management-service/ums/internal/domain/passkey"
	"github.com/user-management-service/ums/internal/domain/profile"
	"github.com/user-management-service/ums/internal/domain/role"
	"github.com/user-management-service/ums/internal/domain/user"
	"github.com/user-management-service/ums/internal/platform/fault"
	"github.com/user-management-service/ums/internal/platform/id"
	"github.com/user-management-service/ums/internal/platform/patch"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// Format and version of a file, as its first line says them. A reader of this version reads no later one.
const (
	format  = "ums-export"
	version = 1
)

// The records, a line each, in this order: one header, permissions, roles after those that they inherit from, users, one end.
const (
	headerRecord     = "header"
	permissionRecord = "permission"
	roleRecord       = "role"
	userRecord       = "user"
	endRecord        = "end"
)

type header struct {
	Record    string    `json:"record"`
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	Secrets   bool      `json:"secrets"`
	CreatedAt time.Time `json:"created_at"`
	PasskeyRP string    `json:"passkey_rp_id,omitempty"`
}

type permissionLine struct {
	Record      string  `json:"record"`
	Name        string  `json:"name"`
	Description *string `json:"description,omitempty"`
}

type roleLine struct {
	Record      string   `json:"record"`
	Name        string   `json:"name"`
	Description *string  `json:"description,omitempty"`
	Permissions []string `json:"permissions"`
	Inherits    []string `json:"inherits"`
	RequireMFA  bool     `json:"require_mfa"`
	System      bool     `json:"system"`
}

// end says that the file is whole.
type end struct {
	Record string `json:"record"`
	Users  int64  `json:"users"`
}

// userLine is an account with everything that hangs on it. What follows Profile is there only with secrets.
type userLine struct {
	Record        string         `json:"record"`
	ID            id.ID          `json:"id"`
	Kind          string         `json:"kind"`
	Email         *string        `json:"email,omitempty"`
	EmailVerified bool           `json:"email_verified"`
	WasVerified   bool           `json:"was_verified,omitzero"`
	Status        string         `json:"status"`
	DisplayName   *string        `json:"display_name,omitempty"`
	Locale        *string        `json:"locale,omitempty"`
	Timezone      *string        `json:"timezone,omitempty"`
	ExternalID    *string        `json:"external_id,omitempty"`
	Metadata      jsontext.Value `json:"metadata,omitempty"`
	AppMetadata   jsontext.Value `json:"app_metadata,omitempty"`
	CreatedAt     time.Time      `json:"created_at"`
	UpdatedAt     time.Time      `json:"updated_at,omitzero"`
	LastLoginAt   *time.Time     `json:"last_login_at,omitempty"`
	DeletedAt     *time.Time     `json:"deleted_at,omitempty"`
	Roles         []heldLine     `json:"roles,omitempty"`
	Profile       *profileLine   `json:"profile,omitempty"`

	PasswordHash  *string       `json:"password_hash,omitempty"`
	TOTP          []factorLine  `json:"totp,omitempty"`
	RecoveryCodes [][]byte      `json:"recovery_codes,omitempty"`
	Passkeys      []passkeyLine `json:"passkeys,omitempty"`
}

type heldLine struct {
	Name      string     `json:"name"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	CreatedAt time.Time  `json:"created_at,omitzero"`
}

type profileLine struct {
	GivenName   *string           `json:"given_name,omitempty"`
	FamilyName  *string           `json:"family_name,omitempty"`
	Nickname    *string           `json:"nickname,omitempty"`
	Bio         *string           `json:"bio,omitempty"`
	Phone       *string           `json:"phone,omitempty"`
	Website     *string           `json:"website,omitempty"`
	BirthDate   *string           `json:"birth_date,omitempty"`
	Address     *profile.Address  `json:"address,omitempty"`
	SocialLinks map[string]string `json:"social_links,omitempty"`
	Visibility  string            `json:"visibility,omitempty"`
	Attributes  jsontext.Value    `json:"attributes,omitempty"`
}

type factorLine struct {
	Name        *string    `json:"name,omitempty"`
	Secret      string     `json:"secret"` // base32, open
	LastStep    int64      `json:"last_step"`
	CreatedAt   time.Time  `json:"created_at"`
	ActivatedAt time.Time  `json:"activated_at"`
	LastUsedAt  *time.Time `json:"last_used_at,omitempty"`
}

type passkeyLine struct {
	Name           string     `json:"name"`
	CredentialID   []byte     `json:"credential_id"`
	PublicKey      []byte     `json:"public_key"`
	SignCount      int64      `json:"sign_count"`
	AAGUID         id.ID      `json:"aaguid"`
	Transports     []string   `json:"transports"`
	BackupEligible bool       `json:"backup_eligible"`
	BackedUp       bool       `json:"backed_up"`
	CreatedAt      time.Time  `json:"created_at"`
	LastUsedAt     *time.Time `json:"last_used_at,omitempty"`
}

// carried is an account with what hangs on it, as the nouns know it.
type carried struct {
	account  user.Carried
	roles    []role.Held
	profile  *profile.Profile
	factors  []mfa.CarriedFactor
	codes    []mfa.CarriedCode
	passkeys []passkey.Carried
}

// roleNames are the names of its roles as readers see them: with the implied one.
func (c *carried) roleNames() []string {
	names := []string{}
	for _, h := range c.roles {
		names = append(names, h.Role)
	}
	if c.account.Kind == user.Human && c.account.Status != user.Pending && !slices.Contains(names, role.UserName) {
		names = append(names, role.UserName)
	}
	slices.Sort(names)
	return names
}

func (c *carried) line(secrets bool) userLine {
	a := &c.account
	l := userLine{
		Record: userRecord, ID: a.ID, Kind: string(a.Kind), Email: a.Email, EmailVerified: a.EmailVerified, WasVerified: a.WasVerified,
		Status: string(a.Status), DisplayName: a.DisplayName, Locale: a.Locale, Timezone: a.Timezone, ExternalID: a.ExternalID,
		Metadata: a.Metadata, AppMetadata: a.AppMetadata, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
		LastLoginAt: a.LastLoginAt, DeletedAt: a.DeletedAt,
	}
	for _, h := range c.roles {
		l.Roles = append(l.Roles, heldLine{h.Role, h.ExpiresAt, h.CreatedAt})
	}
	if p := c.profile; p != nil {
		l.Profile = &profileLine{
			GivenName: p.GivenName, FamilyName: p.FamilyName, Nickname: p.Nickname, Bio: p.Bio, Phone: p.Phone, Website: p.Website,
			BirthDate: p.BirthDate, Address: p.Address, SocialLinks: p.SocialLinks, Visibility: string(p.Visibility), Attributes: p.Attributes,
		}
	}
	if !secrets {
		return l
	}
	l.PasswordHash = a.PasswordHash
	for _, f := range c.factors {
		l.TOTP = append(l.TOTP, factorLine{f.Name, f.Secret.Reveal(), f.LastStep, f.CreatedAt, f.ActivatedAt, f.LastUsedAt})
	}
	for _, code := range c.codes {
		l.RecoveryCodes = append(l.RecoveryCodes, code.Hash)
	}
	for _, k := range c.passkeys {
		l.Passkeys = append(l.Passkeys, passkeyLine{
			k.Name, k.CredentialID, k.PublicKey, k.SignCount, k.AAGUID, k.Transports, k.BackupEligible, k.BackedUp, k.CreatedAt, k.LastUsedAt,
		})
	}
	return l
}

// The bounds of what one account may bring.
const (
	maxRoles = 1000
	maxCodes = 100
)

// read makes of a line what the nouns store, or says what is wrong with it, all of it.
func (s *Service) read(l *userLine) (*carried, error) {
	c := &carried{account: user.Carried{
		ID: l.ID, Kind: user.Kind(l.Kind), Email: l.Email, EmailVerified: l.EmailVerified, WasVerified: l.WasVerified,
		DisplayName: l.DisplayName, Locale: l.Locale, Timezone: l.Timezone, Status: user.Status(l.Status), PasswordHash: l.PasswordHash,
		ExternalID: l.ExternalID, Metadata: l.Metadata, AppMetadata: l.AppMetadata, MFAEnabled: len(l.TOTP)+len(l.Passkeys) > 0,
		LastLoginAt: l.LastLoginAt, DeletedAt: l.DeletedAt, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt,
	}}
	now := s.Clock.Now()
	var v fault.Validation
	add := func(prefix string, err error) {
		if f := fault.As(err); f != nil {
			for _, field := range f.Fields {
				v.Add(prefix+field.Pointer, field.Code, field.Detail)
			}
		}
	}
	add("", c.account.Check(now))
	if len(l.Roles) > maxRoles || len(l.TOTP) > mfa.MaxFactors || len(l.RecoveryCodes) > maxCodes || len(l.Passkeys) > passkey.MaxPasskeys {
		v.Add("", "too_many", "An account has at most 1000 roles, 10 factors, 100 recovery codes and 50 passkeys.")
		return nil, v.Err()
	}
	for _, h := range l.Roles {
		c.roles = append(c.roles, role.Held{UserID: l.ID, Role: h.Name, ExpiresAt: h.ExpiresAt, CreatedAt: sensible(h.CreatedAt, now)})
	}
	for i, f := range l.TOTP {
		one := mfa.CarriedFactor{
			UserID: l.ID, Name: f.Name, Secret: secret.New(f.Secret), LastStep: f.LastStep, CreatedAt: sensible(f.CreatedAt, now),
			ActivatedAt: sensible(f.ActivatedAt, now), LastUsedAt: f.LastUsedAt,
		}
		one.Check(&v, pointer("totp", i))
		c.factors = append(c.factors, one)
	}
	for i, hash := range l.RecoveryCodes {
		mfa.CheckCode(&v, pointer("recovery_codes", i), hash)
		c.codes = append(c.codes, mfa.CarriedCode{UserID: l.ID, Hash: hash})
	}
	for i, k := range l.Passkeys {
		one := passkey.Carried{
			UserID: l.ID, CredentialID: k.CredentialID, PublicKey: k.PublicKey, SignCount: k.SignCount, AAGUID: k.AAGUID, Transports: k.Transports,
			BackupEligible: k.BackupEligible, BackedUp: k.BackedUp, Name: k.Name, CreatedAt: sensible(k.CreatedAt, now), LastUsedAt: k.LastUsedAt,
		}
		one.Check(&v, pointer("passkeys", i))
		c.passkeys = append(c.passkeys, one)
	}
	if l.Profile != nil {
		var err error
		if c.profile, err = s.Profiles.Compose(l.ID, l.Profile.changes()); err != nil && fault.As(err) == nil {
			return nil, err
		}
		add("/profile", err)
	}
	return c, v.Err()
}

// sensible is a time of the past; one that is missing, or to come, is now.
func sensible(t, now time.Time) time.Time {
	if t.Year() < 1970 || t.After(now) {
		t = now
	}
	return t.UTC().Truncate(time.Millisecond)
}

func (p *profileLine) changes() profile.Changes {
	c := profile.Changes{
		GivenName: patch.Of(p.GivenName), FamilyName: patch.Of(p.FamilyName), Nickname: patch.Of(p.Nickname), Bio: patch.Of(p.Bio), Phone: patch.Of(p.Phone),
		Website: patch.Of(p.Website), BirthDate: patch.Of(p.BirthDate),
	}
	if a := p.Address; a != nil {
		c.Address = patch.To(profile.AddressChanges{
			Street: patch.Of(a.Street), Locality: patch.Of(a.Locality), Region: patch.Of(a.Region), PostalCode: patch.Of(a.PostalCode), Country: patch.Of(a.Country),
		})
	}
	if len(p.SocialLinks) > 0 {
		links := map[string]*string{}
		for name, link := range p.SocialLinks {
			links[name] = &link
		}
		c.SocialLinks = patch.To(links)
	}
	if p.Visibility != "" {
		c.Visibility = patch.To(profile.Visibility(p.Visibility))
	}
	if p.Attributes != nil {
		c.Attributes = patch.To(p.Attributes)
	}
	return c
}

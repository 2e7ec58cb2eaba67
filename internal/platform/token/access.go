package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/user-management-service/ums/internal/platform/clock"
	"github.com/user-management-service/ums/internal/platform/secret"
)

// ClientID is the client of every token: there is one.
const ClientID = "ums"

// Leeway is by how much the clock of another replica may differ: a token is taken so long before and after its time.
const Leeway = 30 * time.Second

const (
	typ          = "at+jwt"
	maxRoles     = 30        // more are left out of the token: other programs ask for them
	maxIssued    = 2048      // bytes of a token that we make, so that it fits into everybody's header limits
	maxPresented = 8192      // bytes of a token that we look at
	maxTTL       = time.Hour // an access token cannot be called back by those who only check its signature
)

// Config is the configuration of access tokens.
type Config struct {
	// Algorithm of newly made signing keys; older keys keep theirs until they retire.
	Algorithm string `env:"UMS_TOKEN_ALGORITHM" envDefault:"EdDSA"`
	// Audiences are the programs that a token is for; empty = the public URL.
	Audiences []string `env:"UMS_TOKEN_AUDIENCES"`
	// AccessTTL is the life of an access token.
	AccessTTL time.Duration `env:"UMS_ACCESS_TOKEN_TTL" envDefault:"5m"`
}

// Validate returns every fault of the configuration, each naming its variable.
func (c Config) Validate() error {
	var errs []error
	if c.Algorithm != EdDSA && c.Algorithm != ES256 {
		errs = append(errs, fmt.Errorf("UMS_TOKEN_ALGORITHM is %q; use %s or %s", c.Algorithm, EdDSA, ES256))
	}
	if c.AccessTTL < time.Second || c.AccessTTL > maxTTL {
		errs = append(errs, fmt.Errorf("UMS_ACCESS_TOKEN_TTL is %s; use 1s to %s", c.AccessTTL, maxTTL))
	}
	if slices.Contains(c.Audiences, "") {
		errs = append(errs, errors.New("UMS_TOKEN_AUDIENCES holds an empty name"))
	}
	return errors.Join(errs...)
}

// Claims are what an access token says (RFC 9068, section 2.2). Times have whole seconds.
// A verified token's claims are shared by all who present it: they are read-only.
type Claims struct {
	Issuer       string
	Subject      string // the user's id
	Audience     []string
	ClientID     string
	ID           string // jti
	SessionID    string // sid
	IssuedAt     time.Time
	ExpiresAt    time.Time
	AuthTime     time.Time // when the person last proved who he is
	ACR          string    // aal1, aal2
	AMR          []string  // pwd, otp, … (RFC 8176)
	Roles        []string  // for other programs: this service decides from its own data
	RolesOmitted bool      // there are too many roles for a token
}

// payload is the wire form of Claims.
type payload struct {
	Issuer       string   `json:"iss"`
	Subject      string   `json:"sub"`
	Audience     audience `json:"aud"`
	ClientID     string   `json:"client_id"`
	ID           string   `json:"jti"`
	SessionID    string   `json:"sid"`
	IssuedAt     int64    `json:"iat"`
	NotBefore    int64    `json:"nbf,omitzero"` // never issued, but honoured
	ExpiresAt    int64    `json:"exp"`
	AuthTime     int64    `json:"auth_time"`
	ACR          string   `json:"acr"`
	AMR          []string `json:"amr"`
	Roles        []string `json:"roles,omitzero"`
	RolesOmitted bool     `json:"roles_omitted,omitzero"`
}

// audience is a string or an array of strings (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSONFrom reads both forms.
func (a *audience) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '"' {
		var one string
		err := json.UnmarshalDecode(dec, &one)
		*a = audience{one}
		return err
	}
	return json.UnmarshalDecode(dec, (*[]string)(a))
}

// Issuer signs access tokens.
type Issuer struct {
	keys      *KeySet
	clock     clock.Clock
	issuer    string
	audiences []string
	ttl       time.Duration
}

// NewIssuer returns an issuer that speaks for the public URL issuer. It reads the keys at each call.
func NewIssuer(cfg Config, issuer string, keys *KeySet, c clock.Clock) *Issuer {
	return &Issuer{keys: keys, clock: c, issuer: issuer, audiences: cfg.audiences(issuer), ttl: cfg.AccessTTL}
}

// Name is the iss of its tokens: the public URL.
func (i *Issuer) Name() string { return i.issuer }

func (c Config) audiences(issuer string) []string {
	if len(c.Audiences) == 0 {
		return []string{issuer}
	}
	return slices.Clone(c.Audiences)
}

// Sign returns an access token for c and the claims that it states. Subject, SessionID, AuthTime, ACR, AMR and Roles
// are the caller's; the others are set here. Over 30 roles, or roles that would make the token larger than 2 KiB, are
// left out. ErrNoSigningKey means that no key is active.
func (i *Issuer) Sign(c Claims) (secret.Text, Claims, error) {
	if c.Subject == "" || c.SessionID == "" || c.AuthTime.IsZero() {
		return secret.Text{}, Claims{}, errors.New("sign access token: subject, session and authentication time are required")
	}
	now := i.clock.Now()
	key, err := i.keys.Signing(now)
	if err != nil {
		return secret.Text{}, Claims{}, fmt.Errorf("sign access token: %w", err)
	}
	c.Issuer, c.Audience, c.ClientID, c.ID = i.issuer, i.audiences, ClientID, uuid.NewString()
	c.IssuedAt = now.UTC().Truncate(time.Second)
	c.ExpiresAt = c.IssuedAt.Add(i.ttl)
	c.AuthTime = c.AuthTime.UTC().Truncate(time.Second)
	c.RolesOmitted = c.RolesOmitted || len(c.Roles) > maxRoles
	text, err := c.encode(key)
	if err == nil && len(text) > maxIssued && !c.RolesOmitted {
		c.RolesOmitted = true
		text, err = c.encode(key)
	}
	if err == nil && len(text) > maxIssued {
		err = fmt.Errorf("it would have %d bytes", len(text))
	}
	if err != nil {
		return secret.Text{}, Claims{}, fmt.Errorf("sign access token: %w", err)
	}
	if c.RolesOmitted {
		c.Roles = nil
	}
	return secret.New(text), c, nil
}

func (c Claims) encode(key Key) (string, error) {
	p := payload{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, ClientID: c.ClientID, ID: c.ID, SessionID: c.SessionID,
		IssuedAt: c.IssuedAt.Unix(), ExpiresAt: c.ExpiresAt.Unix(), AuthTime: c.AuthTime.Unix(), ACR: c.ACR, AMR: c.AMR,
		RolesOmitted: c.RolesOmitted,
	}
	if !c.RolesOmitted {
		p.Roles = append([]string{}, c.Roles...) // none is [], so that a reader need not tell it from left out
	}
	body, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	enc := base64.RawURLEncoding
	header := `{"alg":"` + key.Algorithm + `","typ":"` + typ + `","kid":"` + key.ID + `"}`
	signed := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString(body)
	signature, err := key.method().Sign(signed, key.Private)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", key.ID, err)
	}
	return signed + "." + enc.EncodeToString(signature), nil
}
